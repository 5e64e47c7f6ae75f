"""Integrals over a mean and a covariance that are drawn together, one observation after the other.

    p(x_1 .. x_n) = Π_i p(x_i | x_<i),    p(x_i | x_<i) = Student t, df - D + 1 degrees, at loc, spread by
                                                          (kappa + 1) / (kappa (df - D + 1)) scale

After each the parameters are moved by that one observation (Murphy 2007, equations 232 and 193-197). That the model's
location and covariance are the latent's parts is looked at, at a value of its own; `tests/verify/test_together.py` holds
the rule against quadrature over mean and variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from lvspec.ir.plan import Integration
from lvspec.verify.oracle.conjugates import seen_through
from lvspec.verify.oracle.densities import log_density, normal_inverse_wishart_scale
from lvspec.verify.oracle.divergences import normal_inverse_wishart_points
from lvspec.verify.oracle.memory import Site
from lvspec.verify.oracle.stretch import number
from lvspec.verify.report import Check

F = torch.float64
FAMILY = "NormalInverseWishart"


@dataclass(frozen=True)
class Pairs:
    """p(mu, Sigma | x) of one example. mean, variance: of the entries of (mu, Sigma) side by side, site after site;
    parameters: of each site, by name. log_prob: of what was observed."""

    sites: list[Site]
    parameters: list[dict[str, Tensor]]
    mean: Tensor
    variance: Tensor
    log_prob: Tensor

    def entropy(self) -> Tensor:
        """-E log p: the log-density's mean is that at two values (divergences.py)."""
        total = torch.zeros((), dtype=F)
        for p in self.parameters:
            D = len(p["loc"])
            total = total - sum(log_density(FAMILY, p, v, (D, D + 1)) for v in normal_inverse_wishart_points(p)) / 2
        return total


def pair_posterior(world, integration: Integration) -> Pairs:
    """p(mu, Sigma | x) of one example, and log p(x)."""
    latent = world.variables[integration.latent]
    sites = [(latent.name, at) for at in world.sites(latent.plates)]
    total, found = torch.zeros((), dtype=F), []
    for site in sites:
        seen = seen_through(world, integration, site)
        given = world.density(latent, site[1])[1]
        p = {"loc": given["loc"], "kappa": given["kappa"], "df": given["df"]}
        p["scale"] = normal_inverse_wishart_scale(given)
        for n, at in seen:
            _look(world, site, (n, at), p)
            log_p, p = _observe(p, number(world.value(n, at)))
            total = total + log_p
        found.append(p)
    moments = [_moments(p) for p in found]
    mean, variance = (
        torch.cat([m[i].reshape(-1) for m in moments]) if moments else torch.zeros(0, dtype=F) for i in (0, 1)
    )
    return Pairs(sites, found, mean, variance, total)


def _observe(p: dict[str, Tensor], x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """log p(x) and the parameters given x."""
    loc, kappa, df, scale = p["loc"], p["kappa"], p["df"], p["scale"]
    D, gap = len(loc), x - p["loc"]
    free = df - D + 1
    spread = scale * (kappa + 1) / (kappa * free)
    log_p = torch.lgamma((free + D) / 2) - torch.lgamma(free / 2) - 0.5 * torch.logdet(free * math.pi * spread)
    log_p = log_p - (free + D) / 2 * torch.log1p(gap @ torch.linalg.solve(spread, gap) / free)
    after = {"loc": (kappa * loc + x) / (kappa + 1), "kappa": kappa + 1, "df": df + 1}
    return log_p, {**after, "scale": scale + kappa / (kappa + 1) * torch.outer(gap, gap)}


def _moments(p: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Means and variances of (mu, Sigma) side by side; NaN where there is none."""
    loc, kappa, scale, D = p["loc"], p["kappa"], p["scale"], len(p["loc"])
    k, nothing = p["df"] - D - 1, torch.full_like(p["scale"], torch.nan)
    covariance = scale / k if k > 0 else nothing
    mean = torch.cat([loc[:, None], covariance], 1)
    diagonal = torch.diagonal(scale)
    squares = (k + 2) * scale**2 + k * torch.outer(diagonal, diagonal)
    own = squares / ((k + 1) * k**2 * (k - 2)) if k > 2 else nothing
    return mean, torch.cat([torch.diagonal(covariance)[:, None] / kappa, own], 1)


def _look(world, site: Site, seen: Site, p: dict[str, Tensor]) -> None:
    """ValueError unless what is seen has the latent's mean and covariance."""
    D = len(p["loc"])
    value = torch.cat([p["loc"][:, None] + 1, (p["scale"] + torch.eye(D, dtype=F))], 1).detach()
    world.memory.assignment[site] = tuple(map(tuple, value.tolist()))
    found = world.density(world.variables[seen[0]], seen[1])[1]
    if not torch.equal(found["loc"], value[:, 0]) or not torch.equal(found["covariance_matrix"], value[:, 1:]):
        raise ValueError(f"the mean and covariance of {seen[0]} are not {site[0]}")


def pair_draws_check(name: str, drawn: Tensor, truth: Pairs, false_alarm: float) -> Check:
    """Are draws (n, sites, D, 1 + D) of the right distribution? The means of its sufficient statistics, which have all
    moments (those of Sigma may have none), by their own deviations."""
    worst, count = 0.0, 0
    for i, p in enumerate(truth.parameters):
        found = _statistics(drawn[:, i])
        expected = torch.stack([_statistics(v) for v in normal_inverse_wishart_points(p)]).mean(0).detach()
        z = (found.mean(0) - expected) / (found.std(0) / math.sqrt(len(found)))
        worst, count = max(worst, float(z.abs().max())), count + z.numel()
    bound = NormalDist().inv_cdf(1 - false_alarm / (2 * max(count, 1)))
    return Check(name, worst, bound, f"{len(drawn)} draws, {count} moments")


def _statistics(value: Tensor) -> Tensor:
    """P mu, mu' P mu, P and log |P| along a last axis; P the inverse of Sigma."""
    mu, precision = value[..., 0], torch.linalg.inv(value[..., 1:])
    weighted = (precision @ mu.unsqueeze(-1)).squeeze(-1)
    square, log_det = (mu * weighted).sum(-1, keepdim=True), torch.logdet(precision).unsqueeze(-1)
    return torch.cat([weighted, square, precision.flatten(-2), log_det], -1)
