"""Weibull(scale, concentration)."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import standard_exponential
from lvspec.runtime.families.special import as_tensor, x_log_y

__all__ = ["Weibull"]


class Weibull(Distribution):
    """scale e^(1 / k), e ~ Exponential(1), k the concentration, elementwise."""

    def __init__(self, scale: Tensor, concentration: Tensor):
        self.scale, self.concentration = scale, concentration

    def log_prob(self, x: Tensor) -> Tensor:
        """log(k / scale) + (k - 1) log u - u^k, u = x / scale; -inf below 0."""
        scale, k = as_tensor(self.scale, x), as_tensor(self.concentration, x)
        inside = x >= 0
        u = torch.where(inside, x, torch.ones_like(x)) / scale
        power = torch.where(u > 0, u, torch.ones_like(u)) ** k * (u > 0)  # whose gradient to k at 0 is a number, too
        return (k.log() - scale.log() + x_log_y(k - 1, u) - power).masked_fill(~inside, -torch.inf)

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        return standard_exponential((self.scale, self.concentration), lead)

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """scale noise^(1 / k), kept off 0, where log densities are infinite."""
        noise = self.noise() if noise is None else noise
        return self.scale * (noise ** (1 / self.concentration)).clamp_min(torch.finfo(noise.dtype).tiny)

    @property
    def mean(self) -> Tensor:
        """scale Γ(1 + 1 / k)."""
        return self.scale * torch.lgamma(1 + 1 / self.concentration).exp()
