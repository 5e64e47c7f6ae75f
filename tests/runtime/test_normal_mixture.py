"""Mixtures of Gaussians: density, implicit gradients and strata, against torch.distributions and quadrature."""

import math

import pytest
import torch
from torch import distributions as D

from lvspec import runtime as R
from lvspec.verify.checks.chance import critical_value
from lvspec.verify.oracle.transport import transport

F = torch.float64


def mixture(components=3, size=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(components, generator=g, dtype=F)
    loc = 1.5 * torch.randn(components, size, generator=g, dtype=F)
    scale = torch.rand(components, size, generator=g, dtype=F) + 0.3
    return tuple(a.requires_grad_() for a in (logits, loc, scale))


def f(z):
    return z[..., 0].sin() * z[..., 1] ** 2 + (z[..., 0] + 0.5 * z[..., 1]) ** 2


def flat(grads):
    return torch.cat([g.reshape(-1) for g in grads])


def exact_gradient(logits, loc, scale):
    """∇ Σ_k w_k E f(loc_k + scale_k n), by a product of trapezoid rules over n."""
    n = torch.linspace(-9, 9, 121, dtype=F)
    weight = torch.exp(-0.5 * n**2) * (n[1] - n[0]) / math.sqrt(2 * math.pi)
    points = torch.cartesian_prod(n, n)
    mass = torch.cartesian_prod(weight, weight).prod(-1)
    mean = (logits.softmax(-1)[:, None] * f(loc[:, None] + scale[:, None] * points) * mass).sum()
    return flat(torch.autograd.grad(mean, (logits, loc, scale)))


def test_density_is_that_of_torch():
    logits, loc, scale = mixture()
    value = torch.randn(4, 5, 2, dtype=F)
    peer = D.MixtureSameFamily(D.Categorical(logits=logits), D.Independent(D.Normal(loc, scale), 1))
    assert torch.allclose(R.NormalMixture(logits, loc, scale).log_prob(value), peer.log_prob(value), atol=1e-12)


def test_draws_follow_the_density():
    """Quantiles of the coordinates given the earlier ones are uniform: their moments, and of their product."""
    logits, loc, scale = (a.detach() for a in mixture())
    torch.manual_seed(0)
    z = R.NormalMixture(logits, loc, scale).noise((40_000,))
    u = (z[:, None] - loc) / scale
    w = logits.softmax(-1)
    first = (w * torch.special.ndtr(u[..., 0])).sum(-1)
    later = torch.softmax(logits - 0.5 * u[..., 0] ** 2 - scale[:, 0].log(), -1)
    second = (later * torch.special.ndtr(u[..., 1])).sum(-1)
    centred = torch.stack([first - 0.5, second - 0.5, (first - 0.5) * (second - 0.5), (first - 0.5) ** 2 - 1 / 12], -1)
    assert (centred.mean(0) / centred.std(0) * 200).abs().max() < critical_value(4, 40_000)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_draw_moves_at_fixed_quantiles(size):
    arguments = mixture(4, size, seed=size)
    noise = R.NormalMixture(*arguments).noise((30,))
    weight = torch.randn(size, dtype=F)
    z = R.NormalMixture(*arguments).draw(noise)
    assert torch.equal(z, noise)
    expected = transport("NormalMixture", dict(zip(("logits", "loc", "scale"), arguments, strict=True)), noise)
    found, expected = (flat(torch.autograd.grad((v * weight).sum(), arguments)) for v in (z, expected))
    assert torch.allclose(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("missing", [False, True])
def test_mean_gradient_is_that_of_the_expectation(missing):
    """Without the movement by the weights, the mean gradient is another one."""
    arguments = mixture()
    truth = exact_gradient(*arguments)
    torch.manual_seed(0)
    rows = []
    for _ in range(60):
        seen = (arguments[0].detach() + 0 * arguments[0], *arguments[1:]) if missing else arguments
        z = R.NormalMixture(*seen).draw(R.NormalMixture(*arguments).noise((1000,)))
        rows.append(flat(torch.autograd.grad(f(z).mean(), arguments)))
    rows = torch.stack(rows)
    z_score = ((rows.mean(0) - truth) / (rows.std(0) / 60**0.5).clamp_min(1e-12)).abs().max()
    assert z_score > 30 if missing else z_score < critical_value(len(truth), 60)


@pytest.mark.parametrize("missing", [False, True])
def test_strata_average_to_the_expectation(missing):
    """Draws of every component, weighed by w: exact in the weights; equal weights are another mixture."""
    arguments = mixture()
    truth = exact_gradient(*arguments)
    torch.manual_seed(0)
    rows = []
    for _ in range(60):
        z, weight = R.strata_draw(*arguments, R.strata_noise(*arguments, 600))
        weight = weight.detach() if missing else weight
        rows.append(
            flat(torch.autograd.grad((weight * f(z)).sum(), arguments, allow_unused=True, materialize_grads=True))
        )
    rows = torch.stack(rows)
    z_score = ((rows.mean(0) - truth) / (rows.std(0) / 60**0.5).clamp_min(1e-12)).abs().max()
    assert z_score > 30 if missing else z_score < critical_value(len(truth), 60)
    with pytest.raises(ValueError, match="same number"):
        R.strata_draw(*arguments, R.strata_noise(*arguments, 4))


def test_second_derivatives_are_refused_and_tails_keep_their_digits():
    arguments = mixture()
    z = R.NormalMixture(*arguments).draw(torch.zeros(2, dtype=F))
    (slope,) = torch.autograd.grad(z.sum(), arguments[1], create_graph=True)
    with pytest.raises(RuntimeError, match="first one alone"):
        slope.sum().backward()
    far = torch.tensor([9.0, -9.0], dtype=torch.float32)  # values that hardly ever come
    single = tuple(a.detach().float().requires_grad_() for a in arguments)
    double = tuple(a.detach().double().requires_grad_() for a in single)
    found, expected = (
        flat(torch.autograd.grad(R.NormalMixture(*a).draw(far.to(a[0].dtype)).sum(), a)) for a in (single, double)
    )
    assert torch.allclose(found.double(), expected, rtol=1e-3, atol=1e-3)
