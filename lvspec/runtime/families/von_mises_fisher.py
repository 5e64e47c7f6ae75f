"""VonMisesFisher(loc, concentration): p(z) = C_d(κ) exp(κ z·μ) on the unit sphere of R^d, μ the direction of `loc`; κ = 0 is the uniform one.

    C_d(κ) = κ^ν / ((2π)^(d/2) I_ν(κ)), ν = d/2 - 1            E z = A_d(κ) μ, A_d = I_(ν+1) / I_ν
    KL(μ, κ ‖ m, k) = log C_d(κ) - log C_d(k) + A_d(κ) (κ - k μ·m)
A draw is z = (1 - t) μ + sqrt(t (2 - t)) v, v a unit vector at right angles to μ. Given κ, t is drawn by Wood's rejection
(Wood 1994; Davidson et al. 2018); it moves with κ so that its quantile stays, dt/dκ = -(dF/dκ) / f, which is the gradient
of the expectation: no correction for the rejection is left over. Guu et al. 2018 and Xu & Durrett 2018 keep κ fixed.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from lvspec.runtime.core.once import once_differentiable
from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import base_shape
from lvspec.runtime.families.special import as_tensor

__all__ = ["VonMisesFisher"]

ORDER = 20  # of the Bessel function from which on Debye's expansion holds, with TERMS terms, to about 1e-14
TERMS = 9
TRIES = 24  # proposals a draw: each is accepted with a chance of 0.65 or more (0.35 ** 24 < 1e-10)
NODES, REACH = 96, 14.0  # of the quadrature of dF/dκ: its points, and how many deviations it goes out


def _debye_polynomials(terms: int) -> list[list[float]]:
    """U_0 .. U_terms, coefficients by power: U_(k+1) = p² (1 - p²) U_k' / 2 + ∫_0^p (1 - 5 t²) U_k dt / 8 (DLMF 10.41.9)."""
    found = [[1.0]]
    for _ in range(terms):
        known, new = found[-1], [0.0] * (len(found[-1]) + 3)
        for i, c in enumerate(known):
            new[i + 1] += c * i / 2 + c / (8 * (i + 1))
            new[i + 3] -= c * i / 2 + 5 * c / (8 * (i + 3))
        found.append(new)
    return found


def _fejer(count: int) -> tuple[list[float], list[float]]:
    """Points in (0, 1) and weights of Fejér's first rule, which is exact for polynomials below that degree."""
    angles = [(k + 0.5) * math.pi / count for k in range(count)]
    sums = [sum(math.cos(2 * j * a) / (4 * j * j - 1) for j in range(1, count // 2 + 1)) for a in angles]
    return [0.5 + 0.5 * math.cos(a) for a in angles], [(1 - 2 * s) / count for s in sums]


DEBYE = _debye_polynomials(TERMS)
FEJER = _fejer(NODES)


@cache
def _fejer_rule(device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and weights where they are needed: a device is sent them once."""
    nodes, weights = (torch.tensor(a, dtype=torch.float64, device=device) for a in FEJER)
    return nodes, weights


@cache
def _debye_series(order: float, device: torch.device) -> Tensor:
    """Coefficients of Σ_k U_k(p) / order^k, by powers of p."""
    degree = 3 * TERMS + 1
    table = [sum(u[i] / order**k for k, u in enumerate(DEBYE) if i < len(u)) for i in range(degree)]
    return torch.tensor(table, dtype=torch.float64, device=device)


def _log_bessel_from_order(order: float, x: Tensor) -> Tensor:
    """log I_order(x) - order log x by Debye's expansion (DLMF 10.41.3), for large orders: Σ_k U_k(p) / order^k as one
    polynomial in p."""
    root = (order**2 + x**2).sqrt()
    table = _debye_series(order, x.device)
    powers = (order / root).unsqueeze(-1) ** torch.arange(len(table), dtype=x.dtype, device=x.device)
    series = (powers * table).sum(-1)
    return root - order * (order + root).log() - 0.5 * (2 * math.pi * root).log() + series.log()


def bessel(order: float, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log I_order(x) - order log x, and r_j = I_(j+1)(x) / (x I_j(x)) for j = order and order + 1: smooth at 0, in float64.

    From an order where the expansion holds downwards by r_(j-1) = 1 / (2j + x² r_j), which is stable.
    """
    x = x.double()
    steps = max(0, math.ceil(ORDER - order))
    high = order + steps
    log_i, above, beyond = (_log_bessel_from_order(high + i, x) for i in range(3))
    ratio, following = (above - log_i).exp(), (beyond - above).exp()
    for i in range(steps):
        ratio, following = 1.0 / (2 * (high - i) + x**2 * ratio), ratio
        log_i = log_i - ratio.log()
    return log_i, ratio, following


class SphereConstants(torch.autograd.Function):
    """log C_d(κ) and A_d(κ): the first's derivative is -A_d, the second's r + κ² r (r' - r), r and r' the ratios. Further ones
    are those of the recursion, which is done again."""

    @staticmethod
    def forward(ctx, kappa: Tensor, size: int) -> tuple[Tensor, Tensor]:
        log_i, ratio, following = bessel(size / 2 - 1, kappa)
        mean = kappa * ratio
        ctx.size = size
        ctx.save_for_backward(kappa, mean, _slope(kappa, ratio, following))
        return -0.5 * size * math.log(2 * math.pi) - log_i, mean

    @staticmethod
    def backward(ctx, of_log: Tensor, of_mean: Tensor) -> tuple[Tensor, None]:
        kappa, mean, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            _, ratio, following = bessel(ctx.size / 2 - 1, kappa)
            mean, slope = kappa * ratio, _slope(kappa, ratio, following)
        return slope * of_mean - mean * of_log, None


def _slope(kappa: Tensor, ratio: Tensor, following: Tensor) -> Tensor:
    """dA_d / dκ."""
    return ratio + kappa**2 * ratio * (following - ratio)


def sphere_constants(concentration: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """log C_d(κ) and A_d(κ), in float64."""
    if size < 2:
        raise ValueError(f"VonMisesFisher is on a sphere in two or more dimensions, not {size}")
    return SphereConstants.apply(concentration.double(), size)


def direction(loc: Tensor) -> Tensor:
    """loc / |loc|, over the last axis; 0 at 0, with a finite gradient: padding has no direction."""
    return loc * (loc**2).sum(-1, keepdim=True).clamp_min(torch.finfo(loc.dtype).tiny).rsqrt()


def wood_draw(kappa: Tensor, size: int) -> Tensor:
    """t = 1 - z·μ of a draw: the first accepted of TRIES proposals, so that nothing waits for the device (Wood 1994)."""
    d = size - 1.0
    b = d / (2 * kappa + (4 * kappa**2 + d**2).sqrt())
    half = torch.full((2,), 0.5 * d, dtype=kappa.dtype, device=kappa.device)
    beta = torch._sample_dirichlet(half.expand(TRIES, *kappa.shape, 2).contiguous())[..., 0]
    t = 2 * b * beta / (1 - (1 - b) * beta)
    near = 2 * b / (1 + b)  # 1 - x, x the proposal's own centre
    slack = kappa * (near - t) + d * (((near + (1 - near) * t).log()) - (near * (2 - near)).log())
    accepted = slack >= torch.rand_like(t).log()
    first = accepted.to(torch.int8).argmax(0, keepdim=True)
    tiny = torch.finfo(kappa.dtype).tiny
    return t.gather(0, first)[0].clamp(tiny, 2.0)


class ImplicitDepth(torch.autograd.Function):
    """t = 1 - z·μ as a function of κ: dt/dκ = -(dF/dκ) / f."""

    @staticmethod
    def forward(ctx, kappa: Tensor, depth: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(kappa, depth)
        ctx.size = size
        return depth.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        kappa, depth = ctx.saved_tensors
        return grad * depth_slope(kappa.double(), depth.double(), ctx.size).to(grad.dtype), None, None


def depth_slope(kappa: Tensor, depth: Tensor, size: int) -> Tensor:
    """dt/dκ at a fixed quantile, by the angle: t = 1 - cos θ, θ has a density in proportion to g = sin^(d-2) θ exp(κ cos θ).

    dθ/dκ = -∫_0^θ (cos φ - A) g(φ) dφ / g(θ), or with the other sign from θ to π: from the side on which θ lies.
    """
    theta = 2 * (0.5 * depth).sqrt().clamp_max(1.0).asin()
    _, mean = sphere_constants(kappa, size)
    wide = REACH / kappa.clamp_min(max(size - 2.0, 1.0)).sqrt()
    left = theta.cos() > mean
    end = torch.where(left, (theta - wide).clamp_min(0.0), (theta + wide).clamp_max(math.pi))
    nodes, weights = _fejer_rule(kappa.device)
    phi = theta.unsqueeze(-1) + (end - theta).unsqueeze(-1) * nodes
    apart = 0.5 * (phi - theta.unsqueeze(-1))
    gap = -2 * apart.sin() * (theta.unsqueeze(-1) + apart).sin()  # cos φ - cos θ
    ratio = (phi.sin() / theta.sin().unsqueeze(-1)) ** (size - 2) * (kappa.unsqueeze(-1) * gap).exp()
    total = (ratio * (phi.cos() - mean.unsqueeze(-1)) * weights).sum(-1) * (end - theta)
    return theta.sin() * total


class VonMisesFisher(Distribution):
    """C_d(κ) exp(κ x·μ) on the unit sphere of R^d: loc (..., d), whose direction is μ, and κ = concentration (...)."""

    def __init__(self, loc: Tensor, concentration: Tensor):
        self.loc, self.concentration = loc, concentration

    def log_prob(self, x: Tensor) -> Tensor:
        """log C_d(κ) + κ x·μ; x (..., d) -> (...)."""
        kappa = as_tensor(self.concentration, self.loc)
        log_c, _ = sphere_constants(kappa, self.loc.shape[-1])
        return log_c.to(self.loc.dtype) + kappa * (x * direction(self.loc)).sum(-1)

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        """(..., 1 + d): t = 1 - z·μ, drawn given κ without gradient, and a standard normal vector."""
        kappa = as_tensor(self.concentration, self.loc)
        shape, like = base_shape((self.loc[..., 0], kappa), lead)
        normal = torch.randn(*shape, self.loc.shape[-1], dtype=like.dtype, device=like.device)
        depth = wood_draw(kappa.detach().double().expand(shape), self.loc.shape[-1])
        return torch.cat([depth.to(like.dtype).unsqueeze(-1), normal], -1)

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """(1 - t) μ + sqrt(t (2 - t)) v, v the part of the noise at right angles to μ, at length one; gradient to both."""
        noise = self.noise() if noise is None else noise
        mu = direction(self.loc)
        kappa = as_tensor(self.concentration, self.loc)
        depth, normal = noise[..., 0], noise[..., 1:]
        if kappa.requires_grad:
            depth = ImplicitDepth.apply(kappa.expand(depth.shape), depth, self.loc.shape[-1])
        aside = normal
        for _ in range(2):  # a second time for the digits that the first one loses where the noise is almost along μ
            aside = direction(aside - (aside * mu).sum(-1, keepdim=True) * mu)
        return (1 - depth).unsqueeze(-1) * mu + (depth * (2 - depth)).sqrt().unsqueeze(-1) * aside

    def kl(self, other: VonMisesFisher) -> Tensor:
        """log C(κ) - log C(k) + A(κ) (κ - k μ·m), (...)."""
        q, p = as_tensor(self.concentration, self.loc), as_tensor(other.concentration, self.loc)
        log_q, mean = sphere_constants(q, self.loc.shape[-1])
        log_p, _ = sphere_constants(p, self.loc.shape[-1])
        along = (direction(self.loc) * direction(other.loc)).sum(-1)
        return (log_q - log_p + mean * (q - p * along)).to(self.loc.dtype)
