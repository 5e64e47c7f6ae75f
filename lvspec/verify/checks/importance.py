"""Importance weights p(x, z) / q(z | x) at draws that the module makes: what it says of them, against the oracle's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from lvspec.verify.checks.gradients import VALUE
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.enumerate import joint_log_weights, log_ratio, log_sum, log_weights
from lvspec.verify.oracle.memory import Site
from lvspec.verify.oracle.world import Instance, World
from lvspec.verify.report import Check, relative_error

ROUNDED = 8 * torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class ImportanceDraws:
    """found: (S, B), the module's log-weights; shared: those of what is global, if anything is. instance: the oracle's view
    of the draws. joint(row): one example's sites that are summed, their assignments, and the log-weights of these, (S, rows),
    computed once for all that asks."""

    seed: int
    found: Tensor
    shared: list[Tensor]
    instance: Instance
    joint: Callable[[int], tuple[list[Site], list[tuple[object, ...]], Tensor]]

    @staticmethod
    @torch.no_grad()
    def of(subject: Subject, seed: int) -> ImportanceDraws:
        """At the draws of a seed."""
        samples = subject.plan.samples
        steps = {n: d for n, d in subject.draws.items() if n.endswith(".steps")}  # that refine q before it is drawn
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            subject.come_to_step()
            found, drawn, *shared = subject.model.log_weights(
                subject.model.prepare(dict(subject.batch)), samples, steps
            )
        instance = instance_at(subject, {**drawn, **steps})
        joint = cache(torch.no_grad()(lambda row: joint_log_weights(World(instance, row), samples)))
        return ImportanceDraws(seed, found, shared, instance, joint)


def instance_at(subject: Subject, drawn: Mapping[str, Tensor]) -> Instance:
    """The oracle's view at values of what is drawn, all else summed or integrated."""
    integrated = {n for i in subject.plan.integrations for n in i.latents}
    treatments = {
        v.name: "sampled" if v.name in drawn else "integrated" if v.name in integrated else "collapsed"
        for v in subject.spec.of_role("latent")
    }
    return replace(subject.instance(draws=drawn), noisy=frozenset(), relaxed={}, treatments=treatments)


def weight_checks(subject: Subject, weights: ImportanceDraws, about: str = "") -> list[Check]:
    """The importance weights at the values that the module draws for them; all other latents are summed."""
    instance, samples = weights.instance, subject.plan.samples
    expected = torch.stack([log_sum(weights.joint(row)[2]) for row in range(subject.rows)], 1)
    error = relative_error(weights.found, expected)
    if error > VALUE:
        error = relative_error(weights.found, expected, rounding(instance, samples))
    checks = [Check(f"log importance weights{about}", error, VALUE)]
    for shared in weights.shared:
        error = relative_error(shared, log_ratio(instance, samples))
        checks.append(Check(f"log p - log q of what examples share{about}", error, VALUE))
    return checks


def rounding(instance: Instance, samples: int) -> Tensor:
    """What the rounding of draws alone can do to their log-weights (S, B): Σ |∂ log w / ∂z| |z| times a few units of the last place.
    Where q is narrow, (z - loc) / scale keeps few of z's digits."""
    draws = {n: d.clone().requires_grad_() if d.is_floating_point() else d for n, d in instance.draws.items()}
    moving = [d for d in draws.values() if d.requires_grad]
    weights = [log_weights(replace(instance, draws=draws), row, samples) for row in range(instance.rows())]
    found = torch.stack(weights, 1)
    slopes = [torch.autograd.grad(w, moving, allow_unused=True, retain_graph=True) for w in found.reshape(-1)]
    moved = [
        float(sum((g * d).detach().abs().sum() for g, d in zip(s, moving, strict=True) if g is not None))
        for s in slopes
    ]
    return torch.tensor(moved, dtype=torch.float64).reshape(found.shape) * ROUNDED
