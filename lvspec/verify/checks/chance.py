"""Checks of what is random: is the mean of many gradients the exact gradient, and of many weights p(x)?

Per coordinate z = (mean − truth) / standard error over independent groups of draws; the largest |z| is held
against the bound at which a true estimator fails once in a million comparisons (a union bound over coordinates).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist

import torch
from torch import Tensor

from lvspec.verify.checks.expectation import Truth, expected_gradient
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.enumerate import log_sum, posterior, table
from lvspec.verify.oracle.world import Instance, TooMany, World
from lvspec.verify.report import Check

FALSE_ALARM = 1e-6
GROUPS = 200
HEAVY = 0.3  # a group's mean weight with a larger relative deviation says nothing


@dataclass(frozen=True)
class Estimates:
    """means: (groups, coordinates), each row the mean over `size` draws."""

    means: Tensor
    size: int

    @property
    def variance(self) -> float:
        """Of one draw's gradient, summed over coordinates."""
        return float(self.means.var(0).sum()) * self.size

    def largest_z(self, truth: Truth) -> float:
        """max |z|, the standard errors of both sides together. A coordinate that never varied must equal the truth,
        but for what a single draw, too rare to be seen, can change."""
        error = (self.means.mean(0) - truth.value).abs()
        spread = torch.hypot(self.means.std(0) / math.sqrt(len(self.means)), truth.error)
        tight = 1e-10 * truth.value.abs().clamp(min=1)
        unseen = tight + (self.means.abs().max() / len(self.means) if self.means.std(0).any() else 0.0)
        fixed = torch.where(error <= unseen, torch.zeros_like(error), torch.full_like(error, math.inf))
        return float(torch.where(spread > tight, error / spread, fixed).max())


def critical_value(coordinates: int, groups: int, rate: float = FALSE_ALARM) -> float:
    """The bound on max |t| with `groups` − 1 degrees of freedom (Cornish–Fisher on the normal quantile)."""
    z = NormalDist().inv_cdf(1 - rate / (2 * max(coordinates, 1)))
    n = groups - 1
    first = (z**3 + z) / (4 * n)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
    return z + first + second + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)


def repeated(subject: Subject, row: int, times: int) -> dict[str, Tensor]:
    """A batch of one example, many times."""
    shared = {v.name for v in subject.spec.variables if v.outside_batch}
    return {
        n: v if n in shared else v[row : row + 1].repeat(times, *[1] * (v.dim() - 1)) for n, v in subject.batch.items()
    }


def gradient_estimates(subject: Subject, row: int, draws: int, seed: int) -> Estimates:
    """Gradients of the loss of one example at the module's own draws; `draws` rows in all."""
    size = max(draws // GROUPS, 1)
    batch = repeated(subject, row, size)
    if hasattr(subject.model, "prepare"):
        batch = subject.model.prepare(batch)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        means = [subject.flat(subject.gradients(subject.objective(batch, draws={}).loss)) for _ in range(GROUPS)]
    return Estimates(torch.stack(means), size)


def z_check(subject: Subject, scored: list[str], row: int, draws: int, seed: int) -> Check:
    """Mean gradient of the surrogate against the gradient of the expectation."""
    truth = expected_gradient(subject, scored, row)
    estimates = gradient_estimates(subject, row, draws, seed)
    if subject.plan.biased:
        off = (estimates.means.mean(0) - truth.value).norm() / truth.value.norm()
        note = (
            f"biased by design: its mean is off by {float(off):.2g} of the gradient, variance {estimates.variance:.3g}"
        )
        return Check("z of the mean gradient", None, gradient_bound(truth), note)
    note = f"{estimates.size * GROUPS} rows of {subject.plan.samples} draws, variance {estimates.variance:.3g}"
    return Check("z of the mean gradient", estimates.largest_z(truth), gradient_bound(truth), note)


def gradient_bound(truth: Truth) -> float:
    """The largest |z| of a true estimator; the fewer degrees of freedom count where both sides are estimated."""
    return critical_value(len(truth.value), min(GROUPS, truth.estimates or GROUPS))


def reachable(instance: Instance, row: int, drawn: tuple[str, ...]) -> Tensor:
    """log Σ p(x, z) over what q can draw: no draw tells of anything else."""
    found, world = posterior(instance, row), World(instance, row)
    terms = [partial(world.log_q, *s) for s in found.sites if s[0] in drawn]
    log_q = table(world, found.sites, found.rows, terms).sum(1)
    return log_sum(found.log_weights.masked_fill(log_q == -torch.inf, -torch.inf))


def weight_check(subject: Subject, row: int, draws: int, seed: int) -> Check:
    """Mean importance weight against p(x), as far as q reaches, in standard errors. Finite latents only: a guide narrower than its
    posterior has weights of infinite variance, which no test sees (they are compared at fixed draws)."""
    name, bound = "z of the mean importance weight", critical_value(1, GROUPS)
    if any(not subject.spec.variable(n).type.support.finite for n in subject.plan.sampled):
        raise TooMany("weights of continuous draws may have no variance; compared at fixed draws")
    summed = {v.name: "collapsed" for v in subject.spec.of_role("latent")}
    truth = reachable(subject.instance().treating(**summed), row, subject.plan.sampled).detach()
    samples = max(draws // GROUPS, 2)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        found = [subject.model.log_prob(dict(subject.batch), samples=samples)[row] for _ in range(GROUPS)]
    ratios = torch.exp(torch.stack(found) - truth)[:, None]  # of a group's mean weight to p(x)
    one = torch.ones(1, dtype=torch.float64)
    if ratios.std() > HEAVY:
        return Check(name, None, bound, f"the weights of {samples} draws vary by {float(ratios.std()):.2g} of p(x)")
    return Check(name, Estimates(ratios, samples).largest_z(Truth(one, torch.zeros_like(one))), bound)
