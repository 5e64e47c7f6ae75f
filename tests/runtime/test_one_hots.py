"""One-hot vectors by their places: the same numbers as the vectors themselves, twice differentiable, under anything else dense."""

import torch
from torch import nn
from torch.nn.functional import linear

from lvspec.runtime.core.tensors import one_hot
from lvspec.runtime.families.one_hots import OneHots, one_hots
from lvspec.runtime.networks.declared import MLP

LIKE = torch.zeros((), dtype=torch.float64)


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


def test_a_linear_map_and_its_gradients():
    index = torch.tensor([[[0, 2, 1], [2, 2, 0]], [[1, 1, 1], [0, 2, 2]]])
    weight, bias = numbers(4, 9), numbers(4)
    places, dense = one_hots(index, 3, LIKE), one_hot(index, 3, LIKE).flatten(-2)
    assert isinstance(places, OneHots) and torch.equal(places.dense(), dense)
    for b in (bias, None):
        assert torch.allclose(linear(places, weight, b), linear(dense, weight, b), atol=1e-14)
    assert torch.autograd.gradcheck(lambda w, b: linear(places, w, b), (weight, bias))
    assert torch.autograd.gradgradcheck(lambda w, b: linear(places, w, b).square(), (weight, bias))


def test_networks_take_them_and_so_does_everything_else():
    index = torch.tensor([[3, 0], [1, 1]])
    places, dense = one_hots(index, 4, torch.zeros(())), one_hot(index, 4, torch.zeros(())).flatten(-2)
    for network in (nn.Linear(8, 3), MLP(8, 5, 3), MLP(8, 5, 3, bias=False)):
        assert torch.allclose(network(places), network(dense), atol=1e-6)
        with torch.autocast("cpu"):
            assert torch.equal(network(places), network(dense))
    assert torch.equal(torch.add(places, 1.0), dense + 1.0)


def test_nothing_to_map():
    assert nn.Linear(8, 3)(one_hots(torch.zeros(0, 2, dtype=torch.int64), 4, torch.zeros(()))).shape == (0, 3)
