"""Both passes of a small chain side by side, against the log-domain scan."""

from functools import partial

import pytest
import torch

from lvspec.runtime import chain
from lvspec.runtime.chains import backward as chain_sum
from lvspec.runtime.chains.two_way import LOST, both_gradient, both_ways
from tests.runtime.test_chain import assert_alike, gradients, plain
from tests.runtime.test_chain_parallel import STEPS, problem


@pytest.fixture
def calls(monkeypatch):
    """What both_ways and both_gradient gave, in order: None where another program had to be used."""
    found = []

    def recorded(function, *args):
        found.append(function(*args))
        return found[-1]

    for function in (both_ways, both_gradient):
        monkeypatch.setattr(chain_sum, function.__name__, partial(recorded, function))
    return found


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize(("B", "T", "K"), [(3, 2, 4), (1, 9, 1), (5, 40, 3), (2, 33, 16)])
def test_value_and_gradients(calls, B, T, K, normalized):
    leaves = problem(B, T, K, torch.float64, normalized=normalized)
    value = chain(leaves[0], (leaves[1],), leaves[2], STEPS, normalized=normalized)
    expected = plain(leaves[0], (leaves[1],), leaves[2], STEPS)
    assert_alike([value], [expected], 1e-9)
    assert_alike(gradients(value, leaves), gradients(expected, leaves), 1e-9)
    assert len(calls) == 2 and None not in calls


def test_a_factor_whose_axes_come_the_other_way_round(calls):
    start, arc, potentials = problem(4, 12, 3, torch.float64)
    starts = (start + torch.randn(4, 3, dtype=torch.float64)).detach().requires_grad_()
    leaves = [starts, arc, potentials]
    value = chain(starts, (arc.t(),), potentials, ("i,ji->j",))
    expected = plain(starts, (arc,), potentials, STEPS)
    weights = torch.randn(4, dtype=torch.float64)
    assert_alike([value], [expected], 1e-9)
    assert_alike(gradients(value * weights, leaves), gradients(expected * weights, leaves), 1e-9)
    assert len(calls) == 2 and None not in calls


@pytest.mark.parametrize("scale", [1.0, 3.0, 10.0, 30.0, 100.0])
@pytest.mark.parametrize("spread", [1.0, 10.0])
def test_single_precision_and_sharp_logits(scale, spread):
    start, arc, potentials = problem(4, 60, 8, torch.float32, scale)
    leaves = [start, arc, (spread * potentials).detach().requires_grad_()]
    exact = [x.detach().double().requires_grad_() for x in leaves]
    value = chain(leaves[0], (leaves[1],), leaves[2], STEPS, normalized=True)
    truth = plain(exact[0], (exact[1],), exact[2], STEPS)
    assert_alike([value.double()], [truth], 1e-6)
    assert_alike([g.double() for g in gradients(value, leaves)], gradients(truth, exact), 1e-4)


@pytest.mark.parametrize("T", [59, 60, 61, 62, 63])
def test_messages_that_shrink_at_every_site(calls, T):
    """Each site likes the state that no arc prefers: between scales both messages shrink as far as they may."""
    value, leaves, truth, exact = disliked(T)
    assert_alike([value.double()], [truth], 1e-6)
    assert_alike([g.double() for g in gradients(value, leaves)], gradients(truth, exact), 1e-4)
    assert len(calls) == 2 and None not in calls


def test_where_the_product_of_both_messages_is_too_small_one_pass_goes_after_the_other(calls, monkeypatch):
    value, leaves, truth, exact = disliked(60)
    monkeypatch.setitem(LOST, torch.float32, 1e-12)
    assert_alike([g.double() for g in gradients(value, leaves)], gradients(truth, exact), 1e-4)
    assert calls[0] is not None and calls[1] is None


def disliked(T):
    arc = torch.tensor([[0.96, 0.04], [0.96, 0.04]]).log()
    potentials = torch.tensor([-60.0, 0.0]).expand(2, T, 2).clone()
    leaves = [x.requires_grad_() for x in (torch.tensor([0.5, 0.5]).log(), arc, potentials)]
    exact = [x.detach().double().requires_grad_() for x in leaves]
    value = chain(leaves[0], (leaves[1],), leaves[2], STEPS, normalized=True)
    return value, leaves, plain(exact[0], (exact[1],), exact[2], STEPS), exact


@pytest.mark.parametrize("at", [0, 3])
def test_rows_that_are_impossible(at):
    leaves = problem(2, 7, 3, torch.float64)
    with torch.no_grad():
        leaves[2][0, at] = -torch.inf
    value = chain(leaves[0], (leaves[1],), leaves[2], STEPS, normalized=True)
    assert value[0] == -torch.inf
    assert_alike([value[1:]], [plain(*leaves[:1], (leaves[1],), leaves[2], STEPS)[1:]], 1e-9)


def test_a_start_that_cannot_be_where_the_first_site_is(calls):
    leaves = problem(2, 7, 3, torch.float32)
    with torch.no_grad():
        leaves[0][:2] = -torch.inf
        leaves[2][:, 0, 2] = -200.0
    exact = [x.detach().double().requires_grad_() for x in leaves]
    value = chain(leaves[0], (leaves[1],), leaves[2], STEPS, normalized=True)
    truth = plain(exact[0], (exact[1],), exact[2], STEPS)
    assert_alike([value.double()], [truth], 1e-6)
    assert_alike([g.double() for g in gradients(value, leaves)][1:], gradients(truth, exact)[1:], 1e-4)
    assert calls[0] is None


def test_backward_twice_and_a_second_derivative():
    leaves = problem(2, 5, 3, torch.float64)
    value = chain(leaves[0], (leaves[1],), leaves[2], STEPS, normalized=True).sum()
    first = torch.autograd.grad(value, leaves, retain_graph=True)
    assert_alike(torch.autograd.grad(value, leaves), first, 1e-12)
    assert torch.autograd.gradgradcheck(lambda *x: chain(x[0], (x[1],), x[2], STEPS), leaves)
