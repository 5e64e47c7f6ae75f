"""A Gaussian latent seen through linear-Gaussian observations, integrated out (Normal-Normal, factor analysis).

    z ~ N(m, S)        x_i ~ N(C_i z + d_i, R_i)  for any number of sites i

The observations add up to eta = sum_i C_i' R_i^-1 (x_i - d_i - C_i m) and Lambda = sum_i C_i' R_i^-1 C_i. With S = L L' and
M = I + L' Lambda L, which is well conditioned however many observations there are:

    p(z | x) = N(m + L M^-1 L' eta, L M^-1 L')        log p(x) = sum_i log N(x_i; C_i m + d_i, R_i) - log|M| / 2 + |M^-1/2 L' eta|^2 / 2

Bishop 2006, "Pattern recognition and machine learning", 2.3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lvspec.runtime.distributions import LOG_TWO_PI
from lvspec.runtime.kalman import GaussianEmission, apply_matrix
from lvspec.runtime.multivariate_normal import cholesky, multivariate_normal_draw
from lvspec.runtime.semiring import plain_arithmetic


@dataclass(frozen=True)
class GaussianFactors:
    """start: (m (..., D), S (..., D, D)). emissions: GaussianEmission arguments, over (*lead, sites of their own).
    mask (*lead): the latent's own sites. scalar: z is a number, and D = 1 is left out of answers."""

    start: tuple[Tensor, Tensor]
    emissions: tuple[tuple[Tensor, Tensor, Tensor, Tensor, Tensor], ...]
    mask: Tensor
    scalar: bool = False

    @property
    def prior_mean(self) -> Tensor:
        """m, (*lead, D)."""
        return self.start[0].expand(*self.mask.shape, self.start[1].shape[-1])

    def information(self) -> tuple[Tensor, Tensor, Tensor]:
        """(eta (*lead, D), Lambda (*lead, D, D), sum of log N(x; C m + d, R) (*lead,))."""
        with plain_arithmetic(self.start[1]):
            parts = [self._from(GaussianEmission(*e)) for e in self.emissions]
            eta, precision, log_p = (sum(p[i] for p in parts) for i in range(3))
        return eta, precision, log_p

    def _from(self, emission: GaussianEmission) -> tuple[Tensor, Tensor, Tensor]:
        here = emission.observed()
        inner = here.dim() - 1 - self.mask.dim()  # axes of sites that the latent does not live on
        mean = self.prior_mean.reshape(*self.mask.shape, *[1] * inner, -1)
        factor = cholesky(emission.covariance)
        gap = torch.where(here, emission.value - apply_matrix(emission.matrix, mean) - emission.offset, 0.0)
        white = torch.linalg.solve_triangular(factor, gap.unsqueeze(-1), upper=False)
        matrix = torch.where(here.unsqueeze(-1), emission.matrix, 0.0)
        rows = torch.linalg.solve_triangular(factor, matrix, upper=False)
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + 0.5 * here.shape[-1] * LOG_TWO_PI
        log_p = torch.where(here[..., 0], -0.5 * (white**2).sum((-2, -1)) - log_det, 0.0)
        sites = tuple(range(self.mask.dim(), self.mask.dim() + inner))
        summed = [(rows.mT @ white).squeeze(-1), rows.mT @ rows, log_p]
        return tuple(x.sum(sites) if sites else x for x in summed)

    @cached_property
    def solved(self) -> tuple[Tensor, Tensor, Tensor]:
        """What questions of the posterior share."""
        return self.solve(*self.information()[:2])

    def solve(self, eta: Tensor, precision: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(L, the Cholesky factor of M, M^-1/2 L' eta)."""
        with plain_arithmetic(eta):
            L = cholesky(self.start[1])
            eye = torch.eye(L.shape[-1], dtype=L.dtype, device=L.device)
            factor = cholesky(eye + L.mT @ precision @ L)
            return L, factor, torch.linalg.solve_triangular(factor, (L.mT @ eta.unsqueeze(-1)), upper=False)

    def log_prob(self) -> Tensor:
        """log p(x), z integrated out: (*lead,)."""
        eta, precision, log_p = self.information()
        _, factor, white = self.solve(eta, precision)  # not kept: no compiled graph can hold the cache's lock
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return torch.where(self.mask, log_p - log_det + 0.5 * (white**2).sum((-2, -1)), 0.0)

    @cached_property
    def root(self) -> Tensor:
        """A factor W of the posterior covariance W W' = L M^-1 L'."""
        L, factor, _ = self.solved
        return torch.linalg.solve_triangular(factor, L.mT.expand(factor.shape), upper=False).mT

    @property
    def covariance(self) -> Tensor:
        """Cov[z | x]: (*lead, D, D), 0 where the latent has no site."""
        return torch.where(self.mask[..., None, None], self.root @ self.root.mT, 0.0)

    @property
    def mean(self) -> Tensor:
        """E[z | x]: (*lead, D)."""
        mean = self.prior_mean + (self.root @ self.solved[2]).squeeze(-1)
        mean = torch.where(self.mask.unsqueeze(-1), mean, 0.0)
        return mean.squeeze(-1) if self.scalar else mean

    @property
    def mode(self) -> Tensor:
        return self.mean

    @property
    def variance(self) -> Tensor:
        variance = self.covariance.diagonal(dim1=-2, dim2=-1)
        return variance.squeeze(-1) if self.scalar else variance

    @property
    def entropy(self) -> Tensor:
        """H[p(z | x)] of all sites of an example together: (B,)."""
        L, factor, _ = self.solved
        log_det = (L.diagonal(dim1=-2, dim2=-1).log() - factor.diagonal(dim1=-2, dim2=-1).log()).sum(-1)
        each = torch.where(self.mask, log_det + 0.5 * L.shape[-1] * (1 + LOG_TWO_PI), 0.0)
        return each.flatten(1).sum(-1) if each.dim() > 1 else each

    def sample(self, n: int) -> Tensor:
        """n draws: (n, *lead, D), reparameterized."""
        mean = self.prior_mean + (self.root @ self.solved[2]).squeeze(-1)
        factor = cholesky(self.root @ self.root.mT)
        draws = multivariate_normal_draw(mean.expand(n, *mean.shape), factor)
        draws = torch.where(self.mask.unsqueeze(-1), draws, 0.0)
        return draws.squeeze(-1) if self.scalar else draws
