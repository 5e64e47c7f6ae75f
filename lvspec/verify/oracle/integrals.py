"""Latents that the module integrates out in closed form: the oracle's answers, by rules of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import NormalDist

import torch
from torch import Tensor

from lvspec.ir.plan import Integration
from lvspec.verify.oracle.conjugates import Coordinates, coordinate_posterior, urn_posterior
from lvspec.verify.oracle.draw import in_numbers
from lvspec.verify.oracle.linear_gaussian import Gaussian, gaussian_posterior, width
from lvspec.verify.oracle.together import Pairs, pair_draws_check, pair_posterior
from lvspec.verify.report import Check, largest, relative_error

FALSE_ALARM = 1e-6


def known(world, integration: Integration) -> Gaussian | Coordinates | Pairs:
    """p(z | x) of one example, and log p(x), by the rule's own oracle."""
    latent = world.variables[integration.latent]
    if latent.parts:
        return pair_posterior(world, integration)
    return ORACLES[latent.type.support.kind](world, integration)


ORACLES: dict[str, Callable[..., Gaussian | Coordinates]] = {  # by the support of the latent
    "real": gaussian_posterior,
    "unit": coordinate_posterior,
    "positive": coordinate_posterior,
    "simplex": urn_posterior,
}


def integral_terms(world) -> list[Callable[[], Tensor]]:
    """log ∫ p(x, z) dz of each integrated latent, or block of them, under the assignment in force."""

    def term(i: int, integration: Integration) -> Tensor:
        return world.memory.recall(
            ("integral", i), lambda: known(world, integration).log_prob, tried=integration.latents
        )

    return [partial(term, i, integration) for i, integration in enumerate(world.instance.integrations)]


def integral_checks(subject, world_of, truth_of, bound: float) -> list[Check]:
    """Moments and entropy of every integrated latent; world_of(row): the oracle's view of an example, truth_of(world,
    integration): its answer."""
    answers = subject.model.posterior(dict(subject.batch)) if subject.plan.integrations else {}
    return [c for i in subject.plan.integrations for c in moment_checks(subject, i, answers, world_of, truth_of, bound)]


def moment_checks(subject, integration, answers, world_of, truth_of, bound: float) -> list[Check]:
    """Those of one integral."""
    figures: dict[str, list[float]] = {"mean": [], "spread": [], "entropy": []}
    for row in range(subject.rows):
        world = world_of(row)
        truth, end = truth_of(world, integration), 0
        if torch.as_tensor(truth.log_prob).isneginf().any():  # what is impossible has no moments
            continue
        if getattr(truth, "whole", True):  # the entropy of a mixture has no closed form
            figures["entropy"].append(relative_error(answers[integration.latent].entropy[row].sum(), truth.entropy()))
        for name, at in truth.sites:
            answer, place = answers[name], (row, *at)
            here = slice(end, end := end + width(world, (name, at)))
            figures["mean"].append(moment_error(answer.mean[place].reshape(-1), truth.mean[here]))
            if isinstance(truth, Gaussian):
                figures["mean"].append(relative_error(answer.mode[place].reshape(-1), truth.mean[here]))
            if hasattr(truth, "covariance"):
                figures["spread"].append(relative_error(answer.covariance[place], truth.covariance[here, here]))
            else:
                figures["spread"].append(moment_error(answer.variance[place].reshape(-1), truth.variance[here]))
    name = " and ".join(integration.latents)
    return [Check(f"{what} of {name}", largest(errors), bound) for what, errors in figures.items() if errors]


def moment_error(found: Tensor, truth: Tensor) -> float:
    """The relative error; where there is no such moment, NaN is right and nothing else is."""
    none = truth.isnan()
    if not torch.equal(found.isnan(), none):
        return math.inf
    return relative_error(found[~none], truth[~none])


def integral_draw_check(subject, integration, truth, draws: int, seed: int, **options) -> Check:
    """Are draws of the posterior of the first example draws of p(z | x)? The largest |z| over first and second moments,
    by a union bound over all of them. options: of `posterior`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        answer = subject.model.posterior(dict(subject.batch), **options)[integration.latent]
        joint = getattr(answer, "joint", None)  # of a block
        drawn = {integration.latent: answer.sample(draws)} if joint is None else joint.sample(draws)
    drawn = {n: x[:, 0].detach() for n, x in drawn.items()}
    name = f"z of the moments of posterior draws of {' and '.join(integration.latents)}"
    if isinstance(truth, Pairs):
        pairs = torch.stack([drawn[n][(slice(None), *at)] for n, at in truth.sites], 1)
        return pair_draws_check(name, pairs, truth, FALSE_ALARM)
    flat = torch.cat([drawn[n][(slice(None), *at)].reshape(draws, -1) for n, at in truth.sites], 1)
    return moments_check(name, flat, truth) if isinstance(truth, Gaussian) else coordinates_check(name, flat, truth)


def integral_sample_check(subject, integration, truth, given, lengths, draws: int, seed: int) -> Check:
    """Are draws of the model draws of the Gaussian over all sites of the latent and of what reads it?"""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        found = in_numbers(subject.spec, subject.model.sample(draws, given=given, lengths=lengths))
    flat = torch.cat([found[n][(slice(None), *at)].reshape(draws, -1) for n, at in truth.sites], 1)
    check = moments_check if isinstance(truth, Gaussian) else coordinates_check
    return check(f"z of the moments of samples of {' and '.join(integration.latents)}", flat.double(), truth)


def coordinates_check(name: str, flat: Tensor, truth: Coordinates) -> Check:
    """Mean and variance of each coordinate."""
    n, mean, variance = len(flat), truth.mean.detach(), truth.variance.detach()
    first = (flat.mean(0) - mean) / (variance / n).sqrt()
    second = (((flat - mean) ** 2).mean(0) - variance) / ((truth.fourth.detach() - variance**2) / n).sqrt()
    z = torch.cat([first, second]).abs()
    bound = NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * len(z)))
    return Check(name, float(z.max()), bound, f"{n} draws, {len(z)} moments")


def moments_check(name: str, flat: Tensor, truth) -> Check:
    """Whitened, the coordinates and the products of any two have known means and deviations; flat: (draws, coordinates)."""
    n, width = flat.shape
    factor = torch.linalg.cholesky(truth.covariance.detach())
    white = torch.linalg.solve(factor, (flat - truth.mean.detach()).T)
    product = (white @ white.T / n - torch.eye(width, dtype=flat.dtype)) * math.sqrt(n)
    product = product / torch.where(torch.eye(width, dtype=torch.bool), math.sqrt(2.0), 1.0)
    z = torch.cat([white.mean(1) * math.sqrt(n), product[torch.ones_like(product, dtype=torch.bool).triu()]]).abs()
    bound = NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * len(z)))
    return Check(name, float(z.max()), bound, f"{n} draws, {len(z)} moments")
