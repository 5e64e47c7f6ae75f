"""What `model.encode(batch)` says of q(z | x): its density at values, its mean, the shape of its draws."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from math import pi, prod
from operator import add

import torch
from torch import Tensor

from lvspec.verify.checks.gradients import VALUE
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.densities import log_density
from lvspec.verify.oracle.draw import drawn_from, extended, random_value
from lvspec.verify.oracle.world import World
from lvspec.verify.report import Check, relative_error

VALUES = 2

MEANS: dict[str, Callable[..., Tensor]] = {
    "Normal": lambda loc, scale: loc,
    "Laplace": lambda loc, scale: loc,
    "MultivariateNormal": lambda loc, **_: loc,
    "StudentT": lambda df, loc, scale: loc + 0 * (df > 1).double().log(),  # NaN where there is none
    "LogNormal": lambda loc, scale: torch.exp(loc) * torch.exp(scale * scale / 2),
    "Exponential": lambda rate: rate.reciprocal(),
    "HalfNormal": lambda scale: scale * (2 / pi) ** 0.5,
    "Weibull": lambda scale, concentration: scale * torch.exp(torch.lgamma((concentration + 1) / concentration)),
    "Gamma": lambda concentration, rate: concentration / rate,
    "Beta": lambda concentration1, concentration0: 1 / (1 + concentration0 / concentration1),
    "Dirichlet": lambda concentration: torch.nn.functional.normalize(concentration, p=1, dim=-1),
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


def _full(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64).expand(shape)
