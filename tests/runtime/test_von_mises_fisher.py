"""Densities, divergences and draws on the sphere, against quadrature and scipy's Bessel functions."""

import math

import pytest
import torch

from lvspec import runtime as R
from lvspec.runtime.families import von_mises_fisher as V
from lvspec.verify.checks.chance import critical_value
from lvspec.verify.oracle.transport import transport

F = torch.float64
KAPPA = torch.tensor([0.0, 1e-4, 0.3, 1.0, 7.0, 60.0, 1e3, 1e5], dtype=F)


@pytest.mark.parametrize("size", [2, 3, 4, 9, 40, 41, 43, 300])
def test_bessel_functions_are_those_of_scipy(size):
    special = pytest.importorskip("scipy.special")
    order = size / 2 - 1
    found, ratio, following = V.bessel(order, KAPPA)
    for k, value, r in zip(KAPPA.tolist(), found.tolist(), (KAPPA * ratio).tolist(), strict=True):
        scaled = special.ive(order, k)
        if k and scaled > 1e-250:
            assert abs(value - (math.log(scaled) + k - order * math.log(k))) < 1e-9 * max(1, abs(value))
            assert abs(r - special.ive(order + 1, k) / scaled) < 1e-9
    assert torch.isfinite(found).all() and (following <= ratio).all()
    assert abs(found[0] + order * math.log(2) + math.lgamma(order + 1)) < 1e-9 * max(1, abs(found[0]))


@pytest.mark.parametrize("size", [2, 3, 8])
def test_mass_is_one_and_the_divergence_is_the_integral(size):
    """Over the angle, and over the angle around it that a second direction needs."""
    theta = (torch.arange(4000, dtype=F) + 0.5) * math.pi / 4000
    area = math.log(2) + 0.5 * (size - 1) * math.log(math.pi) - math.lgamma(0.5 * (size - 1))  # of the sphere around
    weight = math.exp(area) * theta.sin() ** (size - 2) * math.pi / 4000
    loc = torch.zeros(size, dtype=F)
    loc[0] = 2.5  # the direction counts, not the length
    value = torch.zeros(4000, size, dtype=F)
    value[:, 0], value[:, 1] = theta.cos(), theta.sin()
    for k in (0.0, 0.8, 20.0):
        kappa = torch.tensor(k, dtype=F)
        log_q = R.VonMisesFisher(loc, kappa).log_prob(value)
        assert abs((weight * log_q.exp()).sum() - 1) < 1e-6
        for other, turn in ((0.0, 0.0), (3.0, 0.0), (3.0, 1.1)):
            p_loc = torch.zeros(size, dtype=F)
            p_loc[0], p_loc[1] = math.cos(turn), math.sin(turn)
            rest = R.VonMisesFisher(p_loc, torch.tensor(other, dtype=F)).log_prob(p_loc) - other
            expected = (weight * log_q.exp() * (log_q - rest - other * theta.cos() * math.cos(turn))).sum()
            assert (
                abs(R.VonMisesFisher(loc, kappa).kl(R.VonMisesFisher(p_loc, torch.tensor(other, dtype=F))) - expected)
                < 1e-5
            )


@pytest.mark.parametrize("size", [2, 3, 17, 60])
def test_gradients_of_the_constants(size):
    kappa = torch.tensor([0.01, 0.3, 2.0, 30.0, 900.0], dtype=F, requires_grad=True)
    assert torch.autograd.gradcheck(lambda k: V.sphere_constants(k, size), kappa, eps=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [2, 3, 10])
@pytest.mark.parametrize("kappa", [0.0, 0.7, 12.0, 400.0])
def test_draws_lie_on_the_sphere_with_the_mean_that_they_should_have(size, kappa):
    torch.manual_seed(0)
    loc = torch.arange(1.0, size + 1, dtype=F).expand(40_000, size)
    z = R.VonMisesFisher(loc, torch.full((40_000,), kappa, dtype=F)).draw()
    assert (z.norm(dim=-1) - 1).abs().max() < 1e-12
    along = z @ V.direction(loc[0])
    mean = V.sphere_constants(torch.tensor(kappa, dtype=F), size)[1]
    across = z - along[:, None] * V.direction(loc[0])
    z_score = torch.cat([(along - mean)[:, None], across], -1)
    z_score = z_score.mean(0) / z_score.std(0).clamp_min(1e-12) * 200
    assert z_score.abs().max() < critical_value(size + 1, 40_000)
    # E (z·μ)² = 1 - (d - 1) A / κ
    if kappa:
        second = along**2 - (1 - (size - 1) * mean / kappa)
        assert abs(second.mean() / second.std() * 200) < critical_value(1, 40_000)


@pytest.mark.parametrize("size", [2, 3, 6, 40])
@pytest.mark.parametrize("kappa", [0.0, 0.5, 9.0, 300.0])
def test_a_draw_moves_with_its_concentration_at_a_fixed_quantile(size, kappa):
    """The slope by Fejér's rule on one tail against Simpson's rule on all of it."""
    torch.manual_seed(1)
    depth = V.wood_draw(torch.full((20,), kappa, dtype=F), size)
    noise = torch.cat([depth[:, None], torch.randn(20, size, dtype=F)], -1)
    k = torch.full((20,), kappa, dtype=F, requires_grad=True)
    loc = torch.randn(size, dtype=F, requires_grad=True)
    weight = torch.randn(size, dtype=F)
    found, expected = (
        torch.autograd.grad((z * weight).sum(), (k, loc))
        for z in (
            R.VonMisesFisher(loc, k).draw(noise),
            torch.stack(
                [
                    transport("VonMisesFisher", {"loc": loc, "concentration": c}, n)
                    for c, n in zip(k, noise, strict=True)
                ]
            ),
        )
    )
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-8)


def circle_gradient(loc, kappa, f):
    """∇ E f(z) on the circle, by the trapezoid rule."""
    angle = torch.arange(4000, dtype=F) * (2 * math.pi / 4000)
    z = torch.stack([angle.cos(), angle.sin()], -1)
    mean = (R.VonMisesFisher(loc, kappa).log_prob(z).exp() * f(z)).sum() * (2 * math.pi / 4000)
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(mean, (loc, kappa))])


@pytest.mark.parametrize("missing", [False, True])
def test_mean_gradient_is_that_of_the_expectation(missing):
    """Without the movement of what rejection has accepted, the mean gradient is another one."""
    loc = torch.tensor([0.8, -0.3], dtype=F, requires_grad=True)
    kappa = torch.tensor(2.0, dtype=F, requires_grad=True)

    def f(z):
        return (2 * z[..., 0] + z[..., 1]).exp()

    truth = circle_gradient(loc, kappa, f)
    torch.manual_seed(0)
    rows = []
    for _ in range(60):
        noise = R.VonMisesFisher(loc, kappa).noise((1000,))
        z = R.VonMisesFisher(loc, kappa.detach() if missing else kappa).draw(noise)
        grads = torch.autograd.grad(f(z).mean(), (loc, kappa), allow_unused=True)
        rows.append(torch.cat([torch.zeros(1, dtype=F) if g is None else g.reshape(-1) for g in grads]))
    rows = torch.stack(rows)
    z_score = ((rows.mean(0) - truth) / (rows.std(0) / 60**0.5).clamp_min(1e-12)).abs().max()
    assert z_score > 100 if missing else z_score < critical_value(3, 60)


def test_single_precision_and_many_dimensions():
    torch.manual_seed(0)
    loc, kappa = torch.randn(5, 200), torch.tensor([0.0, 1.0, 50.0, 1e4, 1e6]).requires_grad_()
    z = R.VonMisesFisher(loc, kappa).draw(R.VonMisesFisher(loc, kappa).noise((3,)))
    kl = R.VonMisesFisher(loc, kappa).kl(R.VonMisesFisher(loc, 0))
    (z.sum() + kl.sum()).backward()
    assert z.dtype == kl.dtype == torch.float32 and torch.isfinite(z).all() and torch.isfinite(kl).all()
    assert kl[0].abs() < 1e-5 and (kl.diff() > 0).all() and torch.isfinite(kappa.grad).all()
    assert R.VonMisesFisher(loc[:0], kappa[:0]).draw().shape == (0, 200)
    with pytest.raises(ValueError, match="two or more"):
        R.VonMisesFisher(torch.ones(1), torch.ones(())).log_prob(torch.ones(1))
