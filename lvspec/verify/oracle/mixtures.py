"""Gaussian latents whose coefficients discrete latents choose: one dense Gaussian for each joint value of these.

p(z | x) = Σ_c p(c | x) N(z; m_c, S_c)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.ir.plan import Integration
from lvspec.verify.oracle.clauses import reads
from lvspec.verify.oracle.conjugates import Coordinates
from lvspec.verify.oracle.enumerate import assignments, joint_log_weights, joint_terms, log_sum, table
from lvspec.verify.oracle.integrals import integral_terms, known
from lvspec.verify.oracle.linear_gaussian import Gaussian
from lvspec.verify.oracle.memory import Site
from lvspec.verify.oracle.world import World


@dataclass(frozen=True)
class Mixture:
    """Mean (n,) and covariance (n, n) of the coordinates of `sites`; fourth (n,): E (z - mean)^4 of each."""

    sites: list[Site]
    mean: Tensor
    covariance: Tensor
    fourth: Tensor
    log_prob: Tensor
    whole: bool = False

    @property
    def variance(self) -> Tensor:
        return self.covariance.diagonal()


def is_mixed(world: World, integration: Integration) -> bool:
    """Whether some factor of the block reads a latent that is summed, through computed variables or not."""
    lets = {v.name: v for v in world.spec.variables if v.role == "let"}
    queue, seen = [world.variables[n] for n in integration.names], set(integration.names)
    while queue:
        for name in sorted({r for clause in queue.pop().clauses for r in reads(clause)} - seen):
            seen.add(name)
            if name in lets:
                queue.append(lets[name])
    return any(world.instance.treatments.get(n) == "collapsed" for n in seen)


def answer_of(world: World, integration: Integration, component=known):
    """p(z | x) of one example, by the rule's own oracle; component: of one joint value of what is summed."""
    if not is_mixed(world, integration):
        return component(world, integration)
    sites = world.hidden()
    rows = assignments(world, sites)
    weights = table(world, sites, rows, [*joint_terms(world), *integral_terms(world)]).sum(1)
    return _joined(world, integration, sites, rows, weights, component)


def answer_at_draws(world: World, integration: Integration, samples: int):
    """The same beside draws z_s of other latents, p(c | x) being Σ_s p(x, c, z_s) / q(z_s) over their sum."""
    if not is_mixed(world, integration):
        return known(world, integration)
    sites, rows, weights = joint_log_weights(world, samples)
    return _joined(world, integration, sites, rows, weights.logsumexp(0), known)


def _joined(world: World, integration: Integration, sites: list[Site], rows: list, weights: Tensor, component):
    """The mixture of the components that the assignments choose."""
    found: list = []
    if (weights > -torch.inf).any():  # what is impossible has no share, and no moments
        rows = [row for row, weight in zip(rows, weights.tolist(), strict=True) if weight > -torch.inf]
        weights = weights[weights > -torch.inf]
    for row in rows:
        world.memory.assignment.update(zip(sites, row, strict=True))
        found.append(component(world, integration))
    join = mixed_coordinates if isinstance(found[0], Coordinates) else mixed
    return join(found, torch.softmax(weights, 0), log_sum(weights))


def mixed_coordinates(components: list[Coordinates], shares: Tensor, log_prob: Tensor) -> Coordinates:
    """The same, coordinate by coordinate."""
    mean, variance, third, fourth = (
        torch.stack([getattr(c, n) for c in components]) for n in ("mean", "variance", "third", "fourth")
    )
    centre = torch.tensordot(shares, mean, 1)
    gap = mean - centre
    moments = (
        variance + gap**2,
        third + 3 * gap * variance + gap**3,
        fourth + 4 * gap * third + 6 * gap**2 * variance + gap**4,
    )
    variance, third, fourth = (torch.tensordot(shares, m, 1) for m in moments)
    nothing = torch.zeros_like(centre)
    return Coordinates(components[0].sites, centre, variance, third, fourth, nothing, log_prob, whole=False)


def mixed(components: list[Gaussian], shares: Tensor, log_prob: Tensor) -> Mixture:
    """The moments of Σ shares · components."""
    means, spreads = torch.stack([c.mean for c in components]), torch.stack([c.covariance for c in components])
    mean = torch.tensordot(shares, means, 1)
    gap, own = means - mean, spreads.diagonal(dim1=1, dim2=2)
    covariance = torch.tensordot(shares, spreads + gap[:, :, None] * gap[:, None], 1)
    fourth = torch.tensordot(shares, gap**4 + 6 * gap**2 * own + 3 * own**2, 1)
    return Mixture(components[0].sites, mean, covariance, fourth, log_prob)
