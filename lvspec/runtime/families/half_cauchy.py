"""HalfCauchy(scale)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lvspec.runtime.families.cauchy import Cauchy
from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import standard_uniform
from lvspec.runtime.families.special import as_tensor

__all__ = ["HalfCauchy"]


class HalfCauchy(Distribution):
    """|x| of a Cauchy(0, scale), elementwise. It has no mean."""

    def __init__(self, scale: Tensor):
        self.scale = scale

    def log_prob(self, x: Tensor) -> Tensor:
        """log 2 - log(π scale) - log(1 + (x / scale)²); -inf below 0."""
        scale = as_tensor(self.scale, x)
        return (Cauchy(torch.zeros_like(scale), scale).log_prob(x) + math.log(2)).masked_fill(x < 0, -torch.inf)

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        """tan(π u / 2), the size of a standard Cauchy variate."""
        return torch.tan(0.5 * math.pi * standard_uniform((self.scale,), lead))

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """scale noise, kept off 0, where the logarithm of a positive number has none."""
        noise = self.noise() if noise is None else noise
        return self.scale * noise.clamp_min(torch.finfo(noise.dtype).tiny)

    def entropy(self) -> Tensor:
        """log(2π scale)."""
        return self.scale.log() + math.log(2 * math.pi)
