"""Dependency trees as distributions, against brute force."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from lvspec.runtime.trees.dependencies import arcs_of, heads_of, projective
from lvspec.runtime.trees.non_projective import non_projective
from lvspec.runtime.trees.valence import dmv, dmv_potentials
from tests.runtime.enumerated import dependencies, valence
from tests.runtime.structures import (
    Family,
    assert_differentiable_twice,
    assert_exact,
    assert_samples,
    close,
    forbidden,
)


def arc_potentials(lengths, generator):
    M = max(lengths) + 1
    return {"arcs": torch.randn(len(lengths), M, M, generator=generator, dtype=torch.float64)}


def valence_potentials(lengths, generator, valences):
    B, T = len(lengths), max(lengths)
    shapes = {"root": (B, T), "stop": (B, T, 2, 2, 2), "attach": (B, T, T, valences)}
    return {n: torch.randn(*s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}


def arc_family(make, is_projective, single_root) -> Family:
    return Family(
        lambda p, lengths: make(p["arcs"], torch.tensor(lengths), single_root),
        partial(dependencies.structures, projective=is_projective, single_root=single_root),
        arc_potentials,
    )


def valence_family(valences) -> Family:
    return Family(
        lambda p, lengths: dmv(p["root"], p["stop"], p["attach"], torch.tensor(lengths)),
        partial(valence.structures, valences=valences),
        partial(valence_potentials, valences=valences),
    )


FAMILIES = {
    "projective": arc_family(projective, True, True),
    "projective_many_roots": arc_family(projective, True, False),
    "non_projective": arc_family(non_projective, False, True),
    "non_projective_many_roots": arc_family(non_projective, False, False),
    "dmv": valence_family(2),
    "dmv_one_table": valence_family(1),
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
    lengths = [3, 0, 1, 2]
    assert_differentiable_twice(FAMILIES[name], drawn(name, lengths), lengths)


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_fit(name):
    torch.manual_seed(0)
    assert_samples(FAMILIES[name], drawn(name, [4]), 4)
    assert_samples(FAMILIES[name], forbidden(drawn(name, [4]), 0.1), 4)


@pytest.mark.parametrize("name", FAMILIES)
def test_one_set_of_potentials_for_all_examples(name):
    lengths = [4, 2, 0]
    potentials = {n: p[:1] for n, p in drawn(name, [4]).items()}
    assert_exact(FAMILIES[name], potentials, lengths)


@pytest.mark.parametrize("name", FAMILIES)
def test_padding_changes_nothing(name):
    lengths = [2, 4, 0]
    potentials = drawn(name, [5, 5, 5])
    junk = {n: p.clone() for n, p in potentials.items()}
    shift = 0 if "dmv" in name else 1
    beyond = torch.arange(5 + shift) >= torch.tensor(lengths).unsqueeze(1) + shift
    for table in junk.values():
        table[beyond] = torch.nan
        if table.dim() > 2 and table.shape[1] == table.shape[2]:
            table.transpose(1, 2)[beyond] = torch.inf
    if not shift:
        assert junk["stop"].isnan().any()
    for a, b in zip(*(every(FAMILIES[name].make(p, lengths)) for p in (potentials, junk)), strict=True):
        assert torch.equal(a, b)


def every(p):
    best = () if "k_best" in p.undefined else p.k_best(2)[1].values()
    return p.log_partition, *p.marginals.values(), *p.mode.values(), *best, p.log_count


SHARP = {str(scale): (scale, 0.0) for scale in (30, 100, 300)} | {"forbidden": (30, 0.7)}


@pytest.mark.parametrize("kind", SHARP)
@pytest.mark.parametrize("name", FAMILIES)
def test_sharp_potentials_in_float32(name, kind):
    scale, share = SHARP[kind]
    lengths = [15, 6, 1, 0]
    potentials = {n: (scale * p).float() for n, p in drawn(name, lengths, seed=scale).items()}
    potentials = forbidden(potentials, share)
    single, double = (FAMILIES[name].make({n: p.to(d) for n, p in potentials.items()}, lengths) for d in KINDS)
    assert close(single.log_partition, double.log_partition, 1e-6)
    for part, wanted in double.marginals.items():
        assert (single.marginals[part].double() - wanted).abs().max() < 1e-4


KINDS = (torch.float32, torch.float64)


@pytest.mark.parametrize("single_root", [True, False])
def test_matrix_tree_is_right_where_a_determinant_is_not(single_root):
    """Heads that form a cycle outweigh every tree by e^300: the difference of the determinant's terms is lost."""
    arcs = torch.zeros(1, 4, 4, dtype=torch.float64)
    arcs[0, 1, 2] = arcs[0, 2, 1] = 300.0
    wanted = [
        sum(float(arcs[0][index]) for _, index in tree) for tree in dependencies.structures(3, False, single_root)
    ]
    wanted = torch.tensor(wanted, dtype=torch.float64).logsumexp(0)
    found = non_projective(arcs, torch.tensor([3]), single_root)
    assert close(found.log_partition, wanted[None])
    laplacian = arcs[0, 1:, 1:].exp() * ~torch.eye(3, dtype=torch.bool)
    laplacian = torch.diag(laplacian.sum(0) + 1.0) - laplacian
    assert single_root or not close(laplacian.logdet()[None], wanted[None], 1e-3)


@pytest.mark.parametrize("single_root", [True, False])
def test_best_tree_of_longer_sentences_is_not_beaten_by_draws(single_root):
    torch.manual_seed(0)
    lengths = torch.tensor([12, 9, 12, 5])
    p = non_projective(3 * torch.randn(4, 13, 13, dtype=torch.float64), lengths, single_root)
    draws = p.sample(20)
    assert bool((p.score(draws) <= p.score(p.mode) + 1e-9).all())
    assert torch.equal(arcs_of(heads_of(draws["arcs"]), lengths).double(), draws["arcs"])
    assert torch.equal(draws["arcs"].sum((-2, -1)), lengths.expand(20, 4).double())


@pytest.mark.parametrize("valences", [1, 2])
def test_tables_are_read_at_tags(valences):
    C, B, T = 3, 2, 4
    generator = torch.Generator().manual_seed(0)
    tags = torch.randint(C, (B, T), generator=generator)
    shape = (C, 2, C) if valences == 1 else (C, 2, 2, C)
    root, stop, attach = (torch.randn(*s, generator=generator) for s in [(C,), (C, 2, 2, 2), shape])
    found = dmv_potentials(root, stop, attach, tags)
    for b in range(B):
        for h in range(T):
            head = tags[b, h]
            assert found["root"][b, h] == root[head] and torch.equal(found["stop"][b, h], stop[head])
            for m in set(range(T)) - {h}:
                side, modifier = int(m > h), tags[b, m]
                table = attach[head, side].reshape(valences, C)
                assert torch.equal(found["attach"][b, h, m], table[:, modifier])


def test_probabilities_of_a_dmv_sum_to_one_over_short_sentences():
    """log Z is log p(tags): summed over all sentences, no more than one, and the rest is what longer ones have."""
    C = 2
    generator = torch.Generator().manual_seed(0)
    stop_odds = torch.randn(C, 2, 2, 2, generator=generator, dtype=torch.float64)
    stop_odds[..., 1] += 4.0  # short sentences are likely
    tables = (
        torch.randn(C, generator=generator, dtype=torch.float64).log_softmax(-1),
        stop_odds.log_softmax(-1),
        torch.randn(C, 2, 2, C, generator=generator, dtype=torch.float64).log_softmax(-1),
    )
    total = 0.0
    for T in range(1, 9):
        tags = torch.cartesian_prod(*[torch.arange(C)] * T).view(-1, T)
        p = dmv(**dmv_potentials(*tables, tags), lengths=torch.full((len(tags),), T))
        total += float(p.log_partition.exp().sum())
    assert 0.9999 < total < 1.0


@pytest.mark.parametrize("make", [projective, non_projective])
def test_words_that_only_the_root_may_head_have_no_tree_with_one_root(make):
    arcs = torch.full((1, 3, 3), -torch.inf, dtype=torch.float64)
    arcs[0, 0] = 0.3
    arcs.requires_grad_()
    one, many = (make(arcs, torch.tensor([2]), single_root) for single_root in (True, False))
    assert close(many.log_partition, [0.6]) and bool(one.log_partition == -torch.inf)
    assert not one.marginals["arcs"].any() and not one.mode["arcs"].any() and not one.sample(2)["arcs"].any()
    assert one.log_count == -torch.inf and many.log_count == 0.0
