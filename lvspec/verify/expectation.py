"""Expectations over everything that is drawn: finite latents by enumeration, Gaussian noise by Gauss–Hermite nodes.

E[ELBO] = Σ_n w_n Σ_d q(d | n) [...]        n: nodes of the noise of one example, at most two numbers of it
p(x)    = Σ_n w_n Σ_c p(x, c | z(n))        z(n): the latents at the nodes under their prior
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy
import torch
from torch import Tensor

from lvspec.verify.enumerate import one_sample
from lvspec.verify.subject import Subject
from lvspec.verify.world import World

# nodes for each number, by how many numbers there are: the rule that is used, and others, to see its error
NODES = {1: (64, 51, 40), 2: (14, 11, 9)}
GAUSSIAN = ("Normal", "LogNormal")


class NotNumerable(Exception):
    """More noise than quadrature is good for, or noise of another family."""


@dataclass(frozen=True)
class Nodes:
    """draws: noise with one sample for each node. log_weights: (nodes,)."""

    draws: dict[str, Tensor]
    log_weights: Tensor


def nodes(subject: Subject, row: int, rule: int = 0) -> Nodes:
    """Quadrature nodes for the noise of one example; one empty node where there is none."""
    world = World(subject.instance(), row)
    places = _noise_places(subject, world)
    if len(places) > 2:
        raise NotNumerable(f"{len(places)} numbers of noise")
    if not places:
        return Nodes(dict(subject.draws), torch.zeros(1, dtype=torch.float64))
    points, weights = numpy.polynomial.hermite_e.hermegauss(NODES[len(places)][rule])
    grid = list(product(range(len(points)), repeat=len(places)))
    log_weights = torch.tensor([sum(numpy.log(weights[i]) for i in g) for g in grid], dtype=torch.float64)
    draws = {n: d[:1].repeat(len(grid), *[1] * (d.dim() - 1)) for n, d in subject.draws.items()}
    for i, (name, index) in enumerate(places):
        draws[name][(slice(None), row, *index)] = torch.tensor([points[g[i]] for g in grid], dtype=torch.float64)
    return Nodes(draws, log_weights - torch.logsumexp(log_weights, 0))


def _noise_places(subject: Subject, world: World) -> list[tuple[str, tuple[int, ...]]]:
    """Where the noise that the example reads stands in the draws."""
    places = []
    for name in subject.plan.sampled:
        if name not in world.instance.noisy:
            continue
        if world.factors[name].general.body.family not in GAUSSIAN:
            raise NotNumerable(f"{name} is no Gaussian")
        if world.variables[name].outside_batch:
            raise NotNumerable(f"{name} is global: its draws are not those of one example")
        variable = world.variables[name]
        declared = [p.name for p in world.spec.plates if p.name in variable.plates]
        rest = subject.draws[name].shape[2 + len(declared) :]
        for at in world.sites(variable.plates):
            sites = dict(zip(variable.plates, at, strict=True))
            lead = tuple(sites[p] for p in declared)
            places.extend((name, (*lead, *index)) for index in product(*map(range, rest)))
    return places


def expected_gradient(subject: Subject, scored: list[str], row: int) -> tuple[Tensor, Tensor]:
    """The loss's gradient for one example, averaged over all that the module draws; and what quadrature, which is
    exact without noise, may be off in each coordinate."""
    value = expected_objective(subject, scored, row)
    truth = subject.flat(subject.gradients(-value))
    if not world_noise(subject, row):
        return truth, torch.zeros_like(truth)
    others = [subject.flat(subject.gradients(-expected_objective(subject, scored, row, rule))) for rule in (1, 2)]
    # a rectifier's kink costs digits, unevenly over coordinates; where the integrand is smooth the rules agree
    spread = torch.stack([(truth - other).abs() for other in others]).amax(0)
    return truth, 4 * spread + 0.2 * spread.max()


def world_noise(subject: Subject, row: int) -> int:
    """How many numbers of noise one example reads."""
    return len(_noise_places(subject, World(subject.instance(), row)))


def expected_objective(subject: Subject, scored: list[str], row: int, rule: int = 0) -> Tensor:
    """The training objective of one example, averaged over all that the module draws."""
    found = nodes(subject, row, rule)
    instance = subject.instance(draws=found.draws).treating(**dict.fromkeys(scored, "enumerated"))
    world = World(instance, row)
    analytic = subject.analytic - set(scored)
    values = [
        subject.weighted(one_sample(world, n, analytic)) * weight for n, weight in enumerate(found.log_weights.exp())
    ]
    return torch.stack(values).sum()
