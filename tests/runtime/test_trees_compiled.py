"""Sums over trees in compiled graphs, on the meta device, under autocast and in half precision."""

from __future__ import annotations

import pytest
import torch

from lvspec.runtime.trees.dependencies import projective
from lvspec.runtime.trees.low_rank import low_rank_pcfg
from lvspec.runtime.trees.non_projective import non_projective
from lvspec.runtime.trees.pcfg import pcfg
from lvspec.runtime.trees.spans import tree_crf
from lvspec.runtime.trees.valence import dmv

B, T, N, P, R = 3, 4, 2, 3, 2
LENGTHS = torch.tensor([4, 2, 0])
SUMS = {
    "tree_crf": (tree_crf, (B, T, T)),
    "pcfg": (pcfg, (1, N), (1, N, N + P, N + P), (B, T, P)),
    "pcfg_by_example": (pcfg, (B, N), (B, N, N + P, N + P), (B, T, P)),
    "low_rank_pcfg": (low_rank_pcfg, (1, N), (1, N, R), (1, R, N + P), (1, R, N + P), (B, T, P)),
    "projective": (projective, (B, T + 1, T + 1)),
    "non_projective": (non_projective, (B, T + 1, T + 1)),
    "dmv": (dmv, (B, T), (B, T, 2, 2, 2), (B, T, T, 2)),
}


def instance(name, scale=1.0):
    make, *shapes = SUMS[name]
    generator = torch.Generator().manual_seed(0)
    leaves = [(scale * torch.randn(*s, generator=generator)).requires_grad_() for s in shapes]
    return lambda *xs: make(*xs, LENGTHS.to(xs[0].device)).log_partition, leaves


def gradients(value, leaves):
    weights = torch.linspace(0.5, 1.5, len(value), device=value.device)
    return torch.autograd.grad((value.float() * weights).sum(), leaves)


@pytest.mark.parametrize(
    ("name", "scale"), [(name, 1.0) for name in SUMS] + [("pcfg", 300.0), ("pcfg_by_example", 300.0)]
)
def test_one_graph_without_breaks_gives_the_same(name, scale):
    torch._dynamo.reset()
    function, leaves = instance(name, scale)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=False)
    value, expected = compiled(*leaves), function(*leaves)
    assert torch.allclose(value, expected, rtol=1e-5, atol=1e-5)
    for got, wanted in zip(gradients(value, leaves), gradients(expected, leaves), strict=True):
        assert torch.allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SUMS)
def test_shapes_are_known_without_numbers(name):
    function, leaves = instance(name)
    there = [x.detach().to("meta").requires_grad_() for x in leaves]
    value = function(*there)
    assert value.shape == (B,) and value.dtype == torch.float32 and value.device.type == "meta"
    assert [g.shape for g in torch.autograd.grad(value.sum(), there)] == [x.shape for x in leaves]


@pytest.mark.parametrize("name", SUMS)
def test_autocast_and_half_precision_sum_in_full(name):
    function, leaves = instance(name)
    expected = function(*leaves)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = function(*leaves)
        assert value.dtype == torch.float32 and torch.allclose(value, expected, rtol=1e-6, atol=1e-6)
    for got, wanted in zip(gradients(value, leaves), gradients(expected, leaves), strict=True):
        assert torch.allclose(got, wanted, rtol=1e-5, atol=1e-6)
    halves = [x.detach().bfloat16().requires_grad_() for x in leaves]
    value = function(*halves)
    assert torch.allclose(value, function(*(x.float() for x in halves)), rtol=1e-6, atol=1e-6)
    assert all(g.dtype == torch.bfloat16 for g in gradients(value, halves))
