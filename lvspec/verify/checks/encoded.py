"""What `model.encode(batch)` says of q(z | x): its density at values, its mean, the shape of its draws; of labels that q has as a
whole their marginals, entropy and mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce
from math import prod
from operator import add
from typing import Any

import torch
from torch import Tensor

from lvspec.ir.structures import STRUCTURES
from lvspec.verify.checks.gradients import VALUE
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.densities import log_density
from lvspec.verify.oracle.draw import drawn_from, extended, random_value
from lvspec.verify.oracle.enumerate import assignments, table
from lvspec.verify.oracle.numbers import NUMBERS
from lvspec.verify.oracle.world import World
from lvspec.verify.report import Check, largest, relative_error

VALUES = 2

MEANS: dict[str, Callable[..., Tensor]] = {
    "Normal": lambda loc, scale: loc,
    "Laplace": lambda loc, scale: loc,
    "MultivariateNormal": lambda loc, **_: loc,
    "StudentT": lambda df, loc, scale: loc + 0 * (df > 1).double().log(),  # NaN where there is none
    "LogNormal": lambda loc, scale: torch.exp(loc) * torch.exp(scale * scale / 2),
    "Gamma": lambda concentration, rate: concentration / rate,
    "Beta": lambda concentration1, concentration0: 1 / (1 + concentration0 / concentration1),
    "Dirichlet": lambda concentration: torch.nn.functional.normalize(concentration, p=1, dim=-1),
    **{name: family.mean for name, family in NUMBERS.items() if family.mean is not None},
}


def encoded_checks(subject: Subject, seed: int, about: str = "") -> list[Check]:
    """Of each latent that `encode` answers; a q that is refined at noise of its own is another one each time."""
    if not hasattr(subject.model, "encode") or subject.plan.refined:
        return []
    subject.come_to_step()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found = subject.model.encode(dict(subject.batch))
    instance, checks = subject.instance(), []
    worlds = [World(instance, row) for row in range(subject.rows)]
    for name, answer in found.items():
        if hasattr(answer, "marginals"):  # of labels
            summed = {**instance.treatments, name: "enumerated"}  # whatever the objective does with them
            of_labels = replace(
                instance, treatments=summed, draws={n: d for n, d in instance.draws.items() if n != name}
            )
            checks += label_checks(name, answer, [World(of_labels, row) for row in range(subject.rows)], about)
            continue
        latent, factor = subject.spec.variable(name), worlds[0].factors[name]
        sites = worlds[0].sites(latent.plates)
        extents = tuple(max((at[i] for at in sites), default=-1) + 1 for i in range(len(latent.plates)))
        if any(len(w.sites(latent.plates)) != prod(extents) for w in worlds):
            continue  # a plate that is as long as a variable says
        shape = worlds[0].shape(latent.type.shape, {})
        generator = torch.Generator().manual_seed(seed)
        sizes = extended(subject.spec, subject.sizes, max((*extents, 1)))
        values = random_value(drawn_from(subject.plan, latent), sizes, (VALUES, *extents, *shape), generator)
        at_rows = [{at: world.density(factor, at) for at in sites} for world in worlds]
        expected = torch.stack(
            [
                torch.stack([reduce(add, (log_density(*q, v[at], shape) for at, q in row.items())) for row in at_rows])
                for v in values
            ]
        )
        given = answer.log_prob_of_each(values)
        checks.append(Check(f"log q of {name} at values{about}", relative_error(given, expected), VALUE))
        family = factor.general.dist.source.family
        if family in MEANS and answer.mean is not None:
            means = torch.stack(
                [torch.stack([_full(MEANS[family](**q[1]), shape) for q in row.values()]) for row in at_rows]
            ).reshape(len(at_rows), *extents, *shape)
            error = relative_error(answer.mean.expand(means.shape).nan_to_num(), means.nan_to_num())
            checks.append(Check(f"mean of q of {name}{about}", error, VALUE))
        wrong = answer.sample(3).shape != (3, subject.rows, *extents, *shape)
        checks.append(Check(f"draws of q of {name} of another shape{about}", float(wrong), 0.0))
    return checks


def label_checks(latent: str, answer: Any, worlds: list[World], about: str) -> list[Check]:
    """Of labels that q has as a whole, by all labellings of each example."""
    errors = [_of_labellings(world, latent, answer) for world in worlds]
    marginals = Check(f"marginals of {latent} under q{about}", largest([e[0] for e in errors]), VALUE)
    if not STRUCTURES[worlds[0].factors[latent].general.dist.family].one_to_one:
        return [marginals]  # several structures have the same labels
    return [
        marginals,
        Check(f"entropy of {latent} under q{about}", largest([e[1] for e in errors]), VALUE),
        Check(f"modes of {latent} under q that are not the best{about}", float(sum(e[2] for e in errors)), 0.0),
    ]


def _of_labellings(world: World, latent: str, answer: Any) -> tuple[float, float, bool]:
    """The errors of one example's marginals and entropy, and whether its mode is another than the best."""
    sites = [s for s in world.hidden() if s[0] == latent]
    rows = assignments(world, sites)
    with torch.no_grad():
        log_q = table(world, sites, rows, [partial(world.log_chance, *s) for s in sites]).sum(1)
    q = log_q.exp()
    errors = []
    for i, (_, at) in enumerate(sites):
        found = answer.marginals[(world.row, *at)].detach()
        expected = [q[[r[i] == k for r in rows]].sum() for k in range(len(found))]
        errors.append(relative_error(found, torch.stack(expected)))
    entropy = -torch.where(q > 0, q * log_q.masked_fill(q == 0, 0.0), 0.0).sum()
    chosen = tuple(int(answer.mode[(world.row, *at)]) for _, at in sites)
    best = [r for r, value in zip(rows, log_q, strict=True) if value >= log_q.max() - VALUE]
    return largest(errors), relative_error(answer.entropy[world.row].detach(), entropy), chosen not in best


def _full(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64).expand(shape)
