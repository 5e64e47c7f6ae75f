"""Conjugate pairs: a latent integrated out through its sufficient statistics.

    Beta       Bernoulli, Binomial, Geometric      (successes, failures)
    Dirichlet  Categorical                         counts
    Gamma      Poisson, Exponential, Gamma         (events, exposure)
               Normal, LogNormal, Laplace          the same, of a precision
    NormalInverseWishart  MultivariateNormal       (mean, n, n, scatter)

A likelihood gives, for each site, what it adds to the prior's parameters, and a term that the latent does not enter.
With A the log-normaliser of the prior's family, prior parameters p and the sums s over the sites:

    posterior = family(p + s)          log p(x) = A(p + s) - A(p) + sum of the terms

(the sum p + s in the family's additive parameters; of a Normal-inverse-Wishart what stands for it about their means.) Diaconis & Ylvisaker 1979; Gelman et al., "Bayesian data analysis", 2-3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.runtime.families.densities import (
    LOG_TWO_PI,
    as_tensor,
    beta_entropy,
    dirichlet_entropy,
    gamma_entropy,
    x_log_y,
)
from lvspec.runtime.families.draws import beta_draw, dirichlet_draw, gamma_draw
from lvspec.runtime.families.normal_inverse_wishart import (
    Parameters,
    normal_inverse_wishart_draw,
    normal_inverse_wishart_entropy,
    normal_inverse_wishart_mean,
    normal_inverse_wishart_merged,
    normal_inverse_wishart_normaliser,
    normal_inverse_wishart_variance,
)


# ---------------------------------------------------------------- families of priors
def added(before: Parameters, seen: Parameters) -> Parameters:
    """Of additive parameters the posterior's are the prior's plus the statistics."""
    return tuple(p + s for p, s in zip(before, seen, strict=True))


@dataclass(frozen=True)
class ConjugateFamily:
    """names: of the parameters. event: axes of one value. log_normaliser, mean, variance, entropy: of the parameters;
    draw(parameters); merged(prior's parameters, statistics): the posterior's."""

    names: tuple[str, ...]
    event: int
    log_normaliser: Callable[..., Tensor]
    mean: Callable[..., Tensor]
    variance: Callable[..., Tensor]
    entropy: Callable[..., Tensor]
    draw: Callable[[Parameters], Tensor]
    merged: Callable[[Parameters, Parameters], Parameters] = added


def beta_normaliser(a: Tensor, b: Tensor) -> Tensor:
    """log B(a, b)."""
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def beta_variance(a: Tensor, b: Tensor) -> Tensor:
    return a * b / ((a + b) ** 2 * (a + b + 1))


def dirichlet_normaliser(alpha: Tensor) -> Tensor:
    """sum_k log Gamma(alpha_k) - log Gamma(sum_k alpha_k), over the last axis."""
    return torch.lgamma(alpha).sum(-1) - torch.lgamma(alpha.sum(-1))


def dirichlet_mean(alpha: Tensor) -> Tensor:
    return alpha / alpha.sum(-1, keepdim=True)


def dirichlet_variance(alpha: Tensor) -> Tensor:
    mean = dirichlet_mean(alpha)
    return mean * (1 - mean) / (alpha.sum(-1, keepdim=True) + 1)


def gamma_normaliser(a: Tensor, rate: Tensor) -> Tensor:
    """log Gamma(a) - a log rate."""
    return torch.lgamma(a) - a * rate.log()


CONJUGATE: dict[str, ConjugateFamily] = {
    "Beta": ConjugateFamily(
        ("concentration1", "concentration0"),
        0,
        beta_normaliser,
        lambda a, b: a / (a + b),
        beta_variance,
        beta_entropy,
        lambda p: beta_draw(*p),
    ),
    "Dirichlet": ConjugateFamily(
        ("concentration",),
        1,
        dirichlet_normaliser,
        dirichlet_mean,
        dirichlet_variance,
        dirichlet_entropy,
        lambda p: dirichlet_draw(*p),
    ),
    "Gamma": ConjugateFamily(
        ("concentration", "rate"),
        0,
        gamma_normaliser,
        lambda a, rate: a / rate,
        lambda a, rate: a / rate**2,
        gamma_entropy,
        lambda p: gamma_draw(*p),
    ),
    "NormalInverseWishart": ConjugateFamily(
        ("loc", "kappa", "df", "scale"),
        2,
        normal_inverse_wishart_normaliser,
        normal_inverse_wishart_mean,
        normal_inverse_wishart_variance,
        normal_inverse_wishart_entropy,
        lambda p: normal_inverse_wishart_draw(*p),
        normal_inverse_wishart_merged,
    ),
}


# ---------------------------------------------------------------- likelihoods: (statistics, term) of each site
def bernoulli_statistics(x: Tensor, like: Tensor) -> tuple[Parameters, Tensor]:
    """theta^x (1 - theta)^(1 - x)."""
    x = x.to(like.dtype)
    return (x, 1 - x), torch.zeros_like(x)


def binomial_statistics(x: Tensor, like: Tensor, total_count: Tensor) -> tuple[Parameters, Tensor]:
    """C(n, x) theta^x (1 - theta)^(n - x); of more successes than trials, log 0 and nothing seen."""
    x, n = torch.broadcast_tensors(x.to(like.dtype), as_tensor(total_count, like))
    impossible = x > n
    x, n = x.masked_fill(impossible, 0.0), n.masked_fill(impossible, 0.0)
    term = torch.lgamma(n + 1) - torch.lgamma(x + 1) - torch.lgamma(n - x + 1)
    return (x, n - x), term.masked_fill(impossible, -torch.inf)


def geometric_statistics(x: Tensor, like: Tensor) -> tuple[Parameters, Tensor]:
    """theta (1 - theta)^x: x failures before the first success."""
    x = x.to(like.dtype)
    return (torch.ones_like(x), x), torch.zeros_like(x)


def categorical_statistics(x: Tensor, like: Tensor, size: int) -> tuple[Parameters, Tensor]:
    """theta_x: one count, of size K."""
    counts = (torch.arange(size, device=x.device) == x.unsqueeze(-1)).to(like.dtype)
    return (counts,), torch.zeros_like(counts[..., 0])


def poisson_statistics(x: Tensor, like: Tensor, exposure: Tensor | float = 1.0) -> tuple[Parameters, Tensor]:
    """(e lambda)^x exp(-e lambda) / x!, e the exposure."""
    x, e = torch.broadcast_tensors(x.to(like.dtype), as_tensor(exposure, like))
    return (x, e), x_log_y(x, e) - torch.lgamma(x + 1)


def exponential_statistics(x: Tensor, like: Tensor, exposure: Tensor | float = 1.0) -> tuple[Parameters, Tensor]:
    """e lambda exp(-e lambda x)."""
    x, e = torch.broadcast_tensors(x.to(like.dtype), as_tensor(exposure, like))
    return (torch.ones_like(x), e * x), e.log()


def gamma_statistics(
    x: Tensor, like: Tensor, concentration: Tensor, exposure: Tensor | float = 1.0
) -> tuple[Parameters, Tensor]:
    """(e lambda)^a x^(a - 1) exp(-e lambda x) / Gamma(a), a the known concentration."""
    a, e = as_tensor(concentration, like), as_tensor(exposure, like)
    x, a, e = torch.broadcast_tensors(x.to(like.dtype), a, e)
    return (a, e * x), a * e.log() + x_log_y(a - 1, x) - torch.lgamma(a)


def normal_precision_statistics(
    x: Tensor, like: Tensor, loc: Tensor, scale: Tensor | float = 1.0
) -> tuple[Parameters, Tensor]:
    """N(x; loc, s^2 / tau): half an event, and half the square of (x - loc) / s."""
    s = as_tensor(scale, like)
    x, s = torch.broadcast_tensors(x.to(like.dtype) - loc, s)
    return (torch.full_like(x, 0.5), 0.5 * (x / s) ** 2), -s.log() - 0.5 * LOG_TWO_PI


def log_normal_precision_statistics(
    x: Tensor, like: Tensor, loc: Tensor, scale: Tensor | float = 1.0
) -> tuple[Parameters, Tensor]:
    """The same of log x."""
    log_x = x.log()
    statistics, term = normal_precision_statistics(log_x, like, loc, scale)
    return statistics, term - log_x


def laplace_rate_statistics(
    x: Tensor, like: Tensor, loc: Tensor, scale: Tensor | float = 1.0
) -> tuple[Parameters, Tensor]:
    """tau exp(-tau |x - loc| / s) / 2 s."""
    s = as_tensor(scale, like)
    x, s = torch.broadcast_tensors(x.to(like.dtype) - loc, s)
    return (torch.ones_like(x), x.abs() / s), -(2 * s).log()


Statistics = tuple[Parameters, Tensor]


def summed_entries(statistics: Statistics) -> Statistics:
    """Of vectors of which all entries speak of one number: added up over the last axis."""
    return tuple(s.sum(-1) for s in statistics[0]), statistics[1].sum(-1)


def site_sums(statistics: Statistics, mask: Tensor, keep: int) -> Statistics:
    """Sums over the sites that count: axes `keep` and on of the mask (B, sites...); what they hold elsewhere is not read.

    statistics: shaped (B, sites..., event axes)."""
    every = (*statistics[0], statistics[1])
    axes = tuple(range(keep, mask.dim()))
    summed = []
    for value in every:
        here = mask.reshape(*mask.shape, *[1] * (value.dim() - mask.dim()))
        value = torch.where(here, value, torch.zeros((), dtype=value.dtype, device=value.device))
        summed.append(value.sum(axes) if axes else value)
    return tuple(summed[:-1]), summed[-1]


# ---------------------------------------------------------------- the integral, and what is known of the latent
@dataclass(frozen=True)
class Conjugate:
    """A latent with a conjugate prior, and the statistics of what was seen of it.

    family: a row of the table. prior: its parameters, which broadcast to (*lead, event axes). seen: for each likelihood
    its (statistics, term), summed over the sites that are not the latent's own. mask (*lead): the latent's own sites.
    choices: how many axes behind that of the examples are values of discrete latents that choose parameters.
    """

    family: str
    prior: Parameters
    seen: tuple[Statistics, ...]
    mask: Tensor
    choices: int = 0

    @property
    def row(self) -> ConjugateFamily:
        return CONJUGATE[self.family]

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Of p(latent | x), which is of the prior's family; by the names of its arguments."""
        total = self.prior
        for statistics, _ in self.seen:
            total = self.row.merged(total, statistics)
        return dict(zip(self.row.names, total, strict=True))

    def _each(self, function: Callable[..., Tensor]) -> Tensor:
        return function(*self.parameters.values())

    def _per_site(self, value: Tensor) -> Tensor:
        """Summed over independent coordinates, 0 at sites that are none."""
        value = value.flatten(self.mask.dim()).sum(-1) if value.dim() > self.mask.dim() else value
        return torch.where(self.mask, value, torch.zeros((), dtype=value.dtype, device=value.device))

    def log_prob(self) -> Tensor:
        """log p(x), the latent integrated out: (*lead,)."""
        gain = self._each(self.row.log_normaliser) - self.row.log_normaliser(*self.prior)
        return self._per_site(gain + sum(term for _, term in self.seen))

    @property
    def mean(self) -> Tensor:
        return self._each(self.row.mean)

    @property
    def variance(self) -> Tensor:
        return self._each(self.row.variance)

    @property
    def entropy(self) -> Tensor:
        """Of all sites of an example together: (B,)."""
        each = self._per_site(self._each(self.row.entropy))
        return each.flatten(1).sum(-1) if each.dim() > 1 else each

    def sample(self, n: int) -> Tensor:
        """n draws, (n, *lead, event axes), reparameterized."""
        wide = torch.broadcast_tensors(*self.parameters.values()) if self.row.event == 0 else self.parameters.values()
        return self.row.draw(tuple(p.expand(n, *p.shape) for p in wide))
