"""Relaxed draws of discrete distributions: functions of base noise, with a pathwise gradient.

    categorical   y = log z = log softmax((logits + n) / temperature), n ~ Gumbel       z a point of the simplex
    bernoulli     y = logit z = (logits + n) / temperature,            n ~ Logistic     0 < z < 1
As the temperature goes to 0, z becomes a corner, k with probability softmax(logits)_k. y is what densities are about: z
underflows long before. Maddison, Mnih & Teh 2017; Jang, Gu & Poole 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lvspec.runtime.core.semiring import gumbel

__all__ = [
    "bernoulli_corner",
    "bernoulli_point",
    "bernoulli_relaxed",
    "bernoulli_relaxed_log_prob",
    "bernoulli_relaxed_noise",
    "categorical_corner",
    "categorical_point",
    "categorical_relaxed",
    "categorical_relaxed_log_prob",
    "categorical_relaxed_noise",
    "mixed_rows",
]


def categorical_relaxed_noise(logits: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    """Gumbel noise of the logits' shape behind samples_shape."""
    return gumbel((*samples_shape, *logits.shape), logits)


def categorical_relaxed(logits: Tensor, temperature, noise: Tensor) -> Tensor:
    """y, normalised over the last axis; -inf where the logits are."""
    return ((logits + noise) / temperature).log_softmax(-1)


def categorical_point(y: Tensor) -> Tensor:
    """The point of the simplex, exp(y)."""
    return y.exp()


def categorical_corner(y: Tensor) -> Tensor:
    """The corner next to the point, with the point's gradient."""
    z = y.exp()
    corner = torch.zeros_like(z).scatter(-1, y.argmax(-1, keepdim=True), 1.0)
    return corner + (z - z.detach())


def categorical_relaxed_log_prob(y: Tensor, logits: Tensor, temperature) -> Tensor:
    """log density of y (K - 1 free coordinates) under these logits: log Γ(K) + (K - 1) log τ + Σ_k (log α_k - τ y_k)
    - K log Σ_k α_k exp(-τ y_k). Values with logits -inf are no coordinates: K counts the others."""
    temperature = torch.as_tensor(temperature, dtype=y.dtype, device=y.device)
    possible = logits > -torch.inf
    tilted = torch.where(possible, logits, 0.0) - temperature * torch.where(possible, y, 0.0)
    total = torch.where(possible, tilted, -torch.inf).logsumexp(-1)
    count = possible.sum(-1).to(y.dtype)
    each = torch.where(possible, tilted, 0.0).sum(-1)
    return torch.lgamma(count) + (count - 1) * temperature.log() + each - count * total


def bernoulli_relaxed_noise(logits: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    """Standard logistic noise, the difference of two Gumbel variates."""
    shape = (*samples_shape, *logits.shape)
    return gumbel(shape, logits) - gumbel(shape, logits)


def bernoulli_relaxed(logits: Tensor, temperature, noise: Tensor) -> Tensor:
    """y, the logit of a number between 0 and 1."""
    return (logits + noise) / temperature


def bernoulli_point(y: Tensor) -> Tensor:
    """sigmoid(y)."""
    return y.sigmoid()


def bernoulli_corner(y: Tensor) -> Tensor:
    """0 or 1, whichever is next, with the gradient of sigmoid(y)."""
    z = y.sigmoid()
    return (y > 0).to(y.dtype) + (z - z.detach())


def bernoulli_relaxed_log_prob(y: Tensor, logits: Tensor, temperature) -> Tensor:
    """log density of y: log τ + u - 2 log(1 + exp(u)), u = logits - τ y."""
    temperature = torch.as_tensor(temperature, dtype=y.dtype, device=y.device)
    u = logits - temperature * y
    return temperature.log() + u - 2 * softplus(u)


def mixed_rows(base: Tensor, weight: Tensor, event: int) -> Tensor:
    """Σ_k weight_k base[..., k, event axes]: base (*A, K, *E), weight (*A, K), A broadcasts: the row of a corner."""
    return (weight.reshape(*weight.shape, *[1] * event) * base).sum(-event - 1)
