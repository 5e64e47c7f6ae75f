"""A chain's sum by a scan in the log domain: right for every input, any semiring, differentiable as often as wanted.

Messages have the axes (B, states), of the k best (k, B, states): axes are named from the end.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.chains.steps import Step, factor_at
from lvspec.runtime.core.contract import over_axes
from lvspec.runtime.core.semiring import LOG, log_sum_exp, plain_arithmetic, widest


def log_step(message: Tensor, factor: Tensor, step: Step, semiring) -> Tensor:
    """One pairwise step: the message is weighed with the factor (B or 1, ...), the axes that end here are reduced."""
    union = "B" + step.output + step.summed
    ranks = "R" * (message.dim() - len("B" + step.message))
    wide = over_axes(message, ranks + "B" + step.message, ranks + union)
    both = semiring.weigh(wide, over_axes(factor, "B" + step.factor, union))
    return semiring.sum(both, tuple(range(-len(step.summed), 0))) if step.summed else both


def site_step(
    message: Tensor, factors: list[Tensor], potential: Tensor, steps: tuple[Step, ...], here: Tensor | None, semiring
) -> Tensor:
    """The message at a site from the one before it; factors (B or 1, ...) each; kept where the site is not real."""
    after = message
    for factor, step in zip(factors, steps, strict=True):
        after = log_step(after, factor, step, semiring)
    after = semiring.weigh(after, potential)
    if here is None:
        return after
    return torch.where(here.reshape(-1, *[1] * (potential.dim() - 1)), after, message)


def first_site_message(start: Tensor, potential: Tensor, here: Tensor | None, semiring=LOG) -> Tensor:
    """The message at site 0: start times potential."""
    message = semiring.lift(start.expand(potential.shape))
    return site_step(message, [], potential, (), here, semiring)


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
    """log sum over all state sequences, (B,) or (k, B); start (B or 1, S...), potentials (B, T, S...)."""
    dtype = potentials.dtype
    start, potentials = widest(start), widest(potentials)
    factors = [tuple(map(widest, row)) for row in factors]
    states = tuple(range(2 - potentials.dim(), 0))
    with plain_arithmetic(potentials):
        message = first_site_message(start, potentials[:, 0], None if mask is None else mask[:, 0], semiring)
        for t in range(1, potentials.shape[1]):
            row = [factor_at(f, step, t) for f, step in zip(row_at(factors, t), steps, strict=True)]
            message = site_step(message, row, potentials[:, t], steps, None if mask is None else mask[:, t], semiring)
        return semiring.sum(message, states).to(dtype)


def filtered_scan(
    start: Tensor,
    potentials: Tensor,
    mask: Tensor | None,
    factors: list[tuple[Tensor, ...]],
    steps: tuple[Step, ...],
) -> Tensor:
    """sum over t of log sum of the message at t, (B,), where only site t's own potentials are differentiable: the
    gradient with respect to these is p(z_t | x_1 .. x_t)."""
    messages = log_messages(
        start.detach(), potentials.detach(), mask, [tuple(f.detach() for f in r) for r in factors], steps
    )
    total = torch.zeros((), device=potentials.device)
    for t, message in enumerate(messages):
        own = potentials[:, t] - potentials[:, t].detach()
        value = log_sum_exp(message + own.masked_fill(own.isnan(), 0.0), tuple(range(1, message.dim())))
        total = total + (value if mask is None else torch.where(mask[:, t], value, value.detach()))
    return total.to(potentials.dtype)


def log_messages(
    start: Tensor,
    potentials: Tensor,
    mask: Tensor | None,
    factors: list[tuple[Tensor, ...]],
    steps: tuple[Step, ...],
) -> list[Tensor]:
    """The messages of all sites, without a graph, in float64."""
    start, potentials = widest(start), widest(potentials)
    factors = [tuple(map(widest, row)) for row in factors]
    messages = [first_site_message(start, potentials[:, 0], None if mask is None else mask[:, 0])]
    for t in range(1, potentials.shape[1]):
        row = [factor_at(f, step, t) for f, step in zip(row_at(factors, t), steps, strict=True)]
        here = None if mask is None else mask[:, t]
        messages.append(site_step(messages[-1], row, potentials[:, t], steps, here, LOG))
    return messages


def summed_to(flow: Tensor, union: str, axes: str, shape: tuple[int, ...]) -> Tensor:
    """flow, whose axes are `union`, summed to the axes `axes` of a tensor of this shape (extents of one are sums too)."""
    gone = tuple(i for i, a in enumerate(union) if a not in axes)
    left = [a for a in union if a in axes]
    found = flow.sum(gone) if gone else flow
    return found.permute(*[left.index(a) for a in axes]).sum_to_size(shape)


def log_step_gradient(
    message: Tensor, factor: Tensor, after: Tensor, grad: Tensor, step: Step
) -> tuple[Tensor, Tensor]:
    """d / d (message, factor) of one step: the share that each term has of its sum."""
    union = "B" + step.output + step.summed
    both = over_axes(message, "B" + step.message, union) + over_axes(factor, "B" + step.factor, union)
    ends = [1] * len(step.summed)
    total, flow = after.reshape(*after.shape, *ends), grad.reshape(*grad.shape, *ends)
    impossible = total == -torch.inf
    flow = (both - total.masked_fill(impossible, 0.0)).exp_().masked_fill_(impossible, 0.0) * flow
    d_message = summed_to(flow, union, "B" + step.message, message.shape)
    return d_message, summed_to(flow, union, "B" + step.factor, factor.shape)


def site_gradient(
    message: Tensor, factors: list[Tensor], steps: tuple[Step, ...], grad: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """d / d (message, factors) of the steps into one site, whose messages are computed again."""
    passed = [message]
    for factor, step in zip(factors, steps, strict=True):
        passed.append(log_step(passed[-1], factor, step, LOG))
    found: list[Tensor] = []
    for i in reversed(range(len(steps))):
        grad, d_factor = log_step_gradient(passed[i], factors[i], passed[i + 1], grad, steps[i])
        found.insert(0, d_factor)
    return grad, found


def log_gradient(
    messages: Tensor,
    start: Tensor,
    potentials: Tensor,
    mask: Tensor | None,
    factors: list[tuple[Tensor, ...]],
    steps: tuple[Step, ...],
    grad: Tensor,
    posterior: Tensor | None = None,
) -> tuple[Tensor, Tensor, list[tuple[Tensor, ...]]]:
    """d log Z / d (start, potentials, factors) from stored messages (T, B, ...): one site's products at a time.
    posterior: of the last site (B, states), times grad, where the chain goes on behind it.

    A tape of T steps would hold T tensors of batch times states squared; here there is one.
    """
    start, potentials, grad = widest(start), widest(potentials), widest(grad)
    factors = [tuple(map(widest, row)) for row in factors]
    states = [1] * (messages.dim() - 2)
    d_potentials = torch.zeros_like(potentials)
    d_factors = [tuple(torch.zeros_like(f) for f in row) for row in factors]
    end = messages[-1]
    total = log_sum_exp(end, tuple(range(1, end.dim()))).reshape(-1, *states)
    impossible = total == -torch.inf
    flow = (end - total.masked_fill(impossible, 0.0)).exp().masked_fill(impossible, 0.0) * grad.reshape(-1, *states)
    if posterior is not None:
        flow = posterior.view(flow.shape).to(flow.dtype)
    for t in range(potentials.shape[1] - 1, 0, -1):
        here = None if mask is None else mask[:, t].reshape(-1, *states)
        inner = flow if here is None else flow.masked_fill(~here, 0.0)
        d_potentials[:, t] = inner
        row = [factor_at(f, step, t) for f, step in zip(row_at(factors, t), steps, strict=True)]
        before, found = site_gradient(messages[t - 1], row, steps, inner)
        for d, f, step in zip(row_at(d_factors, t), found, steps, strict=True):
            factor_at(d, step, t).add_(f)
        flow = before if here is None else torch.where(here, before, flow)
    d_potentials[:, 0] = flow if mask is None else flow.masked_fill(~mask[:, 0].reshape(-1, *states), 0.0)
    return flow.sum_to_size(start.shape), d_potentials, d_factors
