"""StudentT(df, loc, scale)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.gamma import ImplicitGamma
from lvspec.runtime.families.noise import base_shape, standard_gamma
from lvspec.runtime.families.special import as_tensor

__all__ = ["StudentT"]


class StudentT(Distribution):
    """loc + scale t, t with df degrees of freedom, elementwise."""

    def __init__(self, df: Tensor, loc: Tensor, scale: Tensor):
        self.df, self.loc, self.scale = df, loc, scale

    def log_prob(self, x: Tensor) -> Tensor:
        """log Γ((df + 1) / 2) / (Γ(df / 2) sqrt(π df) scale) - (df + 1) / 2 log(1 + y² / df), y = (x - loc) / scale."""
        df, scale = as_tensor(self.df, x), as_tensor(self.scale, x)
        y = (x - self.loc) / scale
        norm = torch.lgamma(0.5 * (df + 1)) - torch.lgamma(0.5 * df) - 0.5 * (df * math.pi).log() - scale.log()
        return norm - 0.5 * (df + 1) * torch.log1p(y**2 / df)

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        """(..., 2): a standard normal and a Gamma(df / 2, 1) variate."""
        shape, like = base_shape((self.df, self.loc, self.scale), lead)
        half = torch.as_tensor(self.df, dtype=like.dtype, device=like.device).expand(shape) / 2
        normal = torch.randn(shape, dtype=like.dtype, device=like.device)
        return torch.stack([normal, standard_gamma(half)], -1)

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """loc + scale n sqrt(df / (2 g)) of noise (n, g)."""
        normal, gamma = (self.noise() if noise is None else noise).unbind(-1)
        half = torch.as_tensor(self.df, dtype=gamma.dtype, device=gamma.device) / 2
        gamma = ImplicitGamma.apply(half.expand(gamma.shape), gamma)
        return self.loc + self.scale * normal * (half / gamma).sqrt()

    @property
    def mean(self) -> Tensor:
        """loc, NaN where df is not above 1."""
        return torch.where(self.df > 1, self.loc, torch.nan)
