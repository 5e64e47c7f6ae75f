"""Integrals over linear-Gaussian latents, by one dense Gaussian over all sites of an example.

    z = J z + c + e,  x = H z + d + r     ->     p(x) = N(x; H m + d, H S H' + R),   m = (I - J)^-1 c,  S = (I - J)^-1 Q (I - J)^-T

The coefficients are found by asking the model for its locations at z = 0 and at each unit vector; at one more point
they have to give what the model gives, so that a latent that is not linear is noticed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.ir.plan import Integration
from lvspec.verify.oracle.densities import multivariate_normal_covariance
from lvspec.verify.oracle.memory import Site
from lvspec.verify.oracle.stretch import number

F = torch.float64


@dataclass(frozen=True)
class Gaussian:
    """mean (n,) and covariance (n, n) of the coordinates of `sites`, one site after the other. log_prob: of what was
    observed."""

    sites: list[Site]
    mean: Tensor
    covariance: Tensor
    log_prob: Tensor

    def entropy(self) -> Tensor:
        return 0.5 * torch.linalg.slogdet(2 * math.pi * math.e * self.covariance).logabsdet


def gaussian_posterior(world, integration: Integration) -> Gaussian:
    """p(z | x) of one example, and log p(x)."""
    prior, H, offset, noise, x = gaussian_joint(world, integration)
    expected, S = H @ prior.mean + offset, H @ prior.covariance @ H.T + noise
    gap = x - expected
    gain = torch.linalg.solve(S, H @ prior.covariance).T
    log_prob = -0.5 * (gap @ torch.linalg.solve(S, gap) + torch.linalg.slogdet(2 * math.pi * S).logabsdet)
    return Gaussian(prior.sites, prior.mean + gain @ gap, prior.covariance - gain @ H @ prior.covariance, log_prob)


def gaussian_joint(world, integration: Integration) -> tuple[Gaussian, Tensor, Tensor, Tensor, Tensor]:
    """p(z), and H, d, R, x of what is observed: x = H z + d + noise R."""
    hidden = [s for n in integration.latents for s in _sites(world, n)]
    seen = [s for n in integration.observed for s in _sites(world, n) if world.is_given(*s)]
    J, c, Q = _linear(world, hidden, hidden)
    H, d, R = _linear(world, seen, hidden)
    inverse = torch.linalg.inv(torch.eye(len(c), dtype=F) - J)
    zero = torch.zeros((), dtype=F)
    values = [number(world.value(*s)).reshape(-1) for s in seen]
    prior = Gaussian(hidden, inverse @ c, inverse @ Q @ inverse.T, zero)
    return prior, H, d, R, torch.cat(values) if values else torch.zeros(0, dtype=F)


def gaussian_prior(world, integration: Integration) -> Gaussian:
    """p(z, x) of one example, for all sites of the latent and of what reads it."""
    hidden = [s for n in integration.latents for s in _sites(world, n)]
    seen = [s for n in integration.observed for s in _sites(world, n)]
    J, c, Q = _linear(world, hidden, hidden)
    H, d, R = _linear(world, seen, hidden)
    inverse = torch.linalg.inv(torch.eye(len(c), dtype=F) - J)
    mean, covariance = inverse @ c, inverse @ Q @ inverse.T
    cross = H @ covariance
    whole = torch.cat([torch.cat([covariance, cross.T], 1), torch.cat([cross, cross @ H.T + R], 1)])
    return Gaussian(hidden + seen, torch.cat([mean, H @ mean + d]), whole, torch.zeros((), dtype=F))


def _sites(world, name: str) -> list[Site]:
    return [(name, at) for at in world.sites(world.plates_of(name))]


def _linear(world, sites: list[Site], hidden: list[Site]) -> tuple[Tensor, Tensor, Tensor]:
    """(matrix, offset, covariance) of the stacked sites as functions of the stacked hidden ones."""
    widths = [width(world, s) for s in hidden]
    n = sum(widths)
    offset, covariance = _moments(world, sites, hidden, widths, torch.zeros(n, dtype=F))
    columns = [_moments(world, sites, hidden, widths, e)[0] - offset for e in torch.eye(n, dtype=F)]
    matrix = torch.stack(columns, 1) if columns else torch.zeros(len(offset), 0, dtype=F)
    elsewhere = torch.linspace(-0.9, 1.3, n, dtype=F)
    location, spread = _moments(world, sites, hidden, widths, elsewhere)
    for found, claimed in ((location, matrix @ elsewhere + offset), (spread, covariance)):
        if not torch.allclose(found, claimed, rtol=1e-9, atol=1e-9):
            raise ValueError(f"{sites[0][0]} is not linear-Gaussian in {hidden[0][0]}")
    return matrix, offset, covariance


def width(world, site: Site) -> int:
    """How many coordinates a site has."""
    return math.prod(world.shape(world.variables[site[0]].type.shape, {}))


def _moments(world, sites: list[Site], hidden: list[Site], widths: list[int], z: Tensor) -> tuple[Tensor, Tensor]:
    """Locations and covariances of the stacked sites, were the hidden ones z."""
    for site, value in zip(hidden, z.split(widths), strict=True):
        scalar = not world.variables[site[0]].type.shape
        world.memory.assignment[site] = float(value) if scalar else tuple(value.tolist())
    found = [world.memory.recall(("Gaussian", site), lambda s=site: _gaussian(world, s)) for site in sites]
    locations = [m for m, _ in found] or [torch.zeros(0, dtype=F)]
    return torch.cat(locations), torch.block_diag(*(v for _, v in found)) if found else torch.zeros(0, 0, dtype=F)


def _gaussian(world, site: Site) -> tuple[Tensor, Tensor]:
    """Mean and covariance of one site given the assignment in force."""
    family, arguments = world.density(world.variables[site[0]], site[1])
    n = width(world, site)
    loc = arguments["loc"].reshape(-1).expand(n)
    if family == "Normal":
        return loc, torch.diag(arguments["scale"].reshape(-1).expand(n) ** 2)
    return loc, multivariate_normal_covariance(arguments)
