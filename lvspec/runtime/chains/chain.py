"""log sum_{s_0..s_T} start(s_0) prod_t step(s_t | s_{t-1}) prod_t potential_t(s_t), exactly, in one pass over t."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.chains.backward import ChainSum
from lvspec.runtime.chains.checkpointed import GivenBlocks, LeanSum, SiteBlocks
from lvspec.runtime.chains.log import filtered_scan, log_scan
from lvspec.runtime.chains.operator import CHAIN_OPERATOR, program_text
from lvspec.runtime.chains.scaled import program_for
from lvspec.runtime.chains.steps import is_simple, program_of, read_steps
from lvspec.runtime.core.semiring import LOG, FilterSemiring, full_precision, log_sum_exp, plain_arithmetic


def chain(
    start: Tensor,
    transitions: Tensor | tuple[Tensor, ...],
    potentials: Tensor | SiteBlocks,
    steps: str | tuple[str, ...],
    mask: Tensor | None = None,
    openings: tuple[Tensor | tuple[Tensor, ...], ...] = (),
    semiring=LOG,
    normalized: bool = False,
    memory: str = "fast",
) -> Tensor:
    """log normaliser (B,) of a chain.

    start: (S1..Sm) or (B, S1..Sm). potentials: (B, T, S1..Sm), zero where masked. transitions: log factors, one for
    each step; steps: "i,ij->j", a factor's batch and time axes as capitals in front, "i,BTij->j". Of one step no tuples.
    openings: transitions for the steps into sites 1, 2, ... before the regular ones.
    mask (B, T): where it is false the message is kept. normalized: transitions sum to one over the new state.
    semiring: what summing means; the k best give (k, B).
    memory: "lean" keeps O(sqrt T) messages and computes the others twice; potentials may then come in blocks.
    """
    asked, semiring = semiring, semiring.entered()
    lean = memory == "lean" and semiring is LOG and not torch.compiler.is_compiling()
    blocks = potentials if lean and isinstance(potentials, SiteBlocks) and potentials.sites > 2 else None
    if isinstance(potentials, SiteBlocks):
        potentials = potentials.values(0, 1).detach() if blocks else potentials.whole()
    start, potentials = full_precision(start), full_precision(potentials)
    steps = (steps,) if isinstance(steps, str) else tuple(steps)
    rows = [(row,) if isinstance(row, Tensor) else row for row in (*openings, transitions)]
    factors = [tuple(full_precision(f) for f in row) for row in rows]
    if start.dim() == potentials.dim() - 2:
        start = start.unsqueeze(0)
    if 0 in potentials.shape[1:]:  # without a state nothing is possible, without a site nothing is summed
        nothing = potentials.flatten(1).sum(1)
        return asked.left(semiring.lift(nothing - torch.inf if 0 in potentials.shape[2:] else nothing))
    if start.shape[1:] != potentials.shape[2:]:  # axes of one, where a tensor does not depend on that state
        states = torch.broadcast_shapes(start.shape[1:], potentials.shape[2:])
        start, potentials = start.expand(-1, *states), potentials.expand(-1, -1, *states)
    if semiring is LOG and normalized:
        mask = None  # the sites beyond a length sum to one
    if isinstance(semiring, FilterSemiring):
        semiring.refuse_chains(start, potentials, *(f for row in factors for f in row))
        return semiring.passed(filtered_scan(start, potentials, mask, factors, read_steps(steps)))
    if semiring is not LOG:
        value = log_scan(start, potentials, mask, factors, read_steps(steps), semiring)
        return asked.left(value if mask is None else without_sites(value, start, mask, semiring))
    read = read_steps(steps)
    with plain_arithmetic(potentials):
        if not is_simple(read):
            sizes = [dict(zip(axes, potentials.shape[2:], strict=True)) for axes in (read[0].message, read[-1].output)]
            read, factors = program_of(read, factors, sizes[0] | sizes[1])
        flat = [f for row in factors for f in row]
        if torch.compiler.is_compiling():
            return CHAIN_OPERATOR(start, potentials, mask, flat, program_text(read, len(openings), normalized))
        program = program_for(read, len(openings), normalized, potentials, factors[-1])
        if lean and (blocks or potentials.shape[1] > 2):
            own = blocks or GivenBlocks(potentials)
            return LeanSum.apply(program, own, start, mask, len(flat), *flat, *own.inputs)
        return ChainSum.apply(program, start, potentials, mask, *flat)


def without_sites(value: Tensor, start: Tensor, mask: Tensor, semiring) -> Tensor:
    """The value, with log sum exp(start) for rows without a real site: nothing there is maximised, drawn or counted."""
    nothing = semiring.lift(log_sum_exp(start.flatten(1), 1).detach())
    return torch.where(mask.any(1), value, nothing)
