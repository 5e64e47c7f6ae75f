"""A chain's sum by a scan in the log domain: right for every input, any semiring, differentiable as often as wanted."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.chain_steps import Step, factor_at
from lvspec.runtime.contract import over_axes
from lvspec.runtime.semiring import LOG, log_sum_exp, plain_arithmetic


def log_step(message: Tensor, factor: Tensor, step: Step, semiring) -> Tensor:
    """One pairwise step on (B, ...) messages: the factor is added, the axes that end here are reduced."""
    union = "B" + step.output + step.summed
    both = over_axes(message, "B" + step.message, union) + over_axes(factor, "B" + step.factor, union)
    return semiring.sum(both, tuple(range(1 + len(step.output), len(union)))) if step.summed else both


def site_step(
    message: Tensor, factors: list[Tensor], potential: Tensor, steps: tuple[Step, ...], here: Tensor | None, semiring
) -> Tensor:
    """The message at a site from the one before it; factors (B or 1, ...) each; kept where the site is not real."""
    after = message
    for factor, step in zip(factors, steps, strict=True):
        after = log_step(after, factor, step, semiring)
    after = after + potential
    if here is None:
        return after
    return torch.where(here.reshape(-1, *[1] * (after.dim() - 1)), after, message)


def first_site_message(start: Tensor, potential: Tensor, here: Tensor | None) -> Tensor:
    """The message at site 0: start times potential."""
    message = start.expand(potential.shape)
    return site_step(message, [], potential, (), here, LOG)


def row_at(factors: list[tuple[Tensor, ...]], t: int) -> tuple[Tensor, ...]:
    """The factors of the steps into site t: an opening's, or the regular ones, which stand last."""
    return factors[min(t, len(factors)) - 1]


def log_scan(
    start: Tensor,
    potentials: Tensor,
    mask: Tensor | None,
    factors: list[tuple[Tensor, ...]],
    steps: tuple[Step, ...],
    semiring,
) -> Tensor:
    """log sum over all state sequences, (B,); start (B or 1, S...), potentials (B, T, S...)."""
    with plain_arithmetic(potentials):
        message = first_site_message(start, potentials[:, 0], None if mask is None else mask[:, 0])
        for t in range(1, potentials.shape[1]):
            row = [factor_at(f, step, t) for f, step in zip(row_at(factors, t), steps, strict=True)]
            message = site_step(message, row, potentials[:, t], steps, None if mask is None else mask[:, t], semiring)
        return semiring.sum(message, tuple(range(1, message.dim())))


def log_messages(
    start: Tensor,
    potentials: Tensor,
    mask: Tensor | None,
    factors: list[tuple[Tensor, ...]],
    steps: tuple[Step, ...],
) -> list[Tensor]:
    """The messages of all sites, without a graph."""
    messages = [first_site_message(start, potentials[:, 0], None if mask is None else mask[:, 0])]
    for t in range(1, potentials.shape[1]):
        row = [factor_at(f, step, t) for f, step in zip(row_at(factors, t), steps, strict=True)]
        here = None if mask is None else mask[:, t]
        messages.append(site_step(messages[-1], row, potentials[:, t], steps, here, LOG))
    return messages


def log_gradient(
    messages: Tensor,
    start: Tensor,
    potentials: Tensor,
    mask: Tensor | None,
    factors: list[tuple[Tensor, ...]],
    steps: tuple[Step, ...],
    grad: Tensor,
) -> tuple[Tensor, Tensor, list[tuple[Tensor, ...]]]:
    """d log Z / d (start, potentials, factors) from stored messages (T, B, ...): one site's graph at a time.

    A tape of T steps would hold T tensors of batch times states squared; here there is one.
    """
    d_potentials = torch.zeros_like(potentials)
    d_factors = [tuple(torch.zeros_like(f) for f in row) for row in factors]
    end = messages[-1].detach().requires_grad_()
    with torch.enable_grad():
        total = log_sum_exp(end, tuple(range(1, end.dim())))
    (flowing,) = torch.autograd.grad(total, end, grad)
    for t in range(potentials.shape[1] - 1, 0, -1):
        row, into = row_at(factors, t), row_at(d_factors, t)
        here = None if mask is None else mask[:, t]
        leaves = [messages[t - 1], potentials[:, t]]
        leaves += [factor_at(f, step, t) for f, step in zip(row, steps, strict=True)]
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in leaves]
            after = site_step(leaves[0], leaves[2:], leaves[1], steps, here, LOG)
        flowing, d_potentials[:, t], *found = torch.autograd.grad(after, leaves, flowing)
        for d, f, step in zip(into, found, steps, strict=True):
            factor_at(d, step, t).add_(f)
    with torch.enable_grad():
        leaves = [start.detach().requires_grad_(), potentials[:, 0].detach().requires_grad_()]
        after = first_site_message(*leaves, None if mask is None else mask[:, 0])
    d_start, d_potentials[:, 0] = torch.autograd.grad(after, leaves, flowing)
    return d_start, d_potentials, d_factors
