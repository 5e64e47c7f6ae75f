"""The gradient of a score-function estimator, averaged exactly over every joint draw of all its samples.

    Σ_{d_1..d_S} q(d_1) ... q(d_S) ∇ loss(d_1, ..., d_S)   =   −∇ (1/S) Σ_s E_{q(d)} ELBO(d, noise_s)
                                                       or   −∇ E_{q(d_1) .. q(d_S)} F(w_1, .., w_S)

On the left stands the emitted module: one batch whose rows repeat an example, one row for each joint draw,
weighted by its probability. On the right stands the oracle, which sums the drawn latents under q. Noise of
reparameterized latents is the same on both sides.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from functools import partial
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor

from lvspec.verify.checks.coupled import expected_bound
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.cells import Cell, cells
from lvspec.verify.oracle.enumerate import elbo, table
from lvspec.verify.oracle.schemes import TOGETHER, DrawScheme, site_probabilities
from lvspec.verify.oracle.world import SAMPLE, Instance, TooMany, World

ROWS = 12_000  # the most joint draws of all samples that one batch repeats an example for


def joint_draws(world: World, scored: list[str], samples: int) -> tuple[list[Cell], list[tuple[Hashable, ...]]]:
    """The cells, and every joint value of them."""
    drawn = cells(world, scored)
    choices = [world.values(c.name, c.at) for c in drawn]
    total = 1
    for choice in choices:
        total *= len(choice)
    if total > ROWS:
        raise TooMany(f"{total}^{samples} joint draws")
    return drawn, list(product(*choices))


def probabilities(
    world: World, drawn: list[Cell], joint: list[tuple[Hashable, ...]], sample: int, alone: set[str]
) -> Tensor:
    """q(d) of every joint draw of one sample, detached: of the latents whose draws are independent of each other."""
    total, assignment = torch.zeros(len(joint), dtype=torch.float64), world.memory.assignment
    for number, cell in ((i, c) for i, c in enumerate(drawn) if c.name in alone):
        assignment.clear()
        assignment |= {SAMPLE: sample, **{(n, s): v for n, s, v in cell.parents}}
        seen = [i for i, other in enumerate(drawn) if set(other.parents) <= set(cell.parents)]
        seen = [*(i for i in seen if i != number), number]  # of sites with several values, its own
        sites = [(drawn[i].name, drawn[i].at) for i in seen]
        rows = [tuple(values[i] for i in seen) for values in joint]
        total += table(world, sites, rows, [partial(world.log_chance, cell.name, cell.at)])[:, 0].detach()
    return total.exp()


def averaged_gradient(subject: Subject, scored: list[str], row: int) -> list[Tensor | None]:
    """The left-hand side: the emitted loss of one example under every joint draw, weighted by q."""
    samples = subject.plan.samples
    subject = alike(subject)
    world = World(_summed(subject, scored), row)
    drawn, joint = joint_draws(world, scored, samples)
    schemes = {n: DrawScheme.of(subject.plan.latent(n)) for n in scored if subject.plan.latent(n).strategy in TOGETHER}
    q = [probabilities(world, drawn, joint, s, set(scored) - set(schemes)) for s in range(samples)]
    possible = [[i for i, mass in enumerate(q[s].tolist()) if mass > 0] for s in range(samples)]
    if prod(map(len, possible)) > ROWS:
        raise TooMany(f"{' x '.join(str(len(p)) for p in possible)} joint draws")
    rows = list(product(*possible))
    weight = torch.stack([own[list(chosen)] for own, chosen in zip(q, zip(*rows, strict=True), strict=True)]).prod(0)
    for i, cell in enumerate(drawn):
        if cell.name in schemes:
            own = site_probabilities(world, cell.name, cell.at)
            weight *= torch.tensor(
                [schemes[cell.name].chance(own, [joint[j][i] for j in r]) for r in rows], dtype=torch.float64
            )
    rows = [r for r, w in zip(rows, weight.tolist(), strict=True) if w > 0]
    weight = weight[weight > 0]
    batch = {name: _repeated(subject, name, value, row, len(rows)) for name, value in subject.batch.items()}
    shared = {v.name for v in subject.spec.of_role("latent") if v.outside_batch}
    draws = {
        n: d if n in shared else d[:, row : row + 1].repeat(1, len(rows), *[1] * (d.dim() - 2))
        for n, d in subject.draws.items()
    }
    for s in range(samples if drawn else 0):
        for i, cell in enumerate(drawn):
            choice = torch.tensor([joint[r[s]][i] for r in rows])  # one value a row, or a vector of them
            index: tuple[Any, ...] = (s, slice(None), *cell.place(world))
            draws[cell.name][index] = choice.reshape(draws[cell.name][index].shape)
    objective = subject.objective({**batch, "weight": weight}, draws)
    return subject.gradients(objective.loss)


def alike(subject: Subject) -> Subject:
    """With the same noise in all samples, where their weights are not the same for each: else the noise averages too."""
    if subject.plan.weighed is None:
        return subject
    return replace(subject, draws={n: d[:1].expand_as(d).clone() for n, d in subject.draws.items()})


def exact_gradient(subject: Subject, scored: list[str], row: int) -> list[Tensor | None]:
    """The right-hand side, by the oracle."""
    return subject.gradients(-exact_value(subject, scored, row))


def exact_value(subject: Subject, scored: list[str], row: int) -> Tensor:
    """The objective of one example, averaged over what is scored."""
    if subject.plan.coupled:
        world = World(_summed(subject, scored), row)
        return expected_bound(world, subject.plan.bound, subject.plan.samples) + subject.prior
    subject = alike(subject)
    bound = elbo(_summed(subject, scored), row, subject.plan.samples, subject.analytic - set(scored))
    return subject.weighted(bound)


def _summed(subject: Subject, scored: list[str]) -> Instance:
    """The scored latents summed under q instead of drawn."""
    return subject.instance().treating(**dict.fromkeys(scored, "enumerated"))


def _repeated(subject: Subject, name: str, value: Tensor, row: int, times: int) -> Tensor:
    variable = next((v for v in subject.spec.variables if v.name == name), None)
    if variable is not None and variable.outside_batch:
        return value
    return value[row : row + 1].repeat(times, *[1] * (value.dim() - 1))
