"""Normal-inverse-Wishart: a mean and a covariance that are drawn together.

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

from lvspec.runtime.families.densities import LOG_TWO_PI
from lvspec.runtime.families.draws import gamma_draw
from lvspec.runtime.families.multivariate_normal import cholesky

Parameters = tuple[Tensor, ...]


# ---------------------------------------------------------------- the prior's family
def normal_inverse_wishart_normaliser(loc: Tensor, kappa: Tensor, df: Tensor, scale: Tensor) -> Tensor:
    """(df D / 2) log 2 + log Gamma_D(df / 2) - df / 2 log |scale| + D / 2 log(2 pi / kappa): (...)."""
    D = loc.shape[-1]
    whole = 0.5 * df * (D * math.log(2) - log_determinant(scale)) + log_multigamma(df, D)
    return whole + 0.5 * D * (LOG_TWO_PI - kappa.log())


def normal_inverse_wishart_merged(before: Parameters, seen: Parameters) -> Parameters:
    """Parameters of both together: (loc, kappa, df, scale) of a prior, and (mean, n, n, scatter) of what is seen."""
    (loc, kappa, df, scale), (mean, n, degrees, scatter) = before, seen
    total, gap = kappa + n, mean - loc
    share = n / total
    between = (kappa * share)[..., None, None] * gap.unsqueeze(-1) * gap.unsqueeze(-2)
    return loc + share.unsqueeze(-1) * gap, total, df + degrees, scale + scatter + between


def normal_inverse_wishart_mean(loc: Tensor, kappa: Tensor, df: Tensor, scale: Tensor) -> Tensor:
    """E mu = loc beside E Sigma = scale / (df - D - 1), which is NaN where df is not above D + 1: (..., D, 1 + D)."""
    free = df - loc.shape[-1] - 1
    return side_by_side(loc, scale / torch.where(free > 0, free, torch.nan)[..., None, None])


def normal_inverse_wishart_variance(loc: Tensor, kappa: Tensor, df: Tensor, scale: Tensor) -> Tensor:
    """Of each entry: E Sigma_ii / kappa of mu, and of Sigma what is NaN where df is not above D + 3."""
    free = (df - loc.shape[-1])[..., None, None]
    own = scale.diagonal(dim1=-2, dim2=-1)
    mean = own / (torch.where(free > 1, free - 1, torch.nan)[..., 0] * kappa.unsqueeze(-1))
    above = (free + 1) * scale**2 + (free - 1) * own.unsqueeze(-1) * own.unsqueeze(-2)
    below = free * (free - 1) ** 2 * (free - 3)
    return side_by_side(mean, above / torch.where(free > 3, below, torch.nan))


def normal_inverse_wishart_entropy(loc: Tensor, kappa: Tensor, df: Tensor, scale: Tensor) -> Tensor:
    """H = log Z - sum of natural parameters times expected statistics."""
    D = loc.shape[-1]
    expected = expected_log_determinant(df, scale)
    return normal_inverse_wishart_normaliser(loc, kappa, df, scale) + 0.5 * (df + D + 2) * expected + 0.5 * (df * D + D)


def normal_inverse_wishart_kl(*parameters: Tensor) -> Tensor:
    """KL(q || p) of q's four parameters, then p's: that of the covariances, and of the means given one."""
    loc, kappa, df, scale, p_loc, p_kappa, p_df, p_scale = parameters
    D, gap = loc.shape[-1], loc - p_loc
    factor = cholesky(scale)
    whitened = torch.cholesky_solve(torch.cat([p_scale.expand_as(scale), gap.unsqueeze(-1)], -1), factor)
    trace = whitened[..., :D].diagonal(dim1=-2, dim2=-1).sum(-1)
    apart = (gap * whitened[..., D]).sum(-1)
    means = 0.5 * (D * (p_kappa / kappa - 1 - (p_kappa / kappa).log()) + p_kappa * df * apart)
    ratio = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) - log_determinant(p_scale)
    covariances = 0.5 * p_df * ratio + 0.5 * (df - p_df) * multidigamma(df, D) + 0.5 * df * (trace - D)
    return means + covariances + log_multigamma(p_df, D) - log_multigamma(df, D)


def normal_inverse_wishart_log_prob(value: Tensor, loc: Tensor, kappa: Tensor, df: Tensor, scale: Tensor) -> Tensor:
    """The log-density of (mu, Sigma) side by side: (...)."""
    mu, factor = value[..., 0], cholesky(value[..., 1:])
    D, gap = mu.shape[-1], (mu - loc).unsqueeze(-1)
    log_det = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    inner = scale + kappa[..., None, None] * gap * gap.mT
    trace = torch.cholesky_solve(inner, factor).diagonal(dim1=-2, dim2=-1).sum(-1)
    return -0.5 * (df + D + 2) * log_det - 0.5 * trace - normal_inverse_wishart_normaliser(loc, kappa, df, scale)


def normal_inverse_wishart_noise(
    loc: Tensor, kappa: Tensor, df: Tensor, scale: Tensor, samples_shape: tuple[int, ...] = ()
) -> Tensor:
    """A value, without gradient; samples_shape in front of the parameters' own."""
    every = (p.detach().expand(*samples_shape, *p.shape) for p in (loc, kappa, df, scale))
    return normal_inverse_wishart_draw(*every)


def normal_inverse_wishart_draw(
    loc: Tensor, kappa: Tensor, df: Tensor, scale: Tensor, noise: Tensor | None = None
) -> Tensor:
    """The value `noise`, or one of the parameters' common shape: Sigma^-1 by Bartlett's decomposition, with its gradient."""
    if noise is not None:
        return noise
    D = loc.shape[-1]
    lead = torch.broadcast_shapes(loc.shape[:-1], kappa.shape, df.shape, scale.shape[:-2])
    loc, scale = loc.expand(*lead, D), scale.expand(*lead, D, D)
    half = halves(df.expand(lead), D)
    chi = gamma_draw(half, torch.full_like(half, 0.5)).sqrt()
    bartlett = torch.randn_like(scale).tril(-1) + torch.diag_embed(chi)  # A A' ~ Wishart(df, I)
    root = torch.linalg.solve_triangular(bartlett, cholesky(scale).mT, upper=False).mT  # Sigma = L A^-T A^-1 L'
    mu = loc + (root @ torch.randn_like(loc).unsqueeze(-1)).squeeze(-1) / kappa.sqrt().unsqueeze(-1)
    return side_by_side(mu, root @ root.mT)


# ---------------------------------------------------------------- its factor in a mean field
class NormalInverseWishartFamily:
    """t = (P mu, mu' P mu, P, log |Sigma|), P = Sigma^-1; natural parameters kappa loc, -kappa / 2,
    -(scale + kappa loc loc') / 2, -(df + D + 2) / 2."""

    def natural(self, loc: Tensor, kappa: Tensor, df: Tensor, scale: Tensor) -> Parameters:
        weighted = kappa.unsqueeze(-1) * loc
        inner = scale + weighted.unsqueeze(-1) * loc.unsqueeze(-2)
        return weighted, -0.5 * kappa, -0.5 * inner, -0.5 * (df + loc.shape[-1] + 2)

    def parameters(self, weighted: Tensor, minus_kappa: Tensor, inner: Tensor, minus_df: Tensor) -> Parameters:
        kappa = -2 * minus_kappa
        loc = weighted / kappa.unsqueeze(-1)
        scale = -2 * inner - weighted.unsqueeze(-1) * loc.unsqueeze(-2)
        return loc, kappa, -2 * minus_df - loc.shape[-1] - 2, 0.5 * (scale + scale.mT)

    def statistics(self, loc: Tensor, kappa: Tensor, df: Tensor, scale: Tensor) -> Parameters:
        precision = df[..., None, None] * torch.cholesky_inverse(cholesky(scale))
        weighted = (precision @ loc.unsqueeze(-1)).squeeze(-1)
        square = (loc * weighted).sum(-1) + loc.shape[-1] / kappa
        return weighted, square, precision, expected_log_determinant(df, scale)

    def moments(self, loc: Tensor, kappa: Tensor, df: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        parameters = loc, kappa, df, scale
        return normal_inverse_wishart_mean(*parameters), normal_inverse_wishart_variance(*parameters)

    def entropy(self, loc: Tensor, kappa: Tensor, df: Tensor, scale: Tensor) -> Tensor:
        return normal_inverse_wishart_entropy(loc, kappa, df, scale)

    def scattered(self, loc: Tensor, kappa: Tensor, df: Tensor, scale: Tensor) -> Parameters:
        spread = cholesky(scale / df[..., None, None]) @ torch.randn_like(loc).unsqueeze(-1)
        return loc + spread.squeeze(-1) / kappa.sqrt().unsqueeze(-1), kappa.clone(), df.clone(), scale.clone()


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


def multivariate_normal_expected(
    value: Tensor, weighted: Tensor, square: Tensor, precision: Tensor, log_det: Tensor
) -> Tensor:
    """-(D log 2 pi + E log |Sigma| + x' E P x - 2 x' E P mu + E mu' P mu) / 2, P = Sigma^-1: (...)."""
    squares = torch.einsum("...i,...ij,...j->...", value, precision, value)
    products = torch.einsum("...i,...i->...", value, weighted)
    return -0.5 * (value.shape[-1] * LOG_TWO_PI + log_det + squares - 2 * products + square)


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
