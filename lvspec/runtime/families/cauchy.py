"""Cauchy(loc, scale)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import standard_uniform
from lvspec.runtime.families.special import as_tensor

__all__ = ["Cauchy"]


class Cauchy(Distribution):
    """1 / (π scale (1 + y²)), y = (x - loc) / scale, elementwise. It has no mean."""

    def __init__(self, loc: Tensor, scale: Tensor):
        self.loc, self.scale = loc, scale

    def log_prob(self, x: Tensor) -> Tensor:
        """-log(π scale) - log(1 + y²), of y far from 0 by 1 / y."""
        scale = as_tensor(self.scale, x)
        y = (x - self.loc) / scale
        far = y.abs() > 1
        inner = torch.where(far, torch.ones_like(y), y)
        outer = torch.where(far, y, torch.ones_like(y))
        log_term = torch.where(far, 2 * outer.abs().log() + torch.log1p(outer**-2), torch.log1p(inner**2))
        return -scale.log() - math.log(math.pi) - log_term

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        """A standard Cauchy variate, tan π(u - 1/2)."""
        return torch.tan(math.pi * (standard_uniform((self.loc, self.scale), lead) - 0.5))

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """loc + scale noise."""
        return self.loc + self.scale * (self.noise() if noise is None else noise)

    def kl(self, other: Cauchy) -> Tensor:
        """log(((s_q + s_p)² + (m_q - m_p)²) / (4 s_q s_p)) (Chyzak & Nielsen 2019), by ratios: squares may leave the range of numbers."""
        scale = as_tensor(other.scale, self.scale)
        apart = (self.loc - other.loc) / scale
        ratio = self.scale / scale
        return torch.log1p(((ratio - 1) ** 2 + apart**2) / (4 * ratio))

    def entropy(self) -> Tensor:
        """log(4π scale)."""
        return self.scale.log() + math.log(4 * math.pi) + torch.zeros_like(self.loc)
