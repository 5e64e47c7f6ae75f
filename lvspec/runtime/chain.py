"""log sum_{s_0..s_T} start(s_0) prod_t step(s_t | s_{t-1}) prod_t potential_t(s_t), exactly, in one pass over t."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.chain_log import log_scan, read_steps
from lvspec.runtime.semiring import LOG, full_precision, log_sum_exp


def chain(
    start: Tensor,
    transitions: tuple[Tensor, ...],
    potentials: Tensor,
    steps: tuple[str, ...],
    mask: Tensor | None = None,
    openings: tuple[tuple[Tensor, ...], ...] = (),
    semiring=LOG,
    normalized: bool = False,
) -> Tensor:
    """log normaliser (B,) of a chain.

    start: (S1..Sm) or (B, S1..Sm). potentials: (B, T, S1..Sm), zero where masked. transitions: log factors, one for
    each step; steps: "i,ij->j", a factor's batch and time axes as capitals in front, "i,BTij->j".
    openings: transitions for the steps into sites 1, 2, ... before the regular ones.
    mask (B, T): where it is false the message is kept. normalized: transitions sum to one over the new state.
    """
    start, potentials = full_precision(start), full_precision(potentials)
    states = potentials.dim() - 2
    if start.dim() == states:
        start = start.unsqueeze(0)
    if potentials.shape[1] == 0:
        return potentials.flatten(1).sum(1)
    read = read_steps(tuple(steps))
    if normalized and semiring is LOG:
        mask = None
    value = log_scan(start, tuple(transitions), potentials, read, mask, tuple(map(tuple, openings)), semiring)
    return value if mask is None else without_sites(value, start, mask)


def without_sites(value: Tensor, start: Tensor, mask: Tensor) -> Tensor:
    """The value, with log sum exp(start) for rows without a real site: nothing there is maximised, drawn or counted."""
    nothing = log_sum_exp(start.flatten(1), 1).expand(value.shape)
    return torch.where(mask.any(1), value, nothing)
