"""Integrals over latents with conjugate priors, by numerical quadrature of the model's own densities.

    ∫ p(z) Π_i p(x_i | z) dz ≈ Σ_j w_j p(z_j) Π_i p(x_i | z_j)

Every coordinate of a latent is integrated by itself, by the double-exponential rules (Takahasi & Mori 1974). On (0, 1)
the prior is evaluated from log z and log(1 - z), of which neither is rounded: much of a Beta's mass may lie within one
rounding of 1. That coordinates do not depend on each other is looked at, not taken for granted. A distribution over symbols is integrated by Pólya's urn: p(x_i = k | x_<i) = (alpha_k + n_k) / (alpha_0 + n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.ir.plan import Integration
from lvspec.verify.oracle.densities import log_densities
from lvspec.verify.oracle.memory import Site
from lvspec.verify.oracle.stretch import number

F = torch.float64
NODES = 281


@dataclass(frozen=True)
class Coordinates:
    """p(z | x) of one example, coordinate by coordinate: mean, variance and entropy (n,) of the sites' coordinates one
    after the other; third, fourth: E (z - mean)^3, (z - mean)^4. log_prob: of what was observed. whole: whether it is
    no mixture, so that its entropy has a closed form."""

    sites: list[Site]
    mean: Tensor
    variance: Tensor
    third: Tensor
    fourth: Tensor
    entropies: Tensor
    log_prob: Tensor
    whole: bool = True

    def entropy(self) -> Tensor:
        return self.entropies.sum()


@dataclass(frozen=True)
class Nodes:
    """values, log weights, and log(1 - value) where the values lie below 1."""

    values: Tensor
    log_w: Tensor
    log_not: Tensor | None = None

    def log_prior(self, arguments: dict[str, Tensor], width: int) -> Tensor | None:
        """The Beta density at every node, (nodes, coordinates)."""
        if self.log_not is None:
            return None
        a, b = (arguments[n].reshape(-1).expand(width) for n in ("concentration1", "concentration0"))
        norm = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
        return (a - 1) * torch.log(self.values)[:, None] + (b - 1) * self.log_not[:, None] - norm


def unit_nodes() -> Nodes:
    """On (0, 1): z = (1 + tanh(pi / 2 sinh s)) / 2."""
    s = torch.linspace(-4.5, 4.5, NODES, dtype=F)
    u = math.pi * torch.sinh(s)
    log_slope = math.log(math.pi) + torch.log(torch.cosh(s)) + _log_sigmoid(u) + _log_sigmoid(-u)
    largest = 1 - torch.finfo(F).eps / 2
    return Nodes(torch.sigmoid(u).clamp(max=largest), log_slope + math.log(float(s[1] - s[0])), _log_sigmoid(-u))


def _log_sigmoid(u: Tensor) -> Tensor:
    return -torch.logaddexp(-u, torch.zeros_like(u))


def positive_nodes() -> Nodes:
    """On the positive numbers, for what decays as exp(-z): z = exp(s - exp(-s))."""
    s = torch.linspace(-5.0, 7.5, NODES, dtype=F)
    log_z = s - torch.exp(-s)
    return Nodes(log_z.exp(), log_z + torch.log1p(torch.exp(-s)) + math.log(float(s[1] - s[0])))


NODES_OF = {"unit": unit_nodes, "positive": positive_nodes}


def coordinate_posterior(world, integration: Integration) -> Coordinates:
    """p(z | x) and log p(x) of a latent whose coordinates are independent given x."""
    latent = world.variables[integration.latent]
    rule = NODES_OF[latent.type.support.kind]()
    nodes, log_w = rule.values, rule.log_w
    sites = [(latent.name, at) for at in world.sites(latent.plates)]
    found = [
        world.memory.recall(
            ("coordinates", s), lambda s=s: _site(world, integration, s, rule), tried=integration.latents
        )
        for s in sites
    ]
    log_p = torch.cat(found, 1) if found else torch.zeros(len(nodes), 0, dtype=F)
    total = torch.logsumexp(log_p, 0)
    p = (log_p - total).exp()
    mean = (p * nodes[:, None]).sum(0)
    gap = nodes[:, None] - mean
    entropy = -(p * (log_p - total - log_w[:, None])).sum(0)
    variance, third, fourth = ((p * gap**k).sum(0) for k in (2, 3, 4))
    return Coordinates(sites, mean, variance, third, fourth, entropy, total.sum())


def seen_through(world, integration: Integration, site: Site) -> list[Site]:
    """The observed sites whose density looks at one site of the latent."""
    latent = world.variables[site[0]]
    shape = world.shape(latent.type.shape, {})
    simplex = latent.type.support.kind == "simplex"
    some = torch.full(shape, 1 / shape[-1] if simplex else 0.5, dtype=F).tolist()
    others = [(latent.name, at) for at in world.sites(latent.plates) if at != site[1]]
    world.memory.assignment.update(dict.fromkeys(others, _hashable(some)))
    world.memory.assignment.pop(site, None)
    every = [(n, at) for n in integration.observed for at in world.sites(world.plates_of(n)) if world.is_given(n, at)]
    return [s for s in every if _looks(world, s)]


def _looks(world, seen: Site) -> bool:
    """Whether a density looks at a value that nothing is known of."""
    try:
        world.density(world.variables[seen[0]], seen[1])
    except KeyError:
        return True
    return False


def _hashable(value):
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _site(world, integration: Integration, site: Site, rule: Nodes) -> Tensor:
    """log (w p(z, x)) at every node, for each coordinate of one site: (nodes, coordinates)."""
    name, at = site
    reading = seen_through(world, integration, site)
    width = math.prod(world.shape(world.variables[name].type.shape, {}))
    prior = rule.log_prior(world.density(world.variables[name], at)[1], width)
    terms = reading if prior is not None else [site, *reading]
    rows = [_log_terms(world, site, terms, torch.full((width,), float(v), dtype=F)) for v in rule.values]
    _look(world, site, terms, rows, rule.values)
    log_p = torch.stack(rows) + rule.log_w[:, None]
    return log_p if prior is None else log_p + prior


def _log_terms(world, site: Site, terms: list[Site], z: Tensor) -> Tensor:
    """Σ log p of the sites given z, coordinate by coordinate."""
    scalar = not world.variables[site[0]].type.shape
    world.memory.assignment[site] = float(z) if scalar else tuple(z.tolist())
    return sum((_coordinates(world, s, len(z)) for s in terms), torch.zeros(len(z), dtype=F))


def _coordinates(world, site: Site, width: int) -> Tensor:
    variable = world.variables[site[0]]
    family, arguments = world.density(variable, site[1])
    shape = world.shape(variable.type.shape, {})
    value = number(world.value(*site)).to(F)
    found = log_densities(family, arguments, value, shape).reshape(-1)
    return found.sum().expand(1) if width == 1 else found.expand(width)  # a number may stand for all of a vector's


def _look(world, site: Site, terms: list[Site], rows: list[Tensor], nodes: Tensor) -> None:
    """ValueError where a coordinate's term depends on another coordinate."""
    chosen = [NODES // 2 + i for i in range(len(rows[0]))]
    mixed = _log_terms(world, site, terms, nodes[torch.tensor(chosen)])
    apart = torch.stack([rows[j][i] for i, j in enumerate(chosen)])
    if not torch.allclose(mixed, apart, rtol=1e-9, atol=1e-9):
        raise ValueError(f"the coordinates of {site[0]} are not independent given what is observed")


# ---------------------------------------------------------------- distributions over symbols
def urn_posterior(world, integration: Integration) -> Coordinates:
    """p(theta | x) of a Dirichlet, by drawing the symbols one after the other."""
    latent = world.variables[integration.latent]
    sites = [(latent.name, at) for at in world.sites(latent.plates)]
    total, rows = torch.zeros((), dtype=F), []
    for site in sites:
        seen = seen_through(world, integration, site)
        alpha = world.density(latent, site[1])[1]["concentration"]
        counts = alpha.expand(world.shape(latent.type.shape, {})).clone()
        for n, at in seen:
            _look_at_symbol(world, site, (n, at), counts)
            k = int(number(world.value(n, at)))
            total = total + torch.log(counts[k] / counts.sum())
            counts = counts + torch.nn.functional.one_hot(torch.tensor(k), len(counts))
        rows.append(torch.distributions.Dirichlet(counts))
    third, fourth = (torch.cat([_moment(r, k) for r in rows]) if rows else torch.zeros(0, dtype=F) for k in (3, 4))
    return Coordinates(
        sites,
        torch.cat([r.mean for r in rows]) if rows else torch.zeros(0, dtype=F),
        torch.cat([r.variance for r in rows]) if rows else torch.zeros(0, dtype=F),
        third,
        fourth,
        torch.stack([r.entropy() for r in rows]) if rows else torch.zeros(0, dtype=F),
        total,
    )


def _moment(dirichlet: torch.distributions.Dirichlet, power: int) -> Tensor:
    """E (theta_k - mean)^power, of the Beta that each coordinate is, by quadrature."""
    a = dirichlet.concentration
    rule = unit_nodes()
    prior = rule.log_prior({"concentration1": a, "concentration0": a.sum() - a}, len(a))
    assert prior is not None  # a Beta has a density
    log_p = prior + rule.log_w[:, None]
    return (log_p.exp() * (rule.values[:, None] - dirichlet.mean) ** power).sum(0)


def _look_at_symbol(world, site: Site, seen: Site, counts: Tensor) -> None:
    """ValueError unless the symbol's probabilities are the latent itself."""
    theta = (counts / counts.sum()).detach()
    world.memory.assignment[site] = tuple(theta.tolist())
    found = world.density(world.variables[seen[0]], seen[1])[1].get("probs")
    if found is None or not torch.allclose(found, theta):
        raise ValueError(f"the probabilities of {seen[0]} are not {site[0]}")
