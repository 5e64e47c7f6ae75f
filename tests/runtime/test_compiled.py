"""Every operation inside a compiled graph without breaks, on the meta device, and under autocast."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch

from lvspec.runtime import (
    LSTM,
    MAX,
    BiGRU,
    categorical_at,
    categorical_bag,
    categorical_head,
    categorical_rows,
    chain,
    contract,
    last,
    masked_mean,
    previous,
    weighted_mean,
)

MASK = torch.arange(5) < torch.tensor([5, 2, 0]).unsqueeze(1)
X = torch.randint(7, (3, 5), generator=torch.Generator().manual_seed(0))
BIG = torch.randint(2000, (3, 40), generator=torch.Generator().manual_seed(0))


def leaf(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).requires_grad_()


def hmm(start, arc, emission):
    potentials = categorical_at(emission, X) * MASK.unsqueeze(-1)
    return chain(start, (arc.log_softmax(-1),), potentials, ("i,ij->j",), mask=MASK, normalized=True)


def unnormalised(start, arc, emission):
    potentials = categorical_at(emission, X) * MASK.unsqueeze(-1)
    return chain(start, (arc,), potentials, ("i,ij->j",), mask=MASK)


def factorial(start, first, second, potentials):
    return chain(start, (first, second), potentials, ("ab,ac->cb", "cb,bd->cd"), mask=MASK)


def by_time(start, arc, opening, potentials):
    return chain(start, (arc,), potentials, ("i,BTij->j",), openings=((opening,),))


OPERATIONS = {
    "hmm": (hmm, (4,), (4, 4), (4, 7)),
    "unnormalised chain": (unnormalised, (4,), (4, 4), (4, 7)),
    "factorial chain": (factorial, (2, 3), (2, 2), (3, 3), (3, 5, 2, 3)),
    "chain with factors of its own at every site": (by_time, (4,), (3, 5, 4, 4), (4, 4), (3, 5, 4)),
    "categorical_at": (lambda e: categorical_at(e, X), (4, 7)),
    "categorical_bag": (lambda e: categorical_bag(e, X, MASK), (4, 7)),
    "categorical_rows": (lambda e: categorical_rows(e, X), (3, 7)),
    "small head": (lambda h, w, b: categorical_head(h, w, b, X), (3, 5, 4), (7, 4), (7,)),
    "large head": (lambda h, w, b: categorical_head(h, w, b, BIG), (3, 40, 4), (2000, 4), (2000,)),
    "large head without bias": (lambda h, w: categorical_head(h, w, None, BIG), (3, 40, 4), (2000, 4)),
    "contract": (lambda a, b: contract("btz,zw->btw", a, b), (3, 5, 4), (4, 6)),
    "batch": (
        lambda h: weighted_mean(
            last(h, MASK.sum(1), 1).sum(-1) + masked_mean(h, MASK, 1).sum(-1) + previous(h, 1, 0).sum((1, 2))
        ),
        (3, 5, 4),
    ),
}


@pytest.fixture(autouse=True)
def fresh_graphs():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("name", OPERATIONS)
def test_one_graph_without_breaks_gives_the_same(name):
    function, *shapes = OPERATIONS[name]
    leaves = [leaf(*shape) for shape in shapes]
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=False)
    value, expected = compiled(*leaves), function(*leaves)
    assert torch.allclose(value, expected, rtol=1e-5, atol=1e-5)
    weights = torch.linspace(0.5, 1.5, value.numel()).reshape(value.shape)
    got = torch.autograd.grad((value * weights).sum(), leaves)
    for g, e in zip(got, torch.autograd.grad((expected * weights).sum(), leaves), strict=True):
        assert torch.allclose(g, e, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OPERATIONS)
def test_shapes_are_known_without_numbers(name):
    function, *shapes = OPERATIONS[name]
    expected = function(*[leaf(*shape) for shape in shapes])
    module = sys.modules[__name__]
    kept = module.MASK, module.X, module.BIG
    module.MASK, module.X, module.BIG = (x.to("meta") for x in kept)
    try:
        leaves = [torch.empty(shape, device="meta", requires_grad=True) for shape in shapes]
        value = function(*leaves)
        value.sum().backward()
    finally:
        module.MASK, module.X, module.BIG = kept
    assert value.device.type == "meta" and value.shape == expected.shape
    assert all(x.grad is not None and x.grad.device.type == "meta" for x in leaves)


@pytest.mark.parametrize("name", OPERATIONS)
def test_sums_in_log_space_stay_in_full_precision_under_autocast(name):
    function, *shapes = OPERATIONS[name]
    leaves = [leaf(*shape) for shape in shapes]
    expected = function(*leaves)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = function(*leaves)
    assert value.dtype == torch.float32
    assert torch.allclose(value, expected, rtol=1e-5, atol=1e-5)
    value.sum().backward()
    assert all(x.grad.isfinite().all() for x in leaves)
    halves = [x.detach().bfloat16().requires_grad_() for x in leaves]
    if name != "batch":
        assert function(*halves).dtype == torch.float32


def test_registering_the_operators_twice_does_no_harm():
    for name in ("lvspec.runtime.chains.operator", "lvspec.runtime.families.categorical_head"):
        importlib.reload(sys.modules[name])
    function, *shapes = OPERATIONS["hmm"]
    assert function(*[leaf(*shape) for shape in shapes]).shape == (3,)


def test_recurrent_networks_compile_without_packing(monkeypatch):
    monkeypatch.setattr(torch._dynamo.config, "allow_rnn", True)
    lengths = torch.tensor([5, 2, 0])
    for network in (LSTM(4, 6), BiGRU(4, 6)):
        arguments = (leaf(3, 5, 4),) if isinstance(network, LSTM) else (leaf(3, 5, 4), lengths)
        compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
        assert torch.allclose(compiled(*arguments), network(*arguments), atol=1e-5)


def test_the_best_configuration_compiles_too():
    def best(start, arc, potentials):
        return chain(start, (arc,), potentials, ("i,ij->j",), semiring=MAX)

    leaves = [leaf(4), leaf(4, 4), leaf(3, 5, 4)]
    compiled = torch.compile(best, fullgraph=True, backend="aot_eager", dynamic=False)
    assert torch.allclose(compiled(*leaves), best(*leaves))
