"""Mixtures of Gaussians with independent coordinates: p(z) = Σ_k w_k Π_d N(z_d; μ_kd, σ_kd), w = softmax(logits).

A draw moves with its parameters so that the quantile of each coordinate given the earlier ones stays where it is (Graves
2016; Figurnov, Mohamed & Mnih 2018):

    F_d(z) = Σ_k w_kd Φ((z_d - μ_kd) / σ_kd), w_kd ∝ w_k Π_{j<d} N(z_j; μ_kj, σ_kj)        dz = -(∂F/∂z)^-1 ∂F, lower triangular
Shapes: value (..., D), logits (..., K), loc and scale (..., K, D).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lvspec.runtime.core.once import once_differentiable
from lvspec.runtime.families.categorical import Categorical
from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.normal import Normal

__all__ = ["NormalMixture", "strata_draw", "strata_noise"]


class Once(torch.autograd.Function):
    """x, through which a gradient passes once: what stands behind it has the right first derivative and no other."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad


class NormalMixture(Distribution):
    """Σ_k softmax(logits)_k Π_d N(x_d; loc_kd, scale_kd²). The noise of a draw is the value itself."""

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor):
        self.logits, self.loc, self.scale = logits, loc, scale

    def log_prob(self, x: Tensor) -> Tensor:
        """log Σ_k w_k Π_d N(x_d; loc_kd, scale_kd²), (...)."""
        inside = Normal(self.loc, self.scale).log_prob(x.unsqueeze(-2)).sum(-1)
        return (self.logits.log_softmax(-1) + inside).logsumexp(-1)

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        """A value, without gradient."""
        own = torch.broadcast_shapes(self.logits.shape, self.loc.shape[:-1], self.scale.shape[:-1])
        shape = (*lead, *own)
        k = Categorical(self.logits.expand(shape)).sample()
        wide = (*shape, self.loc.shape[-1])
        at = k[..., None, None].expand(*shape[:-1], 1, self.loc.shape[-1])
        loc, scale = (a.detach().expand(wide).gather(-2, at)[..., 0, :] for a in (self.loc, self.scale))
        return loc + scale * torch.randn_like(loc)

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """The value `noise`, with its gradient to all three arguments."""
        value = (self.noise() if noise is None else noise).detach()
        z = value.unsqueeze(-2)
        logits, loc, scale = (Once.apply(a) for a in (self.logits, self.loc, self.scale))
        inside = Normal(loc, scale).log_prob(z)  # (..., K, D)
        log_w = logits.log_softmax(-1).unsqueeze(-1)
        w = (log_w + inside.cumsum(-1) - inside).softmax(-2)  # of each component, given the earlier coordinates
        u = (z - loc) / scale
        below = (w * 0.5 * torch.erfc(-u / math.sqrt(2))).sum(-2).detach()
        # of the smaller tail, which has more digits
        sign = torch.where(below > 0.5, -1.0, 1.0).to(value.dtype).unsqueeze(-2)
        tail = w * 0.5 * torch.erfc(-sign * u / math.sqrt(2))
        quantile = sign[..., 0, :] * tail.sum(-2)
        with torch.no_grad():
            slope = -u / scale  # d log N / dz
            moved = tail.mT @ slope - tail.sum(-2).unsqueeze(-1) * (w.mT @ slope)  # (..., D, D)
            # far from all components, where no draw falls but a given value may, the density is no number of this precision
            density = (w * inside.exp()).sum(-2).clamp_min(torch.finfo(value.dtype).tiny)
            jacobian = (sign.mT * moved).tril(-1) + torch.diag_embed(density)
        step = torch.linalg.solve_triangular(jacobian, (quantile - quantile.detach()).unsqueeze(-1), upper=False)
        return value - step.squeeze(-1)


def strata_noise(logits: Tensor, loc: Tensor, scale: Tensor, samples: int) -> Tensor:
    """Normal(0, 1) for `samples` draws, (S, ..., D)."""
    lead = torch.broadcast_shapes(logits.shape[:-1], loc.shape[:-2], scale.shape[:-2])
    return torch.randn(samples, *lead, loc.shape[-1], dtype=loc.dtype, device=loc.device)


def strata_draw(logits: Tensor, loc: Tensor, scale: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Draw s of component s mod K, (S, ..., D), and its weight in the average over draws, w_k K / S, (S, ...): Σ_s weight_s f(z_s)
    has the mean E f, each component's share summed out. Weights have gradients."""
    components, samples = loc.shape[-2], noise.shape[0]
    if samples % components:
        raise ValueError(f"{samples} draws are not the same number for each of {components} components")
    copies = samples // components
    lead = noise.shape[1:-1]
    loc, scale = (
        a.expand(*lead, *a.shape[-2:]).movedim(-2, 0).repeat(copies, *[1] * (len(lead) + 1)) for a in (loc, scale)
    )
    w = logits.softmax(-1).expand(*lead, components).movedim(-1, 0) / copies
    return loc + scale * noise, w.repeat(copies, *[1] * len(lead))
