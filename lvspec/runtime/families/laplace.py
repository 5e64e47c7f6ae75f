"""Laplace(loc, scale)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import standard_exponential, standard_uniform
from lvspec.runtime.families.special import as_tensor, log_of

__all__ = ["Laplace"]


class Laplace(Distribution):
    """exp(-|x - loc| / scale) / (2 scale), elementwise."""

    def __init__(self, loc: Tensor, scale: Tensor):
        self.loc, self.scale = loc, scale

    def log_prob(self, x: Tensor) -> Tensor:
        """-|x - loc| / scale - log(2 scale)."""
        scale = as_tensor(self.scale, x)
        return -(x - self.loc).abs() / scale - scale.log() - math.log(2)

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        """A standard Laplace variate: an Exponential(1) with a random sign."""
        u = standard_uniform((self.loc, self.scale), lead)
        return torch.where(u < 0.5, -1.0, 1.0).to(u.dtype) * standard_exponential((self.loc, self.scale), lead)

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """loc + scale noise."""
        return self.loc + self.scale * (self.noise() if noise is None else noise)

    def kl(self, other: Laplace) -> Tensor:
        """log(s_p / s_q) + |m_q - m_p| / s_p + s_q / s_p exp(-|m_q - m_p| / s_q) - 1."""
        gap = (self.loc - other.loc).abs()
        ratio = self.scale / other.scale
        return -log_of(ratio) + gap / other.scale + ratio * torch.exp(-gap / self.scale) - 1

    def entropy(self) -> Tensor:
        """1 + log(2 scale)."""
        return 1 + math.log(2) + self.scale.log() + torch.zeros_like(self.loc)

    @property
    def mean(self) -> Tensor:
        return self.loc
