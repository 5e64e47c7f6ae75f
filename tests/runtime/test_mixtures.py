"""log Σ w exp(l): values and gradients, at weights of 0 and at logarithms beyond what exp holds."""

import math

import pytest
import torch

from lvspec.runtime import log_fraction, log_mixture, log_weighted_sum


def test_against_the_sum_itself():
    weights, logs = torch.rand(3, 4, 5, dtype=torch.float64), torch.randn(3, 4, 5, dtype=torch.float64)
    for dim in (-1, -2, 0):
        torch.testing.assert_close(log_weighted_sum(weights, logs, dim), (weights * logs.exp()).sum(dim).log())
    assert torch.autograd.gradcheck(
        lambda w, x: log_weighted_sum(w, x, -1), (weights.requires_grad_(), logs.requires_grad_())
    )
    assert torch.autograd.gradgradcheck(lambda w, x: log_weighted_sum(w, x, -1), (weights, logs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_below_what_exp_holds(dtype):
    logs = torch.tensor([-2000.0, -2001.0], dtype=dtype, requires_grad=True)
    found = log_weighted_sum(torch.tensor([0.5, 2.0], dtype=dtype), logs, 0)
    torch.testing.assert_close(found, torch.tensor(-2000 + math.log(0.5 + 2 / math.e), dtype=dtype))
    found.backward()
    torch.testing.assert_close(logs.grad.sum(), torch.tensor(1.0, dtype=dtype))


def test_a_weight_of_nothing_has_its_gradient():
    weight = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    found = log_weighted_sum(weight, torch.tensor([-3.0, -5.0], dtype=torch.float64), 0)
    found.backward()
    torch.testing.assert_close(weight.grad, torch.tensor([math.exp(2), 1.0], dtype=torch.float64))


def test_what_weighs_nothing_does_not_count_however_large():
    weight = torch.tensor([0.0, 1.0], requires_grad=True)
    found = log_weighted_sum(weight, torch.tensor([0.0, -300.0]), 0)
    found.backward()
    assert found.item() == -300 and weight.grad.isfinite().all()


@pytest.mark.parametrize(
    ("weights", "logs"), [([0.0, 0.0], [1.0, 2.0]), ([1.0, 1.0], [-torch.inf, -torch.inf]), ([], [])]
)
def test_a_sum_of_nothing_is_impossible_and_leaves_no_gradient(weights, logs):
    weights, logs = (torch.tensor(x, requires_grad=True) for x in (weights, logs))
    found = log_weighted_sum(weights, logs, 0)
    assert found.item() == -torch.inf
    gradients = torch.autograd.grad(torch.where(found > -1, found, 0.0), (weights, logs), allow_unused=True)
    assert all(x is None or x.isfinite().all() for x in gradients)


def test_pairs_of_tensors_and_numbers():
    a, b = torch.randn(3, 1), torch.randn(4)
    found = log_mixture((1.0, a), (2.0, 0.0), (b.exp(), a))
    torch.testing.assert_close(found, (a.exp() + 2 + (a + b).exp()).log())


def test_a_part_of_nothing():
    found = log_fraction(torch.tensor([-1.0, -torch.inf]), torch.tensor([-2.0, -torch.inf]))
    assert found.tolist() == [1.0, -torch.inf]
