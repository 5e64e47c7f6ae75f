"""HalfNormal(scale)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import standard_normal
from lvspec.runtime.families.special import as_tensor

__all__ = ["HalfNormal"]


class HalfNormal(Distribution):
    """|x| of a Normal(0, scale), elementwise."""

    def __init__(self, scale: Tensor):
        self.scale = scale

    def log_prob(self, x: Tensor) -> Tensor:
        """-x² / (2 scale²) - log scale + log(2 / π) / 2; -inf below 0."""
        scale = as_tensor(self.scale, x)
        return (-0.5 * (x / scale) ** 2 - scale.log() + 0.5 * math.log(2 / math.pi)).masked_fill(x < 0, -torch.inf)

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        """|n|, n ~ Normal(0, 1)."""
        return standard_normal((self.scale,), lead).abs()

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """scale noise."""
        return self.scale * (self.noise() if noise is None else noise)

    def entropy(self) -> Tensor:
        """log scale + (1 + log(π / 2)) / 2."""
        return self.scale.log() + 0.5 * (1 + math.log(math.pi / 2))

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)
