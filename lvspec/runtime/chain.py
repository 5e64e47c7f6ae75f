"""log sum_{s_0..s_T} start(s_0) prod_t step(s_t | s_{t-1}) prod_t potential_t(s_t), exactly, in one pass over t.

Three programs for one sum, and the first that is certain to be right is taken: scaled probabilities in the inputs'
precision, scaled probabilities in float64, the log domain.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.chain_log import log_gradient, log_messages, log_scan
from lvspec.runtime.chain_scaled import Program, Scan, scaled_gradient, scaled_scan
from lvspec.runtime.chain_steps import Step, is_simple, program_of, read_steps
from lvspec.runtime.semiring import LOG, full_precision, log_sum_exp, plain_arithmetic


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
    factors = [tuple(full_precision(f) for f in row) for row in (*openings, transitions)]
    if start.dim() == potentials.dim() - 2:
        start = start.unsqueeze(0)
    if potentials.shape[1] == 0:
        return potentials.flatten(1).sum(1)
    read = read_steps(tuple(steps))
    if start.shape[1:] != potentials.shape[2:]:  # axes of one, where a tensor does not depend on that state
        states = torch.broadcast_shapes(start.shape[1:], potentials.shape[2:])
        start, potentials = start.expand(-1, *states), potentials.expand(-1, -1, *states)
    if semiring is LOG and normalized:
        mask = None  # the sites beyond a length sum to one
    if semiring is not LOG or potentials.device.type != "cpu" or potentials.shape[0] == 0:
        value = log_scan(start, potentials, mask, factors, read, semiring)
        return value if mask is None or semiring is LOG else without_sites(value, start, mask)
    with plain_arithmetic(potentials):
        sizes = dict(zip(read[0].message, potentials.shape[2:], strict=True))
        if not is_simple(read):
            read, factors = program_of(read, factors, sizes)
        for step, factor in zip(read, factors[-1], strict=True):
            sizes.update(named_sizes(step, factor))
        program = Program(read, len(openings), normalized, tuple(sizes.items()))
        return ChainSum.apply(program, start, potentials, mask, *[f for row in factors for f in row])


def named_sizes(step: Step, factor: Tensor) -> tuple[tuple[str, int], ...]:
    """The state axes of a factor with their sizes."""
    shape = factor.shape[factor.dim() - len(step.factor) :]
    return tuple(zip(step.factor, shape, strict=True))


def without_sites(value: Tensor, start: Tensor, mask: Tensor) -> Tensor:
    """The value, with log sum exp(start) for rows without a real site: nothing there is maximised, drawn or counted."""
    nothing = log_sum_exp(start.flatten(1), 1).expand(value.shape)
    return torch.where(mask.any(1), value, nothing)


def certain_scan(
    program: Program, start: Tensor, potentials: Tensor, mask: Tensor | None, factors: list[Tensor]
) -> Scan | None:
    """The scaled forward pass in the first precision in which nothing is lost; None: only the log domain will do."""
    flat = potentials.transpose(0, 1).flatten(2)
    real = None if mask is None else mask.t()
    first = start.flatten(1)
    for dtype in dict.fromkeys((potentials.dtype, torch.float64)):
        scan = scaled_scan(program, first, flat, real, factors, dtype)
        if scan is not None:
            return scan
    return None


def rows_of_factors(program: Program, factors: list[Tensor]) -> list[tuple[Tensor, ...]]:
    """The factors, row by row: the openings', then the regular ones."""
    width = len(program.steps)
    return [tuple(factors[i : i + width]) for i in range(0, len(factors), width)]


class ChainSum(torch.autograd.Function):
    """log Z (B,) with the backward algorithm as its gradient."""

    @staticmethod
    def forward(ctx, program, start, potentials, mask, *factors):
        ctx.program, ctx.masked = program, mask is not None
        scan = certain_scan(program, start, potentials, mask, list(factors))
        kept = [start, potentials, *([mask] if ctx.masked else []), *factors]
        if scan is None:
            ctx.scaled, ctx.count = False, len(kept)
            messages = log_messages(start, potentials, mask, rows_of_factors(program, list(factors)), program.steps)
            ctx.save_for_backward(*kept, torch.stack(messages))
            return log_sum_exp(messages[-1].flatten(1), 1)
        ctx.scaled, ctx.count, ctx.zeros = True, len(kept), scan.zeros
        ctx.middles = len(scan.middles)
        ctx.save_for_backward(*kept, scan.messages, scan.scales, scan.shifts, *scan.middles, *scan.matrices)
        return scan.value.to(potentials.dtype)

    @staticmethod
    def backward(ctx, grad):
        saved = ctx.saved_tensors
        inputs, stored = saved[: ctx.count], saved[ctx.count :]
        start, potentials, *factors = inputs
        mask = factors.pop(0) if ctx.masked else None
        with plain_arithmetic(grad):
            if torch.is_grad_enabled():
                return (None, *differentiable_gradient(ctx.program, start, potentials, mask, factors, grad))
            rows = rows_of_factors(ctx.program, factors)
            if not ctx.scaled:
                d_start, d_potentials, d_rows = log_gradient(
                    stored[0], start, potentials, mask, rows, ctx.program.steps, grad
                )
                return None, d_start, d_potentials, None, *[d for row in d_rows for d in row]
            middles = list(stored[3 : 3 + ctx.middles])
            scan = Scan(grad, *stored[:3], middles, list(stored[3 + ctx.middles :]), ctx.zeros)
            return (None, *scaled_chain_gradient(ctx.program, scan, start, potentials, mask, factors, grad))


def scaled_chain_gradient(
    program: Program,
    scan: Scan,
    start: Tensor,
    potentials: Tensor,
    mask: Tensor | None,
    factors: list[Tensor],
    grad: Tensor,
) -> tuple[Tensor | None, ...]:
    """The scaled backward pass, in the inputs' shapes and precision: d start, d potentials, None (mask), d factors."""
    flat = potentials.transpose(0, 1).flatten(2)
    real = None if mask is None else mask.t()
    first, marginals, found = scaled_gradient(program, scan, flat, real, factors, grad)
    d_start = (first.sum(0, keepdim=True) if start.shape[0] == 1 else first).to(start.dtype)
    d_potentials = marginals.to(potentials.dtype).unflatten(2, potentials.shape[2:]).transpose(0, 1)
    return d_start.view(start.shape), d_potentials, None, *found


def differentiable_gradient(
    program: Program, start: Tensor, potentials: Tensor, mask: Tensor | None, factors: list[Tensor], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradient as a graph of its own, by the log-domain scan: for a second derivative."""
    with torch.enable_grad():
        rows = rows_of_factors(program, factors)
        value = log_scan(start, potentials, mask, rows, program.steps, LOG)
        wanted = [x for x in (start, potentials, *factors) if x.requires_grad]
        found = iter(torch.autograd.grad(value, wanted, grad, create_graph=True, allow_unused=True))
    d = [next(found) if x.requires_grad else None for x in (start, potentials, *factors)]
    return d[0], d[1], None, *d[2:]
