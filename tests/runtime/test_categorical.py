"""Scores at observed symbols: the custom backward passes against torch's own operations."""

from __future__ import annotations

import sys

import pytest
import torch

from lvspec.runtime import Categorical, categorical_at, categorical_bag, categorical_head, categorical_rows
from lvspec.runtime.families.categorical_head import HeadScores


def leaf(*shape, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * scale).requires_grad_()


def symbols(*shape, V=7):
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(3))


def assert_same(value, expected, leaves):
    value_data, expected_data = value.detach(), expected.detach()
    assert value.shape == expected.shape
    assert torch.allclose(value_data, expected_data, rtol=1e-9, atol=1e-9)
    weights = torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=value.dtype)
    got = torch.autograd.grad((value * weights).sum(), leaves)
    want = torch.autograd.grad((expected * weights).sum(), leaves)
    for g, e in zip(got, want, strict=True):
        assert g.shape == e.shape and torch.allclose(g, e, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("states", [(), (4,), (2, 3)])
@pytest.mark.parametrize("sites", [(), (5,), (3, 4), (2, 3, 2), (0,), (0, 4), (3, 0)])
def test_columns_of_a_normalised_table(states, sites):
    logits, x = leaf(*states, 7), symbols(*sites)
    expected = logits.log_softmax(-1).movedim(-1, 0)[x]
    value = categorical_at(logits, x)
    assert value.shape == (*sites, *states)
    assert_same(value, expected, [logits])


def test_two_dimensional_sites_are_laid_out_time_major():
    value = categorical_at(leaf(4, 7), symbols(3, 5))
    assert value.transpose(0, 1).is_contiguous()
    assert (value * torch.ones(3, 5, 1, dtype=torch.float64)).transpose(0, 1).is_contiguous()


@pytest.mark.parametrize("states", [(), (4,), (2, 3)])
def test_bags_add_their_real_symbols(states):
    logits, x = leaf(*states, 7), symbols(4, 5)
    mask = torch.arange(5) < torch.tensor([5, 0, 1, 3]).unsqueeze(1)
    here = mask.reshape(4, 5, *[1] * len(states))
    expected = (logits.log_softmax(-1).movedim(-1, 0)[x] * here).sum(1)
    assert_same(categorical_bag(logits, x, mask), expected, [logits])


def test_a_bag_with_a_forbidden_symbol_beyond_its_length():
    logits = torch.tensor([[-torch.inf, 0.0, 1.0]], requires_grad=True)
    value = categorical_bag(logits, torch.tensor([[1, 0]]), torch.tensor([[True, False]]))
    value.sum().backward()
    assert value.isfinite().all() and logits.grad.isfinite().all()


@pytest.mark.parametrize("function", [categorical_at, lambda e, x: categorical_bag(e, x, torch.ones_like(x) > 0)])
def test_tables_have_first_and_second_derivatives(function):
    logits, x = leaf(2, 5), symbols(2, 3, V=5)
    assert torch.autograd.gradcheck(lambda e: function(e, x), (logits,))
    assert torch.autograd.gradgradcheck(lambda e: function(e, x), (logits,))


@pytest.mark.parametrize("function", [categorical_at, lambda e, x: categorical_bag(e, x, torch.ones_like(x) > 0)])
def test_a_state_that_emits_nothing_gives_minus_infinity_and_no_gradient(function):
    logits = leaf(3, 5).detach()
    logits[1] = -torch.inf
    logits.requires_grad_()
    value = function(logits, symbols(2, 3, V=5))
    assert (value[..., 1] == -torch.inf).all() and value[..., [0, 2]].isfinite().all()
    value[..., [0, 2]].sum().backward()
    assert logits.grad.isfinite().all() and (logits.grad[1] == 0).all() and (logits.grad[0] != 0).any()


@pytest.mark.parametrize("scale", [1e4, 1.0])
def test_large_logits_in_single_precision(scale):
    logits, x = leaf(4, 7, scale=scale).detach().float().requires_grad_(), symbols(3, 5)
    value = categorical_at(logits, x)
    expected = logits.detach().double().log_softmax(-1).t()[x]
    assert torch.allclose(value.double(), expected, rtol=1e-6, atol=1e-4)
    value.sum().backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("lead", "x_shape"),
    [
        ((3,), (3,)),
        ((3,), (3, 4)),
        ((3, 2), (3, 1, 4)),
        ((3, 1), (3, 5)),
        ((1, 2), (3, 1, 4)),
        ((1, 1, 2), (3, 4, 1)),
        ((2, 3), (3,)),
        ((), (3, 4)),
    ],
)
def test_rows_broadcast(lead, x_shape):
    logits, x = leaf(*lead, 7), symbols(*x_shape)
    value = categorical_rows(logits, x)
    full_x = x.reshape(*[1] * max(len(lead) - x.dim(), 0), *x.shape)
    axes = torch.broadcast_shapes(lead, full_x.shape[: len(lead)])
    rest = full_x.shape[len(lead) :]
    table = logits.log_softmax(-1).reshape(*lead, *[1] * len(rest), 7).expand(*axes, *rest, 7)
    expected = table.gather(-1, full_x.expand(*axes, *rest).unsqueeze(-1)).squeeze(-1)
    assert_same(value, expected, [logits])


def test_log_prob_aligns_from_the_right():
    logits, x = leaf(3, 2, 7), symbols(4, 1, 2)
    expected = logits.log_softmax(-1).expand(4, 3, 2, 7).gather(-1, x.expand(4, 3, 2).unsqueeze(-1)).squeeze(-1)
    assert_same(Categorical(logits).log_prob(x), expected, [logits])


HEADS = [
    ((6,), (6,)),
    ((3, 4), (3, 4)),
    ((3, 4, 5), (3, 4, 1)),
    ((1, 1, 5), (3, 4, 1)),
    ((3, 1, 5), (3, 4, 1)),
    ((5, 3, 4), (3, 4)),
]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("blocks", ["plain", "kept", "computed again"])
@pytest.mark.parametrize(("lead", "x_shape"), HEADS)
def test_heads_agree_with_one_plain_product(monkeypatch, lead, x_shape, blocks, bias):
    module = sys.modules["lvspec.runtime.families.categorical_head"]
    monkeypatch.setattr(module, "ROWS", 7)
    monkeypatch.setattr(module, "PLAIN_ENTRIES", 10**9 if blocks == "plain" else 0)
    monkeypatch.setattr(module, "KEPT_ENTRIES", 10**9 if blocks == "kept" else 0)
    hidden, weight, x = leaf(*lead, 5), leaf(11, 5), symbols(*x_shape, V=11)
    offset = leaf(11) if bias else None
    logits = torch.nn.functional.linear(hidden, weight, offset).log_softmax(-1)
    full = torch.broadcast_shapes(lead, x_shape)
    expected = logits.expand(*full, 11).gather(-1, x.expand(full).unsqueeze(-1)).squeeze(-1)
    leaves = [hidden, weight] + ([offset] if bias else [])
    assert_same(categorical_head(hidden, weight, offset, x), expected, leaves)


@pytest.mark.parametrize("lead", [(3, 4), (2, 3, 4), (3, 4, 5), (3, 1), (1, 4), (3, 1, 5)])
@pytest.mark.parametrize("dim", [1, 2])
def test_heads_compute_real_sites_only(monkeypatch, lead, dim):
    monkeypatch.setattr(sys.modules["lvspec.runtime.families.categorical_head"], "PLAIN_ENTRIES", 0)
    first = 1 if lead[0] == 2 else 0
    x = symbols(*{(2, 3, 4): (3, 4), (3, 4, 5): (3, 4, 1), (3, 1, 5): (3, 4, 1)}.get(lead, (3, 4)), V=11)
    mask = torch.arange(4) < torch.tensor([4, 0, 2]).unsqueeze(1)
    sites = mask.flatten().nonzero().squeeze(-1)
    hidden, weight, offset = leaf(*lead, 5), leaf(11, 5), leaf(11)
    full = torch.broadcast_shapes(lead, x.shape)
    logits = torch.nn.functional.linear(hidden, weight, offset).log_softmax(-1).expand(*full, 11)
    every = logits.gather(-1, x.expand(full).unsqueeze(-1)).squeeze(-1)
    expected = every * mask.reshape(*[1] * first, 3, 4, *[1] * (len(full) - first - 2))
    value = categorical_head(hidden, weight, offset, x[(None,) * (dim - 1)], sites=sites, dim=dim)
    assert_same(value.reshape(full), expected, [hidden, weight, offset])


def test_heads_have_first_and_second_derivatives():
    hidden, weight, bias, x = leaf(4, 3), leaf(5, 3), leaf(5), symbols(4, 1, V=5)
    for keep in (True, False):
        inputs = (hidden, weight, bias, x, keep)
        assert torch.autograd.gradcheck(HeadScores.apply, inputs)
        assert torch.autograd.gradgradcheck(HeadScores.apply, inputs)


def test_heads_without_rows():
    weight = leaf(11, 5)
    value = categorical_head(leaf(0, 4, 5), weight, None, symbols(0, 4, V=11))
    value.sum().backward()
    assert value.shape == (0, 4) and (weight.grad == 0).all()
    none_real = categorical_head(leaf(2, 4, 5), weight, None, symbols(2, 4, V=11), torch.zeros(0).long())
    assert none_real.shape == (2, 4) and (none_real == 0).all()
