"""Contractions in log space against brute-force broadcasting."""

from __future__ import annotations

import sys

import pytest
import torch

from lvspec.runtime import LOG, MAX, contract
from lvspec.runtime.core.contract import pair_sum

SIZES = dict(b=3, t=5, z=16, w=20, c=4, d=1)
EQUATIONS = [
    "btz,zw->btw",
    "btz,btz->bt",
    "zw,btz->wbt",
    "btz,bzw->btw",
    "bz,zwc,bw->bc",
    "btz->b",
    "bt,zw->bzt",
    "btz,zd->btd",
    "btz,zwc->bw",
]


@pytest.fixture(autouse=True)
def always_multiply(monkeypatch):
    monkeypatch.setattr(sys.modules["lvspec.runtime.core.contract"], "BROADCAST_ENTRIES", 0)


def brute(equation, *factors):
    inputs, output = equation.split("->")
    letters = output + "".join(dict.fromkeys(a for a in inputs.replace(",", "") if a not in output))
    total = 0
    for axes, x in zip(inputs.split(","), factors, strict=True):
        order = sorted(range(len(axes)), key=lambda i: letters.index(axes[i]))
        total = total + x.permute(order)[tuple(slice(None) if a in axes else None for a in letters)]
    rest = tuple(range(len(output), len(letters)))
    return total.logsumexp(rest) if rest else total


def factors_of(equation, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn([SIZES[a] for a in axes], generator=generator, dtype=torch.float64) * scale)
        .to(dtype)
        .requires_grad_()
        for axes in equation.split("->")[0].split(",")
    ]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_values_and_gradients(equation):
    factors = factors_of(equation)
    value, expected = contract(equation, *factors), brute(equation, *factors)
    assert torch.allclose(value, expected, rtol=1e-10, atol=1e-10)
    weights = torch.randn(value.shape, dtype=value.dtype)
    got = torch.autograd.grad((value * weights).sum(), factors)
    for g, e in zip(got, torch.autograd.grad((expected * weights).sum(), factors), strict=True):
        assert torch.allclose(g, e, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 30.0, 100.0, 300.0, 1e4])
def test_sharp_factors_are_never_silently_wrong(scale):
    factors = factors_of("btz,zw->btw", scale, torch.float32)
    exact = [x.detach().double().requires_grad_() for x in factors]
    value, truth = contract("btz,zw->btw", *factors), brute("btz,zw->btw", *exact)
    assert torch.allclose(value.double(), truth, rtol=1e-5, atol=1e-5)
    got, want = torch.autograd.grad(value.sum(), factors), torch.autograd.grad(truth.sum(), exact)
    for g, e in zip(got, want, strict=True):
        assert g.isfinite().all() and (g.double() - e).abs().max() <= 1e-3 * e.abs().max()


def test_masses_that_lie_apart_are_found():
    """Each factor's large entries meet the other's small ones: the shifted product is 0, the sum is not."""
    a = torch.tensor([[0.0, -200.0]]).expand(3, 2).clone().requires_grad_()
    b = torch.tensor([[-200.0], [0.0]]).expand(2, 3).clone().requires_grad_()
    value = pair_sum(("iz", a), ("zj", b), "ij", LOG)
    assert torch.allclose(value, torch.full((3, 3), -200.0) + torch.tensor(2.0).log())
    value.sum().backward()
    assert torch.allclose(a.grad, torch.full((3, 2), 1.5))


def test_forbidden_entries_have_gradient_zero():
    a, b = factors_of("btz,zw->btw", dtype=torch.float32)
    with torch.no_grad():
        a[:, :, ::2] = -torch.inf
        b[:, 3] = -torch.inf
        a[1, 2] = -torch.inf
    value = contract("btz,zw->btw", a, b)
    assert (value[..., 3] == -torch.inf).all() and (value[1, 2] == -torch.inf).all()
    assert torch.allclose(value.exp(), brute("btz,zw->btw", a, b).exp())
    finite = value.masked_fill(value == -torch.inf, 0.0)
    for g in torch.autograd.grad(finite.sum(), [a, b]):
        assert g.isfinite().all()
    for g in torch.autograd.grad(contract("btz,zw->btw", a, b).sum(), [a, b]):
        assert g.isfinite().all()


def test_second_derivatives():
    a = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    b = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda a, b: contract("iz,zj->ij", a, b), (a, b))


def test_the_best_pair():
    a, b = factors_of("btz,zw->btw")
    best = contract("btz,zw->btw", a, b, semiring=MAX)
    assert torch.allclose(best, (a.unsqueeze(-1) + b).amax(2))
    assert contract("btz,zw->btw", a[:0], b).shape == (0, 5, 20)
