"""Networks and softmaxes of vectors on unlike axes, against the same of their concatenation."""

import pytest
import torch
from torch import nn

from lvspec.runtime import MLP, categorical_head, categorical_pairs, concat, of_parts

LEADS = [((2, 3, 1), (2, 1, 4)), ((3, 1), (4,)), ((5, 1, 1), (1, 3, 4)), ((1, 3, 1), (2, 1, 4)), ((), (3,))]


def vectors(*leads, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(*lead, 3 + i, generator=generator, dtype=dtype).requires_grad_() for i, lead in enumerate(leads)
    ]


@pytest.mark.parametrize("leads", [*LEADS, ((2, 1), (2, 3), (1, 3))])
@pytest.mark.parametrize("kind", ["linear", "without bias", "mlp"])
def test_a_network_of_parts_is_that_of_the_vectors_side_by_side(leads, kind):
    torch.manual_seed(0)
    parts = vectors(*leads)
    size = sum(p.shape[-1] for p in parts)
    made = {"mlp": lambda: MLP(size, 6, 5, 2, activation="tanh")}
    network = made.get(kind, lambda: nn.Linear(size, 2, bias=kind == "linear"))().double()
    found, expected = of_parts(network, *parts), network(concat(*parts))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    inputs = [*parts, *network.parameters()]
    weights = torch.randn_like(expected)
    for a, b in zip(*(torch.autograd.grad((y * weights).sum(), inputs) for y in (found, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def pairs(leads, V=40):
    torch.manual_seed(0)
    first, second = vectors(*leads)
    lead = torch.broadcast_shapes(*leads)
    return first, second, nn.Linear(7, V).double(), torch.randint(V, lead)


@pytest.mark.parametrize("leads", LEADS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("V", [5, 600])  # added one by one, or as a matrix product
def test_scores_of_pairs_are_those_of_the_head(leads, bias, V):
    first, second, layer, x = pairs(leads, V)
    x = x[..., :1]  # one symbol for all sources
    b = layer.bias if bias else None
    found = categorical_pairs(first, second, layer.weight, b, x)
    expected = categorical_head(concat(first, second), layer.weight, b, x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    inputs, weights = [first, second, layer.weight, *([layer.bias] if bias else [])], torch.randn_like(expected)
    for a, b in zip(*(torch.autograd.grad((y * weights).sum(), inputs) for y in (found, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("draws", [(), (3,)])
def test_sites_that_are_not_there_are_zero(draws):
    first, second, layer, x = pairs(((*draws, 2, 3, 1), (*draws, 2, 1, 4)))
    x, sites = x[0, ..., :1] if draws else x[..., :1], torch.tensor([0, 1, 3])
    found, expected = (
        f(*read, layer.weight, layer.bias, x, sites)
        for f, read in ((categorical_pairs, (first, second)), (categorical_head, (concat(first, second),)))
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert (found[..., 0, 2, :] == 0).all() and (found[..., 1, 0, :] != 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_are_right_where_no_symbol_is_likely_for_both(dtype):
    """Each vector's best symbol is all but impossible for the other: the product of shifted exponentials underflows."""
    first, second, layer, x = pairs(((2, 3, 1), (2, 1, 4)), V=600)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, :3], layer.weight[1, 3:] = 2000.0, 2000.0
        layer.weight[0, 3:], layer.weight[1, :3] = -2000.0, -2000.0
        first, second = torch.ones_like(first).to(dtype), torch.ones_like(second).to(dtype)
    layer = layer.to(dtype)
    found = categorical_pairs(first, second, layer.weight, layer.bias, x[..., :1])
    expected = categorical_head(concat(first, second), layer.weight, layer.bias, x[..., :1])
    assert expected.isfinite().all()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_a_symbol_that_is_impossible_is_so_at_each_pair():
    first, second, layer, x = pairs(((2, 3, 1), (2, 1, 4)), V=600)
    with torch.no_grad():
        layer.bias[7] = -torch.inf
    found = categorical_pairs(first, second, layer.weight, layer.bias, torch.full_like(x[..., :1], 7))
    assert (found == -torch.inf).all()
    found = categorical_pairs(first, second, layer.weight, layer.bias, torch.full_like(x[..., :1], 8))
    assert found.isfinite().all()


def test_no_site_and_half_precision():
    first, second, layer, x = pairs(((2, 3, 1), (2, 1, 4)), V=600)
    assert categorical_pairs(first[:0], second[:0], layer.weight, layer.bias, x[:0]).shape == (0, 3, 4)
    layer, first, second = layer.float(), first.float(), second.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = categorical_pairs(first, second, layer.weight, layer.bias, x)
        hidden = of_parts(layer, first, second)
    assert found.dtype == torch.float32 and hidden.dtype == torch.bfloat16
    expected = categorical_pairs(first, second, layer.weight, layer.bias, x)
    torch.testing.assert_close(found, expected)  # sums in log space are taken in full precision


def test_a_compiled_graph_has_the_same_scores():
    first, second, layer, x = pairs(((2, 3, 1), (2, 1, 4)), V=600)
    compiled = torch.compile(categorical_pairs, fullgraph=True, backend="aot_eager")
    found = compiled(first, second, layer.weight, layer.bias, x[..., :1])
    expected = categorical_pairs(first, second, layer.weight, layer.bias, x[..., :1])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
