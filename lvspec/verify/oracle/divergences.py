"""KL(q || p) of two members of one family in closed form, summed over the event: the verifier's own formulas.

`tests/verify/test_densities.py` holds each against quadrature or a sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from operator import add

import torch
from torch import Tensor

from lvspec.verify.oracle.densities import (
    Arguments,
    log_density,
    log_odds_pair,
    log_probabilities,
    normal_inverse_wishart_scale,
    simpson,
    sphere_integral,
)
from lvspec.verify.oracle.numbers import NUMBERS


def divergence(family: str, q: Arguments, p: Arguments, shape: tuple[int, ...]) -> Tensor:
    """KL(q || p) as a scalar; `shape` is the variate's event shape."""
    return _DIVERGENCES[family](q, p, shape).sum()


def divergences(family: str, q: Arguments, p: Arguments, shape: tuple[int, ...]) -> Tensor:
    """KL(q || p) of each entry of the variate."""
    return _DIVERGENCES[family](q, p, shape).expand(shape)


def has_divergence(q: str, p: str) -> bool:
    return q == p and q in _DIVERGENCES


def _wide(a: Arguments, shape: tuple[int, ...], *names: str) -> list[Tensor]:
    return [a[n].expand(shape) for n in names]


def _categorical(q: Arguments, p: Arguments, shape: tuple[int, ...]) -> Tensor:
    return _where_mass(log_probabilities(q), log_probabilities(p)).sum(-1).expand(shape)


def _bernoulli(q: Arguments, p: Arguments, shape: tuple[int, ...]) -> Tensor:
    pairs = zip(log_odds_pair(q), log_odds_pair(p), strict=True)
    return reduce(add, (_where_mass(a, b).expand(shape) for a, b in pairs))


def _where_mass(log_q: Tensor, log_p: Tensor) -> Tensor:
    """q (log q - log p), 0 where q is 0 whatever p is there."""
    log_q, log_p = torch.broadcast_tensors(log_q, log_p)
    mass, none = log_q > -torch.inf, torch.zeros_like(log_q)
    ratio = torch.where(mass, log_q, none) - torch.where(mass, log_p, none)
    return torch.where(mass, log_q.exp() * ratio, none)


def _normal(q: Arguments, p: Arguments, shape: tuple[int, ...]) -> Tensor:
    m, s = _wide(q, shape, "loc", "scale")
    n, r = _wide(p, shape, "loc", "scale")
    return torch.log(r) - torch.log(s) + (s**2 + (m - n) ** 2) / (2 * r**2) - 0.5


def _laplace(q: Arguments, p: Arguments, shape: tuple[int, ...]) -> Tensor:
    m, s = _wide(q, shape, "loc", "scale")
    n, r = _wide(p, shape, "loc", "scale")
    gap = (m - n).abs()
    return torch.log(r / s) + gap / r + s / r * torch.exp(-gap / s) - 1


def _gamma(q: Arguments, p: Arguments, shape: tuple[int, ...]) -> Tensor:
    a, b = _wide(q, shape, "concentration", "rate")
    c, d = _wide(p, shape, "concentration", "rate")
    shapes = (a - c) * torch.digamma(a) - torch.lgamma(a) + torch.lgamma(c)
    return shapes + c * torch.log(b / d) + a * (d - b) / b


def _dirichlet(q: Arguments, p: Arguments, shape: tuple[int, ...]) -> Tensor:
    a, b = q["concentration"].expand(shape), p["concentration"].expand(shape)
    total = a.sum(-1)
    normalisers = torch.lgamma(total) - torch.lgamma(a).sum(-1) - torch.lgamma(b.sum(-1)) + torch.lgamma(b).sum(-1)
    return normalisers + ((a - b) * (torch.digamma(a) - torch.digamma(total)[..., None])).sum(-1)


def _beta(q: Arguments, p: Arguments, shape: tuple[int, ...]) -> Tensor:
    pair = {"concentration": torch.stack(_wide(q, shape, "concentration1", "concentration0"), -1)}
    other = {"concentration": torch.stack(_wide(p, shape, "concentration1", "concentration0"), -1)}
    return _dirichlet(pair, other, (*shape, 2))


def _normal_inverse_wishart(q: Arguments, p: Arguments, shape: tuple[int, ...]) -> Tensor:
    """E_q log q - E_q log p: a log-density is linear in Sigma^-1, Sigma^-1 mu, mu' Sigma^-1 mu and log |Sigma|, so its
    mean under q is that at two values whose four have the right means."""
    return torch.stack(
        [
            log_density("NormalInverseWishart", q, v, shape) - log_density("NormalInverseWishart", p, v, shape)
            for v in normal_inverse_wishart_points(q)
        ]
    ).mean(0)


def normal_inverse_wishart_points(a: Arguments) -> tuple[Tensor, Tensor]:
    """Two values of (mu, Sigma), side by side, whose four statistics average to those expected.

    Precisions (1 ± e) P, P the expected one, with 1 - e² = exp(2 (E log |Sigma^-1| - log |P|) / D); means loc ± what
    leaves the mean of Sigma^-1 mu as it is and adds D / kappa to that of mu' Sigma^-1 mu.
    """
    loc, kappa, df, scale = a["loc"], a["kappa"], a["df"], normal_inverse_wishart_scale(a)
    D = loc.shape[-1]
    expected = sum(torch.digamma((df - i) / 2) for i in range(D)) - D * torch.log(df / 2)
    apart = torch.exp(2 * expected / D)
    e = torch.sqrt(1 - apart)
    spread = scale / df[..., None, None]
    step = torch.sqrt(apart / kappa)[..., None] * torch.linalg.cholesky(spread).sum(-1)

    def point(sign: int) -> Tensor:
        mu, sigma = loc + sign * step / (1 + sign * e)[..., None], spread / (1 + sign * e)[..., None, None]
        return torch.cat([mu[..., None], sigma], -1)

    return point(1), point(-1)


def _poisson(q: Arguments, p: Arguments, shape: tuple[int, ...]) -> Tensor:
    a, b = q["rate"].expand(shape), p["rate"].expand(shape)
    return torch.where(a == 0, b, torch.special.xlogy(a, a) - torch.special.xlogy(a, b) - a + b)


def _von_mises_fisher(q: Arguments, p: Arguments, shape: tuple[int, ...]) -> Tensor:
    """E log q - log p by Simpson's rule over the angle to q's direction: a rotation around it leaves the mean along it."""
    theta, weights = simpson()
    size = shape[-1]
    kappa, other = q["concentration"][..., None], p["concentration"][..., None]
    log_q = -sphere_integral(q["concentration"], size)[..., None] + kappa * torch.cos(theta)
    log_area = math.log(2) + 0.5 * (size - 1) * math.log(math.pi) - math.lgamma(0.5 * (size - 1))
    mass = torch.exp(log_area + log_q) * torch.sin(theta) ** (size - 2) * weights
    a, b = q["loc"], p["loc"]
    between = (a * b).sum(-1) / torch.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    log_p = -sphere_integral(p["concentration"], size)[..., None] + other * torch.cos(theta) * between[..., None]
    return (mass * (log_q - log_p)).sum(-1).expand(shape[:-1])


def _of_numbers(divergence: Callable[..., Tensor]) -> Callable[[Arguments, Arguments, tuple[int, ...]], Tensor]:
    return lambda q, p, shape: divergence(*_wide(q, shape, *q), *_wide(p, shape, *q))


_DIVERGENCES: dict[str, Callable[[Arguments, Arguments, tuple[int, ...]], Tensor]] = {
    "Normal": _normal,
    "Categorical": _categorical,
    "OneHotCategorical": lambda q, p, shape: _categorical(q, p, ()),
    "Bernoulli": _bernoulli,
    "LogNormal": _normal,  # exp is one-to-one, so the divergence is that of the logarithms
    "Laplace": _laplace,
    "Gamma": _gamma,
    "Beta": _beta,
    "Dirichlet": _dirichlet,
    "Poisson": _poisson,
    "VonMisesFisher": _von_mises_fisher,
    "NormalInverseWishart": _normal_inverse_wishart,
    **{name: _of_numbers(family.divergence) for name, family in NUMBERS.items() if family.divergence is not None},
}
