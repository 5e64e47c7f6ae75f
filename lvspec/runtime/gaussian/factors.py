"""A Gaussian latent seen through linear-Gaussian observations, integrated out (Normal-Normal, factor analysis).

    z ~ N(m, S)        x_i ~ N(C_i z + d_i, R_i)  for any number of sites i

With S = L L' and z = m + L e, what is seen and the prior of e are squares of e, which one step integrates out
(gaussian_elimination.py), in float64:

    p(z | x) = N(m + L M^-1 L' eta, L M^-1 L')        log p(x) = sum_i log N(x_i; C_i m + d_i, R_i) - log|M| / 2 + |M^-1/2 L' eta|^2 / 2

with eta = sum_i C_i' R_i^-1 (x_i - d_i - C_i m) and M = I + L' (sum_i C_i' R_i^-1 C_i) L, of which neither is formed.
Bishop 2006, "Pattern recognition and machine learning", 2.3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import plain_arithmetic
from lvspec.runtime.families.multivariate_normal import cholesky
from lvspec.runtime.families.special import LOG_TWO_PI
from lvspec.runtime.gaussian.elimination import Conditional, Squares, seen_squares
from lvspec.runtime.gaussian.linear_gaussian import GaussianEmission, apply_matrix


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
        return self.start[0].double().expand(*self.mask.shape, self.start[1].shape[-1])

    def squares(self) -> Squares:
        """What is seen, of z - m: (*lead)."""
        said = Squares.nothing(self.prior_mean.new_zeros(self.mask.shape), self.start[1].shape[-1])
        for emission in (GaussianEmission(*e) for e in self.emissions):
            here, mean = emission.observed()[..., 0], self.prior_mean
            inner = here.dim() - self.mask.dim()  # axes of sites that the latent does not live on
            for _ in range(inner):
                mean = mean.unsqueeze(-2)
            matrix = emission.matrix.double()
            gap = emission.value.double() - apply_matrix(matrix, mean) - emission.offset.double()
            said = said + seen_squares(gap, matrix, emission.covariance.double(), here).summed(inner)
        return said

    def eliminated(self) -> tuple[Tensor, Conditional]:
        """log p(x) and p(z - m | x)."""
        with plain_arithmetic(self.start[1]):
            root = cholesky(self.start[1].double())
            left, conditional = self.squares().eliminate(root.new_zeros(*root.shape[:-1], 0), root)
            return left.total, conditional

    @cached_property
    def solved(self) -> Conditional:
        """What questions of the posterior share."""
        return self.eliminated()[1]

    def log_prob(self) -> Tensor:
        """log p(x), z integrated out: (*lead,)."""
        log_p = self.eliminated()[0]  # not kept: no compiled graph can hold the cache's lock
        return torch.where(self.mask, log_p, 0.0).to(self.start[1].dtype)

    def _answer(self, value: Tensor, event: int) -> Tensor:
        """In the precision of the model, 0 where the latent has no site; of a number without its axis of one entry."""
        here = self.mask[(..., *[None] * event)]
        value = torch.where(here, value, 0.0).to(self.start[1].dtype)
        return value.squeeze(-1) if self.scalar and event == 1 else value

    @property
    def covariance(self) -> Tensor:
        """Cov[z | x]: (*lead, D, D)."""
        return self._answer(self.solved.root @ self.solved.root.mT, 2)

    @property
    def mean(self) -> Tensor:
        """E[z | x]: (*lead, D)."""
        return self._answer(self.prior_mean + self.solved.offset, 1)

    @property
    def mode(self) -> Tensor:
        return self.mean

    @property
    def variance(self) -> Tensor:
        return self._answer(self.solved.root.square().sum(-1), 1)

    @property
    def entropy(self) -> Tensor:
        """H[p(z | x)] of all sites of an example together: (B,)."""
        root = cholesky(self.start[1].double())
        log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1) - 0.5 * self.solved.log_det
        each = self._answer(log_det + 0.5 * root.shape[-1] * (1 + LOG_TWO_PI), 0)
        return each.flatten(1).sum(-1) if each.dim() > 1 else each

    def sample(self, n: int) -> Tensor:
        """n draws: (n, *lead, D), reparameterized."""
        mean, root = self.prior_mean + self.solved.offset, self.solved.root
        noise = torch.randn(n, *mean.shape, dtype=mean.dtype, device=mean.device)
        return self._answer(mean + apply_matrix(root, noise), 1)
