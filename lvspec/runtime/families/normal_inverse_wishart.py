"""NormalInverseWishart(loc, kappa, df, scale): a mean and a covariance that are drawn together.

    Sigma ~ InverseWishart(df, scale)        mu ~ N(loc, Sigma / kappa)        x ~ N(mu, Sigma) i.i.d.

loc (..., D), kappa (...), df (...) > D - 1, scale (..., D, D). One value is the matrix (..., D, 1 + D) of mu and Sigma
side by side. With n observations of mean m and scatter S = sum (x - m)(x - m)', what is seen has parameters of the same
kind, (m, n, n, S), and the posterior's are those of both together.
Murphy 2007, "Conjugate Bayesian analysis of the Gaussian distribution", 9; Chan, Golub & LeVeque 1983.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import ExponentialFamily, Parameters
from lvspec.runtime.families.gamma import Gamma
from lvspec.runtime.families.multivariate_normal import cholesky
from lvspec.runtime.families.special import LOG_TWO_PI

__all__ = ["NormalInverseWishart", "multivariate_normal_statistics", "site_scatter"]


class NormalInverseWishart(ExponentialFamily):
    """In a mean field t = (P mu, mu' P mu, P, log |Sigma|), P = Sigma^-1; natural parameters kappa loc, -kappa / 2,
    -(scale + kappa loc loc') / 2, -(df + D + 2) / 2."""

    event = 2

    def __init__(self, loc: Tensor, kappa: Tensor, df: Tensor, scale: Tensor):
        self.loc, self.kappa, self.df, self.scale = loc, kappa, df, scale

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density of (mu, Sigma) side by side: (...)."""
        mu, factor = x[..., 0], cholesky(x[..., 1:])
        D, gap = mu.shape[-1], (mu - self.loc).unsqueeze(-1)
        log_det = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        inner = self.scale + self.kappa[..., None, None] * gap * gap.mT
        trace = torch.cholesky_solve(inner, factor).diagonal(dim1=-2, dim2=-1).sum(-1)
        return -0.5 * (self.df + D + 2) * log_det - 0.5 * trace - self.log_normaliser()

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        """A value, without gradient."""
        parameters = (self.loc, self.kappa, self.df, self.scale)
        return NormalInverseWishart(*(p.detach().expand((*lead, *p.shape)) for p in parameters)).draw()

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """The value `noise`, or one of the parameters' common shape: Sigma^-1 by Bartlett's decomposition, with its gradient."""
        if noise is not None:
            return noise
        D = self.loc.shape[-1]
        lead = torch.broadcast_shapes(self.loc.shape[:-1], self.kappa.shape, self.df.shape, self.scale.shape[:-2])
        loc, scale = self.loc.expand(*lead, D), self.scale.expand(*lead, D, D)
        half = halves(self.df.expand(lead), D)
        chi = Gamma(half, torch.full_like(half, 0.5)).draw().sqrt()
        bartlett = torch.randn_like(scale).tril(-1) + torch.diag_embed(chi)  # A A' ~ Wishart(df, I)
        root = torch.linalg.solve_triangular(bartlett, cholesky(scale).mT, upper=False).mT  # Sigma = L A^-T A^-1 L'
        mu = loc + (root @ torch.randn_like(loc).unsqueeze(-1)).squeeze(-1) / self.kappa.sqrt().unsqueeze(-1)
        return side_by_side(mu, root @ root.mT)

    def kl(self, other: NormalInverseWishart) -> Tensor:
        """That of the covariances, and of the means given one."""
        D, gap = self.loc.shape[-1], self.loc - other.loc
        factor = cholesky(self.scale)
        whitened = torch.cholesky_solve(torch.cat([other.scale.expand_as(self.scale), gap.unsqueeze(-1)], -1), factor)
        trace = whitened[..., :D].diagonal(dim1=-2, dim2=-1).sum(-1)
        apart = (gap * whitened[..., D]).sum(-1)
        kappas = other.kappa / self.kappa
        means = 0.5 * (D * (kappas - 1 - kappas.log()) + other.kappa * self.df * apart)
        ratio = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) - log_determinant(other.scale)
        covariances = (
            0.5 * other.df * ratio + 0.5 * (self.df - other.df) * multidigamma(self.df, D) + 0.5 * self.df * (trace - D)
        )
        return means + covariances + log_multigamma(other.df, D) - log_multigamma(self.df, D)

    def entropy(self) -> Tensor:
        """H = log Z - sum of natural parameters times expected statistics."""
        D, df = self.loc.shape[-1], self.df
        expected = expected_log_determinant(df, self.scale)
        return self.log_normaliser() + 0.5 * (df + D + 2) * expected + 0.5 * (df * D + D)

    @property
    def mean(self) -> Tensor:
        """E mu = loc beside E Sigma = scale / (df - D - 1), which is NaN where df is not above D + 1: (..., D, 1 + D)."""
        free = self.df - self.loc.shape[-1] - 1
        return side_by_side(self.loc, self.scale / torch.where(free > 0, free, torch.nan)[..., None, None])

    @property
    def variance(self) -> Tensor:
        """Of each entry: E Sigma_ii / kappa of mu, and of Sigma what is NaN where df is not above D + 3."""
        free = (self.df - self.loc.shape[-1])[..., None, None]
        own = self.scale.diagonal(dim1=-2, dim2=-1)
        mean = own / (torch.where(free > 1, free - 1, torch.nan)[..., 0] * self.kappa.unsqueeze(-1))
        above = (free + 1) * self.scale**2 + (free - 1) * own.unsqueeze(-1) * own.unsqueeze(-2)
        below = free * (free - 1) ** 2 * (free - 3)
        return side_by_side(mean, above / torch.where(free > 3, below, torch.nan))

    def log_normaliser(self) -> Tensor:
        """(df D / 2) log 2 + log Gamma_D(df / 2) - df / 2 log |scale| + D / 2 log(2 pi / kappa): (...)."""
        D = self.loc.shape[-1]
        whole = 0.5 * self.df * (D * math.log(2) - log_determinant(self.scale)) + log_multigamma(self.df, D)
        return whole + 0.5 * D * (LOG_TWO_PI - self.kappa.log())

    def merged(self, seen: Parameters) -> NormalInverseWishart:
        """Of a prior and of what is seen, (mean, n, n, scatter), together."""
        mean, n, degrees, scatter = seen
        total, gap = self.kappa + n, mean - self.loc
        share = n / total
        between = (self.kappa * share)[..., None, None] * gap.unsqueeze(-1) * gap.unsqueeze(-2)
        loc = self.loc + share.unsqueeze(-1) * gap
        return NormalInverseWishart(loc, total, self.df + degrees, self.scale + scatter + between)

    def natural(self) -> Parameters:
        weighted = self.kappa.unsqueeze(-1) * self.loc
        inner = self.scale + weighted.unsqueeze(-1) * self.loc.unsqueeze(-2)
        return weighted, -0.5 * self.kappa, -0.5 * inner, -0.5 * (self.df + self.loc.shape[-1] + 2)

    @classmethod
    def from_natural(cls, *natural: Tensor) -> NormalInverseWishart:
        weighted, minus_kappa, inner, minus_df = natural
        kappa = -2 * minus_kappa
        loc = weighted / kappa.unsqueeze(-1)
        scale = -2 * inner - weighted.unsqueeze(-1) * loc.unsqueeze(-2)
        return cls(loc, kappa, -2 * minus_df - loc.shape[-1] - 2, 0.5 * (scale + scale.mT))

    def statistics(self) -> Parameters:
        precision = self.df[..., None, None] * torch.cholesky_inverse(cholesky(self.scale))
        weighted = (precision @ self.loc.unsqueeze(-1)).squeeze(-1)
        square = (self.loc * weighted).sum(-1) + self.loc.shape[-1] / self.kappa
        return weighted, square, precision, expected_log_determinant(self.df, self.scale)

    def scattered(self) -> NormalInverseWishart:
        spread = cholesky(self.scale / self.df[..., None, None]) @ torch.randn_like(self.loc).unsqueeze(-1)
        loc = self.loc + spread.squeeze(-1) / self.kappa.sqrt().unsqueeze(-1)
        return NormalInverseWishart(loc, self.kappa.clone(), self.df.clone(), self.scale.clone())


# ---------------------------------------------------------------- the likelihood
def multivariate_normal_statistics(x: Tensor, like: Tensor) -> tuple[Parameters, Tensor]:
    """Of each site: x itself, and what its density has beside mu and Sigma."""
    return (x,), torch.full_like(x[..., 0], -0.5 * x.shape[-1] * LOG_TWO_PI)


def site_scatter(statistics: tuple[Parameters, Tensor], mask: Tensor, keep: int) -> tuple[Parameters, Tensor]:
    """(mean, n, n, scatter) over the sites that count, axes `keep` and on of the mask (B, sites...), and their terms' sum.

    About the mean: squares of numbers far from 0 would cancel."""
    ((x,), term), lead = statistics, mask.shape[:keep]
    x, term = x.expand(*mask.shape, x.shape[-1]), term.expand(mask.shape)  # of what several sites may see
    mask = mask.reshape(*lead, math.prod(mask.shape[keep:]))
    x = torch.where(
        mask.unsqueeze(-1), x.reshape(*mask.shape, x.shape[-1]), torch.zeros((), dtype=x.dtype, device=x.device)
    )
    n = mask.sum(-1).to(x.dtype)
    mean = x.sum(-2) / n.clamp_min(1).unsqueeze(-1)
    centred = (x - mean.unsqueeze(-2)) * mask.unsqueeze(-1)
    return (mean, n, n, centred.mT @ centred), (term.reshape(mask.shape) * mask).sum(-1)


# ---------------------------------------------------------------- pieces
def side_by_side(mu: Tensor, sigma: Tensor) -> Tensor:
    """(..., D, 1 + D)."""
    return torch.cat([mu.unsqueeze(-1), sigma], -1)


def log_determinant(matrix: Tensor) -> Tensor:
    """log |matrix|, NaN where it is not positive definite."""
    return 2 * cholesky(matrix).diagonal(dim1=-2, dim2=-1).log().sum(-1)


def expected_log_determinant(df: Tensor, scale: Tensor) -> Tensor:
    """E log |Sigma|, Sigma ~ InverseWishart(df, scale)."""
    D = scale.shape[-1]
    return log_determinant(scale) - D * math.log(2) - multidigamma(df, D)


def halves(df: Tensor, D: int) -> Tensor:
    """(df + 1 - i) / 2 for i = 1 .. D, along a last axis; NaN where df is not above D - 1."""
    half = 0.5 * (df.unsqueeze(-1) - torch.arange(D, device=df.device))
    return torch.where(half > 0, half, torch.nan)


def log_multigamma(df: Tensor, D: int) -> Tensor:
    """log Gamma_D(df / 2). torch's own looks at its argument, which waits for the device."""
    return 0.25 * D * (D - 1) * math.log(math.pi) + torch.lgamma(halves(df, D)).sum(-1)


def multidigamma(df: Tensor, D: int) -> Tensor:
    """Its derivative with respect to df / 2."""
    return torch.digamma(halves(df, D)).sum(-1)
