"""Gaussian vectors integrated out of sums of squares, beside one dense Gaussian."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.distributions import MultivariateNormal

from lvspec.runtime.gaussian import elimination as gaussian_elimination
from lvspec.runtime.gaussian import orthogonal
from lvspec.runtime.gaussian.elimination import Squares, seen_squares
from tests.runtime.test_kalman import chain

F = {"dtype": torch.float64}
B, T, D, N = 3, 4, 2, 3
SEEN = torch.tensor([[True] * 4, [False, True, False, False], [False] * 4])


@pytest.fixture(params=["at once", "by columns"])
def factored(request, monkeypatch):
    """As on a CPU, and as on an accelerator."""
    monkeypatch.setattr(gaussian_elimination, "MANY", 1)  # rows are made fewer at once
    if request.param == "by columns":
        monkeypatch.setattr(gaussian_elimination, "orthogonal", orthogonal.by_columns)
        monkeypatch.setattr(orthogonal, "orthogonal", orthogonal.by_columns)


def values():
    g = torch.Generator().manual_seed(0)
    A, C, L, R = (torch.randn(*s, generator=g, **F) for s in ((D, D), (N, D), (D, D), (N, N)))
    C[:, 1] = 0.5 * C[:, 0]  # a site says nothing of one direction of z: what is left of it has no inverse
    return A, C, L.tril() + 2 * torch.eye(D), R.tril() + 2 * torch.eye(N), torch.randn(B, T, N, generator=g, **F)


def log_p(A, C, L, R, x):
    """z[0] ~ N(0, L L'), z[t] ~ N(A z[t-1], L L'), x[t] ~ N(C z[t], R R') where it is seen: (B,)."""
    left = Squares.nothing(torch.zeros(B, **F), D)
    for t in reversed(range(T)):
        here = left + seen_squares(x[:, t], C, R @ R.mT, SEEN[:, t])
        if t:
            left = here.widened(D, D).eliminate(A, L)[0].fewer()
    return here.eliminate(A[:, :0], L)[0].total


def test_a_chain_is_one_dense_gaussian(factored):
    A, C, L, R, x = values()
    root = torch.zeros(T * D, T * D, **F)
    for t in range(T):
        for k in range(t + 1):
            root[t * D : t * D + D, k * D : k * D + D] = torch.linalg.matrix_power(A, t - k) @ L
    H = torch.block_diag(*[C] * T) @ root
    covariance = H @ H.mT + torch.block_diag(*[R @ R.mT] * T)
    found = log_p(A, C, L, R, x)
    assert found[2] == 0.0
    for row in range(2):
        at = torch.arange(T * N)[SEEN[row].repeat_interleave(N)]
        expected = MultivariateNormal(torch.zeros(len(at), **F), covariance[at][:, at]).log_prob(x[row].flatten()[at])
        assert found[row].item() == pytest.approx(expected.item(), abs=1e-12)


def test_it_is_differentiable_twice_whatever_a_site_leaves_open(factored):
    inputs = [v.requires_grad_() for v in values()]
    assert gradcheck(log_p, inputs, fast_mode=True) and gradgradcheck(log_p, inputs, fast_mode=True)


def test_a_filter_by_columns_is_the_filter(monkeypatch):
    found = []
    for way in (orthogonal.orthogonal, orthogonal.by_columns):
        monkeypatch.setattr(orthogonal, "orthogonal", way)
        c = chain("BT", missing="coordinates")
        for x in (*c.start, *c.transition):
            x.requires_grad_()
        value = c.log_prob()
        found.append((value, *torch.autograd.grad(value.sum(), (*c.start, *c.transition))))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)
