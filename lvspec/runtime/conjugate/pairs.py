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

from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import ExponentialFamily, Parameters
from lvspec.runtime.families.special import LOG_TWO_PI, as_tensor, x_log_y


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

    prior: its arguments broadcast to (*lead, event axes). seen: for each likelihood its (statistics, term), summed over the
    sites that are not the latent's own. mask (*lead): the latent's own sites.
    choices: how many axes behind that of the examples are values of discrete latents that choose parameters.
    """

    prior: ExponentialFamily
    seen: tuple[Statistics, ...]
    mask: Tensor
    choices: int = 0

    @property
    def posterior(self) -> ExponentialFamily:
        """p(latent | x), which is of the prior's family."""
        total = self.prior
        for statistics, _ in self.seen:
            total = total.merged(statistics)
        return total

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Of p(latent | x), by the names of its arguments."""
        return vars(self.posterior)

    def _per_site(self, value: Tensor) -> Tensor:
        """Summed over independent coordinates, 0 at sites that are none."""
        value = value.flatten(self.mask.dim()).sum(-1) if value.dim() > self.mask.dim() else value
        return torch.where(self.mask, value, torch.zeros((), dtype=value.dtype, device=value.device))

    def log_prob(self) -> Tensor:
        """log p(x), the latent integrated out: (*lead,)."""
        gain = self.posterior.log_normaliser() - self.prior.log_normaliser()
        return self._per_site(gain + sum(term for _, term in self.seen))

    @property
    def mean(self) -> Tensor:
        return self.posterior.mean

    @property
    def variance(self) -> Tensor:
        return self.posterior.variance

    @property
    def entropy(self) -> Tensor:
        """Of all sites of an example together: (B,)."""
        each = self._per_site(self.posterior.entropy())
        return each.flatten(1).sum(-1) if each.dim() > 1 else each

    def sample(self, n: int) -> Tensor:
        """n draws, (n, *lead, event axes), reparameterized."""
        posterior = self.posterior
        each = posterior.parameters
        wide = torch.broadcast_tensors(*each) if posterior.event == 0 else each
        return type(posterior)(*(p.expand(n, *p.shape) for p in wide)).draw()
