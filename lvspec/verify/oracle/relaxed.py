"""Relaxed draws by their definition (Maddison, Mnih & Teh 2017), for categorical and Bernoulli values.

z_k = exp((log α_k + g_k) / τ) / Σ_j exp((log α_j + g_j) / τ)
p(z) = (K - 1)! τ^(K - 1) (Σ_k α_k z_k^-τ)^-K Π_k α_k z_k^(-τ - 1)
A Bernoulli is the categorical of (z, 1 - z) with log α = (logit, 0), its noise the difference of two Gumbel variates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.verify.oracle.densities import Arguments, log_odds_pair, log_probabilities


@dataclass(frozen=True)
class Relaxation:
    """hard: what is read is the nearest value, with the gradient of the point."""

    temperature: float
    hard: bool


def relaxed_draw(family: str, arguments: Arguments, noise: Tensor, relaxation: Relaxation) -> Tensor:
    """The point that the noise stands for, or the value next to it."""
    if family == "Bernoulli":
        zero, one = log_odds_pair(arguments)
        scores = torch.stack([(one - zero + noise) / relaxation.temperature, torch.zeros_like(noise)], -1)
    else:
        scores = (log_probabilities(arguments) + noise) / relaxation.temperature
    point = torch.exp(scores - torch.logsumexp(scores, -1, keepdim=True))
    if relaxation.hard:
        nearest = (point == point.amax(-1, keepdim=True)).double()
        point = nearest + point - point.detach()
    return point[..., 0] if family == "Bernoulli" else point


def relaxed_log_density(family: str, arguments: Arguments, point: Tensor, relaxation: Relaxation) -> Tensor:
    """log p at the point, summed over an event of several."""
    tau = relaxation.temperature
    if family == "Bernoulli":
        zero, one = log_odds_pair(arguments)
        point = torch.stack([point, 1 - point], -1)
        log_alpha = torch.stack([one, zero], -1)
    else:
        log_alpha = log_probabilities(arguments)
    log_alpha = log_alpha.expand(point.shape)
    size = point.shape[-1]
    front = math.log(math.factorial(size - 1)) + (size - 1) * math.log(tau)
    total = torch.log((log_alpha.exp() * point**-tau).sum(-1))
    return (front - size * total + (log_alpha - (tau + 1) * point.log()).sum(-1)).sum()
