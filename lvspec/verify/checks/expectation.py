"""Expectations over everything that is drawn: finite latents by enumeration, noise by randomised points.

E[ELBO] = ∫ Σ_d q(d | n) [...] p(n) dn        n: the noise of one example, a function of uniform numbers (quantiles.py)

The integral is a mean over scrambled Sobol points (Owen 1997), several times with independent scrambles: each mean
is unbiased whatever the integrand's kinks (rectifiers have them), and how they differ is the standard error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from lvspec.ir.reads import Reader
from lvspec.verify.checks.coupled import expected_bound
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.enumerate import one_sample
from lvspec.verify.oracle.quantiles import FREE, GIVEN
from lvspec.verify.oracle.world import World

SCRAMBLES = 64
POINTS = 512  # of one scramble; a power of two keeps them balanced
MOST = 8  # numbers of noise: beyond, points are no better than chance


class NotNumerable(Exception):
    """More noise than points are good for, or noise of another family."""


@dataclass(frozen=True)
class Truth:
    """value: a gradient's coordinates. error: their standard errors, 0 where nothing was integrated."""

    value: Tensor
    error: Tensor
    estimates: int | None = None  # how many the errors come from; None where the value is exact


def _noise_places(subject: Subject, world: World) -> list[tuple[str, tuple[int, ...]]]:
    """Where the noise that the example reads stands in the draws."""
    places: list[tuple[str, tuple[int, ...]]] = []
    if subject.plan.refined:
        raise NotNumerable(f"the parameters of q({subject.plan.refined[0]}) depend on noise, too")
    for name in subject.plan.sampled:
        if name not in world.instance.noisy:
            continue
        family = world.factors[name].general.dist.source.family
        if family not in (*FREE, *GIVEN):
            raise NotNumerable(f"{family} has no quantiles here")
        if family in GIVEN and _reads_draws(subject, name):
            raise NotNumerable(f"the quantiles of {name} depend on other draws")
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


def _reads_draws(subject: Subject, name: str) -> bool:
    """Whether q reads what is drawn."""
    hidden = {v.name for v in subject.spec.of_role("latent")}
    factor = next(v for v in subject.plan.guide if v.name == name and v.role == "guide")
    return any(r.name in hidden for r in Reader(subject.spec, subject.plan.guide).of_variable(factor))


def _noise(world: World, name: str, index: tuple[int, ...], uniform: Tensor) -> Tensor:
    """Base noise of one number of a draw from uniform points."""
    variable = world.variables[name]
    family = world.factors[name].general.dist.source.family
    if family in FREE:
        return FREE[family](uniform)
    names, quantile = GIVEN[family]
    declared = [p.name for p in world.spec.plates if p.name in variable.plates]
    sites = dict(zip(declared, index, strict=False))
    _, arguments = world.density(world.factors[name], tuple(sites[p] for p in variable.plates))
    rest = index[len(declared) :]
    shape = torch.broadcast_shapes(*(arguments[a].shape for a in names))
    return quantile(uniform, *(arguments[a].detach().expand(shape)[rest] for a in names))


def expected_gradient(subject: Subject, scored: list[str], row: int) -> Truth:
    """The loss's gradient for one example, averaged over all that the module draws."""
    gradients = [subject.flat(subject.gradients(-value)) for value in expected_objectives(subject, scored, row)]
    if len(gradients) == 1:
        return Truth(gradients[0], torch.zeros_like(gradients[0]))
    found = torch.stack(gradients)
    return Truth(found.mean(0), found.std(0) / len(found) ** 0.5, len(found))


def expected_objectives(subject: Subject, scored: list[str], row: int) -> Iterator[Tensor]:
    """The training objective of one example, averaged over all that the module draws: once where that is exact,
    else once for each scramble."""
    finite = [n for n in scored if subject.spec.variable(n).type.support.finite]
    instance = subject.instance().treating(**dict.fromkeys(finite, "enumerated"))
    instance = replace(instance, noisy=(instance.noisy | set(scored)) - set(finite))  # scored, but drawn from noise too
    coupled = subject.plan.coupled
    samples = subject.plan.samples if coupled else 1  # the draws of an ELBO are alike
    sites = _noise_places(subject, World(instance, row))
    places = [(s, name, index) for s in range(samples) for name, index in sites]

    # whether a closed form is legal is for the plan to show; where nats are free, what is free is that of the closed form
    free = frozenset(n for n in subject.plan.sampled if subject.plan.free_bits(n) is not None)

    def objective(noise: Tensor) -> Tensor:
        """At one point: (numbers,)."""
        draws = {name: draw[:samples].clone() for name, draw in subject.draws.items()}
        for (sample, name, index), number in zip(places, noise, strict=True):
            at = torch.zeros_like(draws[name], dtype=torch.bool)
            at[(sample, row, *index)] = True
            draws[name] = torch.where(at, number, draws[name])
        world = World(replace(instance, draws=draws), row)
        if coupled:
            return expected_bound(world, subject.plan.bound, samples) + subject.prior
        return subject.weighted(one_sample(world, 0, free))

    if not places:
        yield objective(torch.zeros(0, dtype=torch.float64))
        return
    if len(places) > MOST:
        raise NotNumerable(f"{len(places)} numbers of noise")
    for seed in range(SCRAMBLES):
        points = SobolEngine(len(places), scramble=True, seed=seed).draw(POINTS, dtype=torch.float64)
        inside = points.clamp(torch.finfo(torch.float64).eps, 1 - torch.finfo(torch.float64).eps)
        noise = [_noise(World(instance, row), name, index, inside[:, i]) for i, (_, name, index) in enumerate(places)]
        yield torch.func.vmap(objective)(torch.stack(noise, 1)).mean()
