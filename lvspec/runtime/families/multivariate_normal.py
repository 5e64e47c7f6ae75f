"""Normal(loc, L L'): log-density and draws. Of a factor L only the lower triangle is read."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.families.densities import LOG_TWO_PI


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


def multivariate_normal_log_prob(value: Tensor, loc: Tensor, scale_tril: Tensor) -> Tensor:
    """-|L^-1 (value - loc)|^2 / 2 - log |det L| - N log(2 pi) / 2; value, loc (..., N), scale_tril (..., N, N) -> (...)."""
    gap = (value - loc).unsqueeze(-1)
    whitened = torch.linalg.solve_triangular(scale_tril.tril(), gap, upper=False).squeeze(-1)
    log_det = scale_tril.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
    return -0.5 * (whitened**2).sum(-1) - log_det - 0.5 * LOG_TWO_PI * value.shape[-1]


def multivariate_normal_noise(loc: Tensor, scale_tril: Tensor, samples_shape: tuple[int, ...] = ()) -> Tensor:
    """Normal(0, I), samples_shape before the arguments' common shape."""
    shape = torch.broadcast_shapes(loc.shape, scale_tril.shape[:-1])
    return torch.randn(*samples_shape, *shape, dtype=scale_tril.dtype, device=scale_tril.device)


def multivariate_normal_draw(loc: Tensor, scale_tril: Tensor, noise: Tensor | None = None) -> Tensor:
    """loc + L noise."""
    noise = multivariate_normal_noise(loc, scale_tril) if noise is None else noise
    return loc + (scale_tril.tril() @ noise.unsqueeze(-1)).squeeze(-1)
