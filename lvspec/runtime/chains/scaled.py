"""A chain's sum and its gradient in scaled probability space: matrix products, forward and backward.

    u_t = step(alpha_{t-1}),  alpha_t = u_t p_t / c_t,  log Z = sum_t log c_t + what was subtracted in logs
    beta_{t-1} = step'(p_t beta_t / c_t),  d log Z / d log p_t = alpha_t beta_t

What is lost where p_t underflows is at most 1e-38 / c_t of alpha_t (float32); where every u is so large that this does
not matter beside it, each message is right entry by entry, and so is the sum. That is checked, not hoped for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from math import isfinite, log, prod

import torch
from torch import Tensor

from lvspec.runtime.chains.blocked import Blocks, backward_in_blocks, blocks_for, forward_in_blocks
from lvspec.runtime.chains.steps import MatrixProduct, Step, factor_of, matrix_of, places, product_of, renews, repeated
from lvspec.runtime.core.workspace import Sites, borrowed, give_back, is_small

# c_{t-1} u_t must not fall below FLOOR at any site and state; where every arc is at least DENSE, it cannot
FLOOR = {torch.float32: 1e-28, torch.float64: 1e-290}
DENSE = {torch.float32: 1e-9, torch.float64: 1e-90}
# what underflows is at most 1e-8 (1e-18) of a sum that has shrunk by so many nats
RUN_NATS = {torch.float32: 68.0, torch.float64: 600.0}


@dataclass(frozen=True)
class ChainProgram:
    """A chain without its numbers: the steps, the number of openings, whether factors sum to one."""

    steps: tuple[Step, ...]
    openings: int
    normalized: bool
    sizes: tuple[tuple[str, int], ...]

    @cached_property
    def products(self) -> tuple[MatrixProduct, ...]:
        return tuple(product_of(step, self.sizes) for step in self.steps)

    @cached_property
    def turns(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of a program that is one product with one matrix: from the factor's axes to the matrix's, and back."""
        letters, order = self.steps[0].factor, self.products[0].summed + self.products[0].new
        return places(letters, order), places(order, letters)


def program_for(steps: tuple[Step, ...], openings: int, normalized: bool, potentials: Tensor, factors) -> ChainProgram:
    """The program of simplified steps for tensors of these sizes; factors: the regular ones."""
    sizes = dict(zip(steps[0].message, potentials.shape[2:], strict=True))
    for step, factor in zip(steps, factors, strict=True):
        sizes.update(zip(step.factor, factor.shape[factor.dim() - len(step.factor) :], strict=True))
    return remembered_program(steps, openings, normalized, tuple(sizes.items()))


@cache
def remembered_program(*fields) -> ChainProgram:
    """One program for each set of fields: its products are worked out once."""
    return ChainProgram(*fields)


@dataclass
class Scan:
    """A forward pass that passed the check. messages (T, B, S) sum to one where they were scaled; arriving: p_t / c_t,
    which the backward pass overwrites; middles: between the steps of one site.

    matrices: for each row of factors (openings, then the regular ones), one for each step. zeros: some states cannot
    be reached, so what comes back from them must not be read.
    """

    value: Tensor
    messages: Sites
    arriving: Sites
    middles: list[Sites]
    matrices: list[Tensor]
    zeros: bool
    blocks: Blocks | None = None  # the sites whose messages were computed side by side
    transfers: Tensor | None = None  # of each of these blocks


def exponentials(program: ChainProgram, factors: list[Tensor], dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor]]:
    """exp(factor - shift) as matrices (T or 1, B or 1, kept, rows, columns), and the shifts (T or 1, B or 1)."""
    matrices, shifts = [], []
    for i, factor in enumerate(factors):
        step, product = program.steps[i % len(program.steps)], program.products[i % len(program.steps)]
        matrix = matrix_of(factor.to(dtype), step, product)
        if program.normalized:
            shifts.append(matrix.new_zeros(1, 1))
            matrices.append(matrix.exp())
            continue
        top = matrix.amax((2, 3, 4), keepdim=True)
        top.masked_fill_(top == -torch.inf, 0.0)
        shifts.append(top[:, :, 0, 0, 0])
        matrices.append((matrix - top).exp_())
    return matrices, shifts


def site_matrices(program: ChainProgram, matrices: list[Tensor], step: int, extent: int) -> list[tuple[Tensor, int]]:
    """The matrices of one step for t = 1 .. extent - 1, with the number of sites in a row that use each."""
    found = []
    for row in range(program.openings + 1):
        first, after = row + 1, extent if row == program.openings else min(row + 2, extent)
        matrix = matrices[row * len(program.steps) + step]
        if matrix.shape[0] > 1:
            found += [(m, 1) for m in matrix[first:after]]
        elif first < after:
            found.append((matrix[0], after - first))
    return found


def total_shift(program: ChainProgram, shifts: list[Tensor], extent: int, real: Tensor | None) -> Tensor | float:
    """What was subtracted from the factors' logs along the real sites: (B) or (1)."""
    if program.normalized or extent < 2:
        return 0.0
    total: Tensor | float = 0.0
    for row in range(program.openings + 1):
        first, after = row + 1, extent if row == program.openings else min(row + 2, extent)
        if first >= after:
            continue
        for shift in shifts[row * len(program.steps) : (row + 1) * len(program.steps)]:
            along = shift[first:after] if shift.shape[0] > 1 else shift.expand(after - first, -1)
            total = total + (along if real is None else along * real[first:after]).sum(0)
    return total


def first_message(start: Tensor, potential: Tensor, real: Tensor | None) -> Tensor:
    """log start + log potential at site 0, (B, S); start alone where that site is not real."""
    first = potential + start
    return first if real is None else torch.where(real[0].unsqueeze(-1), first, start)


def scaled_scan(
    program: ChainProgram,
    start: Tensor,
    potentials: Tensor,
    real: Tensor | None,
    factors: list[Tensor],
    dtype: torch.dtype,
    parallel: bool = True,
) -> Scan | None:
    """The forward pass in `dtype`, or None where it may have lost mass. start (1 or B, S), potentials and real (T, B, ...)."""
    T, B, S = potentials.shape
    matrices, factor_shifts = exponentials(program, factors, dtype)
    density = least_arc(program, matrices)
    dense = density >= DENSE[dtype]
    simple = parallel and dense and real is None and is_hmm(program, matrices)
    blocks = blocks_for(T, B, S) if simple else None
    extent = T if blocks is None else blocks.head + 1  # sites that come one after the other
    arriving = buffer(T, extent, B, S, dtype, potentials.device)
    p, shifts = arriving.values, likelihoods(start, potentials, real, arriving.values)
    every = sites_between_scales(density, S, dtype) if dense and real is None else 1
    first = (extent - 2) % every + 1  # the last site is scaled, every so many sites before it, and site 0
    scales = p.new_empty(1 + len(range(first, extent, every)), B, 1)
    messages = buffer(T, extent, B, S, dtype, p.device)
    pushed = messages.after_first if dense else Sites.of(torch.empty_like(p[1:]))
    middles = [borrowed(T - 1, B, q.extent(q.output), dtype=dtype, device=p.device) for q in program.products[:-1]]
    forward_sites(program, matrices, arriving, messages, middles, pushed, scales, real, every)
    p[first:extent:every].div_(scales[1:])
    value = scales.log().sum((0, 2), dtype=torch.float64) + shifts.sum((0, 2), dtype=torch.float64)
    products = None
    if blocks is not None:
        logs, products = forward_in_blocks(blocks, matrices[0][0, 0, 0], p, messages.values, every)
        value = value + logs
    if not program.normalized:
        value = value + total_shift(program, factor_shifts, T, real)
    if not isfinite(least(value)):
        return None
    zeros = False
    if not dense and B and T > 1:
        before = scales[:-1]
        zeros = least(pushed.values.amin(-1, keepdim=True) * before) < FLOOR[dtype]
        if zeros and lost(pushed.values * before < FLOOR[dtype], reach(program, start, potentials, real, factors)):
            return None
    return Scan(value, messages, arriving, middles, matrices, zeros, blocks, products)


def is_hmm(program: ChainProgram, matrices: list[Tensor]) -> bool:
    """Whether every step is a product of the whole message with one matrix."""
    return len(matrices) == 1 and program.products[0].around == (1, 1) and matrices[0].shape[:2] == (1, 1)


def buffer(T: int, extent: int, B: int, width: int, dtype: torch.dtype, device: torch.device) -> Sites:
    """(T, B, width), of which the first `extent` rows are taken apart."""
    if extent == T:
        return borrowed(T, B, width, dtype=dtype, device=device)
    values = torch.empty(T, B, width, dtype=dtype, device=device)
    return Sites(values, values[:extent].unbind(0))


def least(values: Tensor) -> float:
    """The least entry, NaN where there is one. Whatever the guard against lost mass knows, it knows from here."""
    return float(values.amin())


def lost(low: Tensor, reachable: Tensor) -> bool:
    """Whether any entry that should not be zero is too low to be trusted."""
    return bool(low.logical_and_(reachable).any())


def forward_sites(
    program: ChainProgram,
    matrices: list[Tensor],
    arriving: Sites,
    messages: Sites,
    middles: list[Sites],
    pushed: Sites,
    scales: Tensor,
    real: Tensor | None,
    every: int,
) -> None:
    """The loop over sites: products, likelihood, at every so many sites and the last one scale.

    Few dispatches count more here than few operations.
    """
    heres, afters, cs = arriving.rows, messages.rows, iter(scales.unbind(0))
    c = next(cs)
    torch.sum(heres[0], -1, keepdim=True, out=c)
    torch.div(heres[0], c, out=afters[0])
    buffers = [messages.before_last, *middles, pushed]
    calls = [
        product.calls(buffers[i], buffers[i + 1], site_matrices(program, matrices, i, len(afters)), False)
        for i, product in enumerate(program.products)
    ]
    left = len(heres) - 1
    if real is None and len(calls) == 1:
        operation, *operands = calls[0]
        for a, b, result, u, here, after in zip(*operands, pushed.rows, heres[1:], afters[1:], strict=True):
            operation(a, b, out=result)
            torch.mul(u, here, out=after)
            left -= 1
            if left % every == 0:
                c = next(cs)
                torch.sum(after, -1, keepdim=True, out=c)
                after.div_(c)
        return
    whole = [True] * len(heres) if real is None else real.all(1).tolist()
    for t, (u, here, after) in enumerate(zip(pushed.rows, heres[1:], afters[1:], strict=True)):
        for operation, lefts, rights, results in calls:
            operation(lefts[t], rights[t], out=results[t])
        torch.mul(u, here, out=after)
        if real is not None and not whole[t + 1]:
            after.copy_(torch.where(real[t + 1].unsqueeze(-1), after, afters[t]))
        left -= 1
        if left % every == 0:
            c = next(cs)
            torch.sum(after, -1, keepdim=True, out=c)
            after.div_(c)


def backward_sites(
    program: ChainProgram,
    matrices: list[Tensor],
    arriving: Sites,
    middles: list[Sites],
    betas: Sites,
    real: Tensor | None,
) -> None:
    """The loop back: w_t becomes w_t beta_t, and its product with the transposed matrices beta_{t-1}."""
    rows, columns = arriving.rows[1:], betas.rows
    buffers = [betas.before_last, *middles, arriving.after_first]
    calls = [
        product.reverse.calls(buffers[i + 1], buffers[i], site_matrices(program, matrices, i, len(columns)), True)
        for i, product in reversed(list(enumerate(program.products)))
    ]
    if real is None and len(calls) == 1:
        operation, *operands = calls[0]
        backwards = [reversed(x) for x in (*operands, rows, columns[1:])]
        for left, right, result, row, column in zip(*backwards, strict=True):
            row.mul_(column)
            operation(left, right, out=result)
        return
    whole = [True] * len(columns) if real is None else real.all(1).tolist()
    for t in range(len(rows) - 1, -1, -1):
        rows[t].mul_(columns[t + 1])
        for operation, lefts, rights, results in calls:
            operation(lefts[t], rights[t], out=results[t])
        if real is not None and not whole[t + 1]:
            columns[t].copy_(torch.where(real[t + 1].unsqueeze(-1), columns[t], columns[t + 1]))


def least_arc(program: ChainProgram, matrices: list[Tensor]) -> float:
    """The least way from a state to another one in one step, beside the largest arc; 0 where there is none."""
    width = len(program.steps)
    if not renews(program.steps) or any(m.numel() == 0 for m in matrices):
        return 0.0
    lowest = [least(m) for m in matrices]
    return min(prod(lowest[i : i + width]) for i in range(0, len(lowest), width))


def sites_between_scales(density: float, states: int, dtype: torch.dtype) -> int:
    """After how many sites messages must be scaled: one site shrinks a sum by `density` at most, and grows it by `states`.

    An entry is at least `density` of the sum, in what begins at one state once more; as many as there are may be lost.
    """
    growth, shrinking = log(max(states, 2)), -log(density)
    return max(1, min(16, int((RUN_NATS[dtype] - growth - 2 * shrinking) / max(growth, shrinking))))


def likelihoods(start: Tensor, potentials: Tensor, real: Tensor | None, out: Tensor) -> Tensor:
    """p (T, B, S) with max 1 over the states, the start within site 0; gives the logs (T, B, 1) that were subtracted."""
    shifts = potentials.amax(-1, keepdim=True)
    first = first_message(start, potentials[0], real)
    shifts[0] = first.amax(-1, keepdim=True)
    if real is not None:
        shifts[1:].masked_fill_(~real[1:].unsqueeze(-1), 0.0)
    torch.sub(potentials, shifts, out=out)
    torch.sub(first, shifts[0], out=out[0])
    out.exp_()
    return shifts


def reach(
    program: ChainProgram, start: Tensor, potentials: Tensor, real: Tensor | None, factors: list[Tensor]
) -> Tensor:
    """Which entries of u_1 .. u_{T-1} are not exactly zero: (T - 1, B or 1, S) bool."""
    T = potentials.shape[0]
    arcs = [
        (
            matrix_of(factor, program.steps[i % len(program.steps)], program.products[i % len(program.steps)])
            > -torch.inf
        )
        for i, factor in enumerate(factors)
    ]
    arcs = [a.float() for a in arcs]
    allowed = potentials > -torch.inf
    shared = start.shape[0] == 1 and all(a.shape[1] == 1 for a in arcs)
    if real is None and shared and bool(allowed.all()):
        allowed = allowed[:, :1]  # the same for every row
    now = (start > -torch.inf) & allowed[0] if real is None else first_message(start, potentials[0], real) > -torch.inf
    ways = [repeated(site_matrices(program, arcs, i, T)) for i in range(len(program.steps))]
    found = []
    for t in range(1, T):
        x = now.float()
        for i, product in enumerate(program.products):
            x = (product.permuted(x, ways[i][t - 1]) > 0).float()
        found.append(x > 0)
        after = found[-1] & allowed[t]
        now = after if real is None else torch.where(real[t].unsqueeze(-1), after, now)
    return torch.stack(torch.broadcast_tensors(*found))


def last_push(program: ChainProgram, scan: Scan) -> Tensor:
    """u at the last site, (B, S)."""
    found, last = scan.messages.values[-2], len(scan.messages.values) - 1
    for i, product in enumerate(program.products):
        matrix = site_matrices(program, scan.matrices, i, last + 1)[-1][0]
        found = product.permuted(found, matrix)
    return found


def scaled_gradient(
    program: ChainProgram,
    scan: Scan,
    real: Tensor | None,
    factors: list[Tensor],
    grad: Tensor,
    posterior: Tensor | None = None,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """d log Z / d (first message, potentials, factors): (B, S), (T, B, S), and the factors' own shapes. Uses up the scan.

    posterior: of the last site (B, S), times grad, where the chain goes on behind it.
    """
    messages, w = scan.messages.values, scan.arriving.values[1:]
    if scan.zeros:  # unreachable states take no part, however likely what follows them
        w.masked_fill_(messages[1:] == 0, 0.0)
    if real is not None:
        w.masked_fill_(~real[1:].unsqueeze(-1), 0.0)
    T, B, S = messages.shape
    betas = buffer(T, len(scan.messages.rows), B, S, messages.dtype, messages.device)
    betas.values[-1].copy_(grad.unsqueeze(-1))  # the pass is linear: the incoming gradient goes with it
    if posterior is not None:  # w_T beta_T = posterior / u_T, and alpha_T may have underflowed
        pushed = last_push(program, scan)
        w[-1].copy_(torch.where(pushed > 0, posterior / pushed, 0.0))
        betas.values[-1].fill_(1.0)
        if real is not None:  # where nothing follows, what comes back is what came in
            w[-1].masked_fill_(~real[-1].unsqueeze(-1), 0.0)
            betas.values[-1].copy_(torch.where(real[-1], 1.0, grad).unsqueeze(-1))
    middles = [borrowed(*m.values.shape, dtype=messages.dtype, device=messages.device) for m in scan.middles]
    if scan.blocks is not None and scan.transfers is not None:
        arc = scan.matrices[0][0, 0, 0]
        backward_in_blocks(scan.blocks, arc, scan.transfers, messages, scan.arriving.values, betas.values)
    backward_sites(program, scan.matrices, scan.arriving, middles, betas, real)
    inputs, grads = [messages[:-1]], [w]
    if middles:
        inputs, grads = inputs + [m.values for m in scan.middles], [m.values for m in middles] + grads
    found = [factor_gradient(program, i, inputs, grads, scan.matrices[i], factor) for i, factor in enumerate(factors)]
    marginals = betas.values * messages if is_small(betas.values) else betas.values.mul_(messages)
    give_back(betas, scan.messages, scan.arriving, *scan.middles, *middles)
    if posterior is not None:
        marginals[-1].copy_(posterior)
    first = marginals[0].clone() if real is not None else marginals[0]
    if real is not None:
        marginals.masked_fill_(~real.unsqueeze(-1), 0.0)
    return first, marginals, found


def factor_gradient(
    program: ChainProgram, index: int, inputs: list[Tensor], grads: list[Tensor], matrix: Tensor, factor: Tensor
) -> Tensor:
    """d log Z / d log factor: one matrix product over all the sites where it was used."""
    width, extent = len(program.steps), inputs[0].shape[0]  # extent: steps into sites 1 ..
    row, i = divmod(index, width)
    product, step = program.products[i], program.steps[i]
    here = slice(row, min(row + 1, extent) if row < program.openings else extent)
    over_time, over_batch = matrix.shape[0] > 1, matrix.shape[1] > 1
    if here.start >= extent:
        return torch.zeros_like(factor)
    found = product.gradient(inputs[i][here], grads[i][here], over_time, over_batch)
    if over_time:  # entries at the sites that this row of factors does not lead into
        total = torch.zeros_like(matrix)
        total[here.start + 1 : here.stop + 1] = found
        found = total.mul_(matrix)
    else:
        found = found.mul_(matrix)
    return factor_of(found, factor, step, product).to(factor.dtype)
