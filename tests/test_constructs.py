"""Every construct of the language is one that random specs are asked for, or is left out by a rule that says why."""

import pytest

from lvspec.front import load
from lvspec.ir.distributions import FAMILIES, Family
from lvspec.ir.types import REAL
from lvspec.verify.random_specs import constructs, coverage
from lvspec.verify.random_specs.constructs import listed
from lvspec.verify.random_specs.coverage import apart, drawn, left_out, measure
from lvspec.verify.random_specs.generate import generate
from lvspec.verify.random_specs.held import constructs_of

TRIES = 3  # specs that are asked for one construct, each in a few attempts
CHUNK = 30
# constructs that no spec that is asked for them holds yet, and why; one that does has to leave this table
CANNOT: dict[str, str] = {}
SPECS, LEAST = 10_000, 200  # of plain specs, and how many of them hold each construct
# constructs that are in fewer of them; one that is in as many has to leave this table
RARE: frozenset[str] = frozenset()


def held_by_asked(*constructs):
    """Whether a spec that is asked for all of them holds them."""
    texts = (generate(seed, *constructs) for seed in range(TRIES))
    return any(constructs_of(load(text, "random")).issuperset(constructs) for text in texts)


def test_what_is_added_to_the_language_is_asked_for(monkeypatch):
    monkeypatch.setitem(FAMILIES, "Cauchy", Family("Cauchy", (), REAL))
    constructs.listed.cache_clear()
    coverage.drawn.cache_clear()
    try:
        assert {"latent Cauchy", "observed Cauchy", "guide Cauchy"} <= set(drawn())
    finally:
        constructs.listed.cache_clear()
        coverage.drawn.cache_clear()


def test_what_is_left_out_is_few_and_has_a_reason():
    rest = [c for c in listed() if left_out(c)]
    assert len(rest) < len(listed()) / 5
    assert all(len(c) > 1 or c == "x" for c in listed())  # a name, or all of a sequence


@pytest.mark.parametrize("first", range(0, len(drawn()), CHUNK))
def test_a_spec_that_is_asked_for_a_construct_holds_it(first):
    chunk = drawn()[first : first + CHUNK]
    assert {c for c in chunk if not held_by_asked(c)} == {c for c in chunk if c in CANNOT}


@pytest.mark.parametrize(
    "pair",
    [
        ("latent Poisson", "observed CTC"),
        ("guide TreeCRF", "latent on bag × bag"),
        ("z[t-2]", "25 to 40 latents"),
        ("global Gamma", "observed on fixed × sequence"),
    ],
)
def test_a_spec_that_is_asked_for_a_pair_holds_it(pair):
    assert held_by_asked(*pair)


@pytest.mark.slow
def test_each_construct_is_in_many_random_specs():
    table = measure(range(SPECS))
    assert {c for c, _ in table.rare(LEAST / SPECS)} == RARE


def test_the_tables_count_constructs_and_pairs():
    table = measure(range(8))
    assert table.specs == 8
    assert table.single["observed reads latent"] >= 1
    assert all(apart(a, b) is None for a, b in table.pairs)
