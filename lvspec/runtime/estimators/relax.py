"""RELAX: a learned control variate that sees relaxed draws, and the gradient of its variance (Grathwohl et al. 2018).

    b = argmax ζ,  ζ = log α + n            ζ, ζ' ~ p(ζ | b) of two noises
    g = (f(b) - c(ζ')) ∇ log p(b) + ∇ c(ζ) - ∇ c(ζ')       E[g] = ∇ E f(b), for every c
ζ moves with the logits through n; ζ' through the same distribution given b. c's own parameters move along -∇ |g|².
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["as_categorical", "relax"]

LEAST_LOG_PROB = -60.0  # log-probability below which a value has no gradient of its own


def as_categorical(logits: Tensor) -> Tensor:
    """Logits of truth values as those of two values, (..., 2)."""
    return torch.stack([torch.zeros_like(logits), logits], -1)


def given_draw(log_alpha: Tensor, chosen: Tensor) -> Tensor:
    """ζ ~ p(ζ | argmax ζ = the chosen one), with its gradient to log α, normalised: the largest is a standard Gumbel
    whatever α, the others are Gumbel below it."""
    noise = torch.empty_like(log_alpha).exponential_().clamp_min(torch.finfo(log_alpha.dtype).tiny)
    largest = (noise * chosen).sum(-1, keepdim=True)
    below = -(noise * (-log_alpha).exp() + largest).log()
    return torch.where(chosen > 0, -largest.log(), below)


def relax(
    logits: Tensor, z: Tensor, signal: Tensor, temperature: float, control: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """g · logits, whose gradient is g, and -|g|², which moves the control's parameters alone; both (S, B, sites).

    logits: (.., sites, K). z: (S, B, sites) int64. signal: f, without gradient, for each draw, with as many of the sites'
    axes as it has. control: of points of the simplex, softmax(ζ / temperature), (S, B, sites, K), in the signal's shape.
    """
    chosen = torch.nn.functional.one_hot(z, logits.shape[-1]).to(logits.dtype)
    with torch.enable_grad():
        leaf = logits.detach().expand(chosen.shape).clone().requires_grad_()
        log_alpha = leaf.log_softmax(-1).clamp_min(LEAST_LOG_PROB)
        noise = (given_draw(log_alpha, chosen) - log_alpha).detach()
        values, slopes = [], []
        for zeta in (log_alpha + noise, given_draw(log_alpha, chosen)):
            value = control((zeta / temperature).softmax(-1))
            values.append(value)
            slopes.append(torch.autograd.grad(value.sum(), leaf, create_graph=True)[0])
        rest = signal - values[1]
        rest = rest.reshape(*rest.shape, *[1] * (chosen.dim() - rest.dim()))
        slope = rest * (chosen - leaf.detach().softmax(-1)) + slopes[0] - slopes[1]
        moved = torch.where(slope.detach() != 0, slope.detach() * logits, 0.0)
        return moved.sum(-1), -slope.square().sum(-1)
