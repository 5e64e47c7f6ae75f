"""MultivariateNormal(loc, scale_tril), and covariances."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.special import LOG_TWO_PI

__all__ = ["MultivariateNormal", "cholesky", "diagonal_covariance", "tril_covariance"]


def cholesky(covariance: Tensor) -> Tensor:
    """The lower triangular factor; NaN where the matrix is not positive definite (looking would wait for the device)."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    return torch.where((failed == 0)[..., None, None], factor, torch.nan)


def diagonal_covariance(scale: Tensor, size: int) -> Tensor:
    """diag(scale^2), (..., size, size), of deviations (..., size), (..., 1) or a single one."""
    return torch.diag_embed((scale**2).expand(*scale.shape[:-1], size))


def tril_covariance(scale_tril: Tensor) -> Tensor:
    """L L', (..., N, N)."""
    lower = scale_tril.tril()
    return lower @ lower.mT


class MultivariateNormal(Distribution):
    """N(loc, L L'), over the last axis: loc (..., N), L the lower triangle of scale_tril (..., N, N)."""

    def __init__(self, loc: Tensor, scale_tril: Tensor):
        self.loc, self.scale_tril = loc, scale_tril

    def log_prob(self, x: Tensor) -> Tensor:
        """-|L^-1 (x - loc)|² / 2 - log |det L| - N log(2 π) / 2: (...)."""
        gap = (x - self.loc).unsqueeze(-1)
        whitened = torch.linalg.solve_triangular(self.scale_tril.tril(), gap, upper=False).squeeze(-1)
        log_det = self.scale_tril.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
        return -0.5 * (whitened**2).sum(-1) - log_det - 0.5 * LOG_TWO_PI * x.shape[-1]

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        """Normal(0, I)."""
        shape = torch.broadcast_shapes(self.loc.shape, self.scale_tril.shape[:-1])
        return torch.randn(*lead, *shape, dtype=self.scale_tril.dtype, device=self.scale_tril.device)

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """loc + L noise."""
        noise = self.noise() if noise is None else noise
        return self.loc + (self.scale_tril.tril() @ noise.unsqueeze(-1)).squeeze(-1)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @staticmethod
    def expected_log_prob(x: Tensor, weighted: Tensor, square: Tensor, precision: Tensor, log_det: Tensor) -> Tensor:
        """-(D log 2 π + E log |Sigma| + x' E P x - 2 x' E P mu + E mu' P mu) / 2, P = Sigma^-1: (...)."""
        squares = torch.einsum("...i,...ij,...j->...", x, precision, x)
        products = torch.einsum("...i,...i->...", x, weighted)
        return -0.5 * (x.shape[-1] * LOG_TWO_PI + log_det + squares - 2 * products + square)
