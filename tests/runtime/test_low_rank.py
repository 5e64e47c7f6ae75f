"""Grammars whose rules are sums over ranks, against brute force and against the dense grammar."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from lvspec.runtime.core.semiring import LOG
from lvspec.runtime.core.structured import Undefined
from lvspec.runtime.trees.low_rank import LogProducts, low_rank_log_partition, low_rank_pcfg, low_rank_program
from lvspec.runtime.trees.pcfg import pcfg
from tests.runtime.enumerated.low_rank import structures
from tests.runtime.structures import Family, assert_differentiable_twice, assert_exact, assert_samples, close, forbidden

N, P, R = 2, 1, 2
NAMES = ("root", "head", "left", "right")


def drawn(lengths, generator, shared=True, sizes=(N, P, R), scale=1.0):
    n, p, r = sizes
    B, T, G = len(lengths), max(lengths), 1 if shared else len(lengths)
    shapes = {"root": (G, n), "head": (G, n, r), "left": (G, r, n + p), "right": (G, r, n + p), "terminals": (B, T, p)}
    return {k: scale * torch.randn(*s, generator=generator, dtype=torch.float64) for k, s in shapes.items()}


def family(shared: bool) -> Family:
    return Family(
        lambda p, lengths: low_rank_pcfg(**p, lengths=torch.tensor(lengths)),
        partial(structures, nonterminals=N, preterminals=P, ranks=R),
        partial(drawn, shared=shared),
    )


FAMILIES = {"shared": family(True), "by_example": family(False)}


def instance(name, lengths, seed=0):
    return FAMILIES[name].potentials(lengths, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("lengths", [[3], [1], [0], [0, 1, 2, 4, 3], [0, 0]], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_question_equals_enumeration(name, lengths):
    assert_exact(FAMILIES[name], instance(name, lengths), lengths)


@pytest.mark.parametrize("share", [0.2, 0.5])
@pytest.mark.parametrize("name", FAMILIES)
def test_forbidden_parts(name, share):
    lengths = [3, 2, 3, 0, 1]
    assert_exact(FAMILIES[name], forbidden(instance(name, lengths), share), lengths)


@pytest.mark.parametrize("name", FAMILIES)
def test_second_derivatives(name):
    lengths = [3, 0, 2]
    assert_differentiable_twice(FAMILIES[name], instance(name, lengths), lengths)


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_fit(name):
    torch.manual_seed(0)
    assert_samples(FAMILIES[name], instance(name, [3]), 3)


def test_sum_is_that_of_the_dense_grammar():
    lengths = torch.tensor([7, 5, 2])
    p = drawn(lengths, torch.Generator().manual_seed(0), shared=False, sizes=(4, 5, 3))
    rules = torch.einsum("baq,bql,bqr->balr", *(p[n].exp() for n in NAMES[1:])).log()
    dense = pcfg(p["root"], rules, p["terminals"], lengths)
    assert close(low_rank_pcfg(**p, lengths=lengths).log_partition, dense.log_partition)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("scale", [1, 10, 30, 100, 300])
def test_sharp_potentials_in_float32(scale, shared):
    lengths = torch.tensor([12, 7, 2, 1])
    p = drawn(lengths, torch.Generator().manual_seed(scale), shared, (4, 6, 5), scale)
    p = {n: x.float() for n, x in p.items()}
    single = low_rank_pcfg(**p, lengths=lengths)
    exact = replace(low_rank_pcfg(**{n: x.double() for n, x in p.items()}, lengths=lengths), fast=None)
    assert close(single.log_partition, exact.log_partition, 1e-6)
    for name, wanted in exact.marginals.items():
        assert (single.marginals[name].double() - wanted).abs().max() < 1e-4


def test_products_that_lose_mass_say_so():
    """At scale 1 products are right in float32; at scale 100 they are not, and the sum is still right."""
    lengths = torch.tensor([12, 12])
    for scale, lossy in ((1, False), (100, True)):
        p = drawn(lengths, torch.Generator().manual_seed(0), sizes=(4, 6, 5), scale=scale)
        products = LogProducts(torch.float32)
        low_rank_program(LOG, p, lengths, products)
        assert products.lossy() == lossy
        assert close(low_rank_log_partition(p, lengths), low_rank_program(LOG, p, lengths))


def test_best_derivation_is_refused():
    p = FAMILIES["shared"].make(instance("shared", [3]), [3])
    with pytest.raises(Undefined, match="sum over ranks"):
        p.k_best(1)
