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

TRIES = 6  # specs that are asked for one construct
ASKED = (
    *(
        "latent Gamma",
        "observed Laplace",
        "guide Normal",
        "x[<t]",
        "x[>t]",
        "plate copy",
        "observed CTC",
        "plate latent length",
    ),
    *(
        "first clause of observed",
        "first clause that reads a latent",
        "25 to 40 latents",
        "0 latents",
        "prod",
        "infer reinforce",
    ),
)


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


@pytest.mark.parametrize("construct", ASKED)
def test_a_spec_that_is_asked_for_a_construct_holds_it(construct):
    texts = (generate(seed, construct) for seed in range(TRIES))
    assert any(construct in constructs_of(load(text, "random")) for text in texts)


def test_the_tables_count_constructs_and_pairs():
    table = measure(range(8))
    assert table.specs == 8
    assert table.single["observed reads latent"] >= 1
    assert all(apart(a, b) is None for a, b in table.pairs)
