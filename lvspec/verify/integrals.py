"""Latents that the module integrates out in closed form: the oracle's answers, by rules of its own."""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor

from lvspec.verify.gaussians import gaussian_posterior
from lvspec.verify.report import Check, largest, relative_error

FALSE_ALARM = 1e-6
RULES = {"linear_gaussian": gaussian_posterior}  # rule of the plan -> what is known of the latent given the example


def integral(world) -> Tensor:
    """Σ log ∫ p(x, z) dz over the integrated latents of one example."""
    total = torch.zeros((), dtype=torch.float64)
    for integration in world.instance.integrations:
        total = total + RULES[integration.rule](world, integration).log_prob
    return total


def integral_checks(subject, world_of, bound: float) -> list[Check]:
    """Moments, mode and entropy of every integrated latent; world_of(row): the oracle's view of an example."""
    answers = subject.model.posterior(dict(subject.batch)) if subject.plan.integrations else {}
    return [c for i in subject.plan.integrations for c in _moments(subject, i, answers[i.latent], world_of, bound)]


def _moments(subject, integration, answer, world_of, bound: float) -> list[Check]:
    means, modes, covariances, entropies = [], [], [], []
    width = max(1, *(d.evaluate(subject.sizes) for d in subject.spec.variable(integration.latent).type.shape), 1)
    for row in range(subject.rows):
        truth = RULES[integration.rule](world_of(row), integration)
        entropies.append(relative_error(answer.entropy[row].sum(), truth.entropy()))
        for i, (_, at) in enumerate(truth.sites):
            here = slice(i * width, (i + 1) * width)
            means.append(relative_error(answer.mean[(row, *at)].reshape(-1), truth.mean[here]))
            modes.append(relative_error(answer.mode[(row, *at)].reshape(-1), truth.mean[here]))
            covariances.append(relative_error(answer.covariance[(row, *at)], truth.covariance[here, here]))
    name = integration.latent
    figures = {"mean": means, "mode": modes, "covariance": covariances, "entropy": entropies}
    return [Check(f"{what} of {name}", largest(errors), bound) for what, errors in figures.items()]


def integral_draw_check(subject, integration, truth, draws: int, seed: int) -> Check:
    """Are draws of the posterior of the first example draws of N(mean, covariance)? Whitened, their coordinates and the
    products of any two have known means and deviations: the largest |z|, by a union bound over all of them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        answer = subject.model.posterior(dict(subject.batch))[integration.latent]
        found = answer.sample(draws)[:, 0].detach()
    flat = torch.stack([found[(slice(None), *at)].reshape(draws, -1) for _, at in truth.sites], 1).reshape(draws, -1)
    return moments_check(f"z of the moments of posterior draws of {integration.latent}", flat, truth)


def moments_check(name: str, flat: Tensor, truth) -> Check:
    """flat: (draws, coordinates)."""
    n, width = flat.shape
    factor = torch.linalg.cholesky(truth.covariance.detach())
    white = torch.linalg.solve(factor, (flat - truth.mean.detach()).T)
    product = (white @ white.T / n - torch.eye(width, dtype=flat.dtype)) * math.sqrt(n)
    product = product / torch.where(torch.eye(width, dtype=torch.bool), math.sqrt(2.0), 1.0)
    z = torch.cat([white.mean(1) * math.sqrt(n), product[torch.ones_like(product, dtype=torch.bool).triu()]]).abs()
    bound = NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * len(z)))
    return Check(name, float(z.max()), bound, f"{n} draws, {len(z)} moments")
