"""Binary trees and grammars as distributions, against brute force."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product

import pytest
import torch

from lvspec.runtime.core.structured import Structured
from lvspec.runtime.trees.inside_outside import certain_inside
from lvspec.runtime.trees.pcfg import pcfg
from lvspec.runtime.trees.spans import tree_crf
from tests.runtime.enumerated import pcfg as derivations
from tests.runtime.enumerated import spans as trees
from tests.runtime.structures import (
    Family,
    assert_differentiable_twice,
    assert_exact,
    assert_samples,
    close,
    forbidden,
)

N, P = 2, 2


def span_potentials(lengths, generator):
    T = max(lengths)
    return {"spans": torch.randn(len(lengths), T, T, generator=generator, dtype=torch.float64)}


def grammar_potentials(lengths, generator, shared):
    B, T, G = len(lengths), max(lengths), 1 if shared else len(lengths)
    shapes = {"root": (G, N), "rules": (G, N, N + P, N + P), "terminals": (B, T, P)}
    return {n: torch.randn(*s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}


def grammar(shared: bool) -> Family:
    return Family(
        lambda p, lengths: pcfg(p["root"], p["rules"], p["terminals"], torch.tensor(lengths)),
        partial(derivations.structures, nonterminals=N, preterminals=P),
        partial(grammar_potentials, shared=shared),
    )


FAMILIES = {
    "tree_crf": Family(
        lambda p, lengths: tree_crf(p["spans"], torch.tensor(lengths)), trees.structures, span_potentials
    ),
    "largest_spans": Family(
        lambda p, lengths: tree_crf(p["spans"], torch.tensor(lengths), p["largest"]),
        partial(trees.structures, largest=True),
        lambda lengths, generator: {n: span_potentials(lengths, generator)["spans"] for n in ("spans", "largest")},
    ),
    "pcfg_shared": grammar(shared=True),
    "pcfg_by_example": grammar(shared=False),
}


def drawn(name, lengths, seed=0):
    return FAMILIES[name].potentials(lengths, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("lengths", [[4], [1], [0], [0, 1, 2, 4, 3], [0, 0]], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_question_equals_enumeration(name, lengths):
    assert_exact(FAMILIES[name], drawn(name, lengths), lengths)


@pytest.mark.parametrize("share", [0.2, 0.5])
@pytest.mark.parametrize("name", FAMILIES)
def test_forbidden_parts(name, share):
    lengths = [4, 2, 3, 0, 4, 3, 1]
    assert_exact(FAMILIES[name], forbidden(drawn(name, lengths), share), lengths)


@pytest.mark.parametrize("name", FAMILIES)
def test_second_derivatives(name):
    lengths = [3, 0, 2] if "pcfg" in name else [4, 0, 1, 2]
    assert_differentiable_twice(FAMILIES[name], drawn(name, lengths), lengths)


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_fit(name):
    torch.manual_seed(0)
    length = 3 if "pcfg" in name else 5
    assert_samples(FAMILIES[name], drawn(name, [length]), length)
    assert_samples(FAMILIES[name], forbidden(drawn(name, [length]), 0.1), length)


@pytest.mark.parametrize("name", FAMILIES)
def test_padding_changes_nothing(name):
    lengths = [2, 4, 0]
    potentials = drawn(name, [5, 5, 5])
    junk = {n: p.clone() for n, p in potentials.items()}
    beyond = torch.arange(5) >= torch.tensor(lengths).unsqueeze(1)
    if "spans" in junk:
        for potential in junk.values():
            potential[beyond] = torch.nan
            potential.mT[beyond] = torch.inf
    else:
        junk["terminals"][beyond] = torch.nan
    for a, b in zip(*(every(FAMILIES[name].make(p, lengths)) for p in (potentials, junk)), strict=True):
        assert torch.equal(a, b)


def every(p):
    return p.log_partition, *p.marginals.values(), *p.mode.values(), *p.k_best(2)[1].values(), p.log_count


def assert_like_double(make, potentials):
    """Value within 1e-6 and gradients within 1e-4 of the log-domain program in float64."""
    single, double = make(potentials), make({n: p.double() for n, p in potentials.items()})
    exact = replace(double, fast=None)
    assert close(single.log_partition, exact.log_partition, 1e-6)
    assert close(double.log_partition, exact.log_partition, 1e-9)
    # of each example, and of what examples share; by the outside pass, and by what is differentiable once more
    for answer, again in product(("marginals", "expected_counts"), (False, True)):
        with torch.set_grad_enabled(again):
            given, given_double = getattr(single, answer), getattr(double, answer)
            for name, wanted in getattr(exact, answer).items():
                assert (given[name].double() - wanted).abs().max() < 1e-4
                assert (given_double[name] - wanted).abs().max() < 1e-8


@pytest.mark.parametrize("scale", [30, 100, 300])
def test_sharp_spans_in_float32(scale):
    spans = scale * torch.randn(4, 20, 20, generator=torch.Generator().manual_seed(scale))
    assert_like_double(lambda p: tree_crf(p["spans"], torch.tensor([20, 7, 1, 0])), {"spans": spans})


SHARP = {"ordinary": (1, 1, 0), "rules": (30, 1, 0), "words": (1, 30, 0), "forbidden": (1, 30, 0.8)} | {
    str(scale): (scale, scale, 0) for scale in (10, 30, 100, 300)
}


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", SHARP)
def test_sharp_grammars_in_float32(kind, shared):
    """Where scaled probabilities lose mass, silently too, another program takes over."""
    rules, words, share = SHARP[kind]
    B, T, n, p = 4, 12, 4, 6
    lengths = torch.tensor([12, 7, 2, 1])
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        G = 1 if shared else B
        potentials = {
            "root": torch.randn(G, n, generator=generator),
            "rules": rules * torch.randn(G, n, n + p, n + p, generator=generator),
            "terminals": words * torch.randn(B, T, p, generator=generator),
        }
        potentials |= {"rules": forbidden({"rules": potentials["rules"]}, share)["rules"]}
        assert_like_double(lambda x: pcfg(x["root"], x["rules"], x["terminals"], lengths), potentials)


def test_sharper_grammars_need_wider_programs():
    """The three programs are all in use above: float32, float64, the log domain."""
    found = []
    for scale in (1, 30, 300):
        generator = torch.Generator().manual_seed(0)
        potentials = [scale * torch.randn(*s, generator=generator) for s in [(1, 4), (1, 4, 10, 10), (4, 12, 6)]]
        found.append(certain_inside(*potentials, torch.tensor([12, 7, 2, 1])))
    assert [f and f.charts.words.dtype for f in found] == [torch.float32, torch.float64, None]


@pytest.mark.parametrize("shared", [True, False])
def test_draws_of_each_example_have_its_own_marginals(shared):
    """Words and roots are drawn as often as they are likely (z below 5.8: one false alarm in 1e6 over 100 entries)."""
    torch.manual_seed(0)
    lengths, n = [0, 5, 1, 2, 4], 4000
    potentials = grammar_potentials(lengths, torch.Generator().manual_seed(1), shared)
    p = pcfg(potentials["root"], potentials["rules"], potentials["terminals"], torch.tensor(lengths))
    draws, chances = p.sample(n), p.marginals
    for name in ("root", "terminals"):
        found, wanted = draws[name].mean(0), chances[name]
        error = (wanted * (1 - wanted) / n).sqrt()
        assert ((found - wanted).abs() <= 5.8 * error + 1e-12)[wanted * n >= 20].all()
        assert (found[wanted == 0] == 0).all()
    used = draws["rules"].sum((-3, -2, -1))
    assert torch.equal(used, torch.tensor([0.0, 4, 0, 1, 3]).double().expand(n, 5))


def test_sums_in_pieces_are_the_same(monkeypatch):
    """The generic program a few places at a time: value, gradients, the best derivations."""
    lengths = [5, 3]
    p = FAMILIES["pcfg_by_example"].make(drawn("pcfg_by_example", lengths), lengths)
    p = replace(p, fast=None)
    wanted = (p.log_partition, *p.marginals.values(), p.k_best(3)[0], *p.mode.values())
    monkeypatch.setattr("lvspec.runtime.trees.inside_log.LARGEST", 100)
    found = (p.log_partition, *p.marginals.values(), p.k_best(3)[0], *p.mode.values())
    assert all(close(a, b) for a, b in zip(found, wanted, strict=True))
    assert len(Structured.sample(p, 3)["root"]) == 3
