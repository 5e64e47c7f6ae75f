"""A chain's sum by a scan in the log domain: right for every input, any semiring, differentiable as often as wanted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.runtime.contract import spread
from lvspec.runtime.semiring import plain_arithmetic


@dataclass(frozen=True)
class Step:
    """`"ab,BTbc->ac"`: message axes, the factor's state axes, its leading axes (B, T), the new message's axes."""

    message: str
    factor: str
    lead: str
    output: str


def read_steps(steps: tuple[str, ...]) -> tuple[Step, ...]:
    """Steps as they are written; capital letters of a factor are the batch and the time axis."""
    read = []
    for text in steps:
        inputs, output = text.replace(" ", "").split("->")
        message, factor = inputs.split(",")
        lead = "".join(a for a in factor if a in "BT")
        read.append(Step(message, factor[len(lead) :], lead, output))
        if set(lead + read[-1].factor) != set(factor) or not factor.startswith(lead):
            raise ValueError(f"batch and time axes come first in a factor, not `{factor}`")
    return tuple(read)


def factor_at(factor: Tensor, step: Step, t: int) -> Tensor:
    """The factor for the step into site t, with a batch axis in front: (B or 1, state axes)."""
    lead = step.lead if factor.dim() == len(step.lead) + len(step.factor) else ""
    if "T" in lead:
        axis = lead.index("T")
        factor = factor.select(axis, t if factor.shape[axis] > 1 else 0)
    return factor if "B" in lead else factor.unsqueeze(0)


def log_step(message: Tensor, factor: Tensor, step: Step, semiring) -> Tensor:
    """One pairwise step on (B, ...) messages: the factor is added, the axes that end here are reduced."""
    summed = "".join(dict.fromkeys(a for a in step.message + step.factor if a not in step.output))
    union = "B" + step.output + summed
    both = spread(message, "B" + step.message, union) + spread(factor, "B" + step.factor, union)
    return semiring.sum(both, tuple(range(1 + len(step.output), len(union)))) if summed else both


def log_scan(
    start: Tensor,
    transitions: tuple[Tensor, ...],
    potentials: Tensor,
    steps: tuple[Step, ...],
    mask: Tensor | None,
    openings: tuple[tuple[Tensor, ...], ...],
    semiring,
) -> Tensor:
    """log sum over all state sequences, (B,); start (B or 1, S...), potentials (B, T, S...)."""
    with plain_arithmetic(potentials):
        extent = potentials.shape[1]
        message = start.expand(potentials.shape[0], *start.shape[1:])
        for t in range(extent):
            before = message
            if t:
                for factor, step in zip(openings[t - 1] if t <= len(openings) else transitions, steps, strict=True):
                    message = log_step(message, factor_at(factor, step, t), step, semiring)
            message = message + potentials[:, t]
            if mask is not None:
                here = mask[:, t].reshape(-1, *[1] * (message.dim() - 1))
                message = torch.where(here, message, before)
        return semiring.sum(message, tuple(range(1, message.dim())))
