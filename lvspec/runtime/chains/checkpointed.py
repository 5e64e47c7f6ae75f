"""A chain's sum in memory O(sqrt T): messages are kept where blocks of sites begin, the rest is computed twice.

    log Z = sum over blocks of the log-sum of a short chain, which starts at the message that the block before it left

The backward pass goes from the last block to the first and makes each one's messages again. What passes between blocks
is the message forward, in logs, and backward the posterior of the site that both know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from lvspec.runtime.chains.backward import certain_scan, chain_backward, rows_of_factors
from lvspec.runtime.chains.log import log_messages, log_scan
from lvspec.runtime.chains.scaled import ChainProgram, Scan, last_push, remembered_program
from lvspec.runtime.core.semiring import LOG, apart, full_precision, log_sum_exp, plain_arithmetic


@dataclass(frozen=True)
class SiteBlocks:
    """Log-potentials (B, sites, states) of a chain, computed for some sites at a time.

    potentials(batch, tilt): for the sites that these have. along: entries of the batch whose second axis is the sites,
    as it is of every tilt. inputs: what the potentials depend on and gradients are wanted of.
    """

    potentials: Callable[[dict, dict], Tensor]
    batch: dict
    tilt: dict
    along: tuple[str, ...]
    parameters: tuple[Tensor, ...]

    @property
    def sites(self) -> int:
        return self.batch[self.along[0]].shape[1]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(x for x in (*self.parameters, *self.tilt.values()) if x.requires_grad)

    def values(self, first: int, after: int) -> Tensor:
        """The potentials of sites first .. after - 1."""
        batch = {n: x[:, first:after] if n in self.along else x for n, x in self.batch.items()}
        return full_precision(self.potentials(batch, {n: x[:, first:after] for n, x in self.tilt.items()}))

    def whole(self) -> Tensor:
        return self.values(0, self.sites)

    def add_gradient(self, found: list[Tensor], values: Tensor, grad: Tensor, first: int, after: int) -> None:
        """Adds what comes back to some sites' potentials to the gradients of the inputs."""
        if values.requires_grad:
            slopes = torch.autograd.grad(values, self.inputs, grad, allow_unused=True)
            for total, slope in zip(found, slopes, strict=True):
                total += 0.0 if slope is None else slope


@dataclass(frozen=True)
class GivenBlocks:
    """The same of potentials (B, T, states) that are there as a whole."""

    tensor: Tensor

    @property
    def sites(self) -> int:
        return self.tensor.shape[1]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (self.tensor,)

    def values(self, first: int, after: int) -> Tensor:
        return self.tensor[:, first:after].detach()

    def whole(self) -> Tensor:
        return self.tensor

    def add_gradient(self, found: list[Tensor], values: Tensor, grad: Tensor, first: int, after: int) -> None:
        found[0][:, first:after] = grad


@dataclass(frozen=True)
class ChainBlock:
    """A part of a chain as a chain: from the second one on, its site 0 is the last site of the block before it."""

    program: ChainProgram
    factors: list[Tensor]
    mask: Tensor | None
    first: int
    after: int

    def with_site_before(self, values: Tensor) -> Tensor:
        """The potentials, with 0 at the site that the block before it has counted."""
        return torch.cat([torch.zeros_like(values[:, :1]), values], 1) if self.first else values

    def own(self, values: Tensor) -> Tensor:
        return values[:, 1:] if self.first else values


def blocks_of(program: ChainProgram, sites: int, mask: Tensor | None, factors: list[Tensor]) -> list[ChainBlock]:
    """About sqrt T blocks of sqrt T sites."""
    size = max(isqrt(sites), program.openings + 1, 2)
    return [block_of(program, first, min(first + size, sites), mask, factors) for first in range(0, sites, size)]


def block_of(program: ChainProgram, first: int, after: int, mask: Tensor | None, factors: list[Tensor]) -> ChainBlock:
    """Openings belong to the first block; factors that differ over sites are cut."""
    since, width = max(first - 1, 0), len(program.steps)
    cut = []
    for i, factor in enumerate(factors[program.openings * width if first else 0 :]):
        lead = program.steps[i % width].lead_of(factor)
        along = lead.find("T")
        cut.append(factor if along < 0 or factor.shape[along] == 1 else factor.narrow(along, since, after - since))
    fields = program.steps, 0 if first else program.openings, program.normalized, program.sizes
    real = None if mask is None else mask[:, since:after]
    if real is not None and first:  # the site before is taken as it is
        real = torch.cat([torch.ones_like(real[:, :1]), real[:, 1:]], 1)
    return ChainBlock(remembered_program(*fields), cut, real, first, after)


def forward_block(block: ChainBlock, start: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Scan | None, list[Tensor]]:
    """log Z of one block (B,), the log-message that it leaves (B, S), which sums to one, and what its gradient needs."""
    scan = certain_scan(block.program, start, values, block.mask, block.factors, parallel=False)
    if scan is None:
        rows = rows_of_factors(block.program, block.factors)
        messages = log_messages(start, values, block.mask, rows, block.program.steps)
        end, kept = messages[-1].flatten(1), [torch.stack(messages)]
        value = log_sum_exp(end, 1)
    else:
        kept, value = [], scan.value
        # an entry of the message may have underflowed where the potential is low: its log is exact before that
        end = last_push(block.program, scan).double().log() + values[:, -1].flatten(1)
        if block.mask is not None:
            end = torch.where(block.mask[:, -1:], end, scan.messages.values[-1].double().log())
    total = log_sum_exp(end, 1).unsqueeze(1)
    return value, end - total.masked_fill(total == -torch.inf, 0.0), scan, kept


class LeanSum(torch.autograd.Function):
    """log Z (B,) of a chain whose potentials come in blocks; tensors: factors, then the inputs of the blocks."""

    @staticmethod
    def forward(ctx, program, blocks, start, mask, count, *tensors):
        ctx.program, ctx.blocks, ctx.count = program, blocks, count
        states, total = start.shape[1:], torch.zeros(())
        parts = blocks_of(program, blocks.sites, mask, list(tensors[:count]))
        begun, ends = start, None
        for i, block in enumerate(parts):
            values = block.with_site_before(blocks.values(block.first, block.after).detach())
            value, end, _, _ = forward_block(block, begun, values)
            if ends is None:  # one tensor: small ones, made between large ones, would keep their memory apart
                ends = end.new_empty(len(parts), *end.shape)
            ends[i] = end
            begun = ends[i].unflatten(1, states)
            total = total + value
        ctx.starts = [start, *(end.unflatten(1, states) for end in (() if ends is None else ends[:-1]))]
        ctx.save_for_backward(start, mask, *tensors)
        return total.to(values.dtype)

    @staticmethod
    def backward(ctx, grad):
        start, mask, *tensors = ctx.saved_tensors
        factors, inputs = tensors[: ctx.count], tensors[ctx.count :]
        if torch.is_grad_enabled():  # for a second derivative, in the memory of the log-domain scan
            return whole_gradient(ctx.program, ctx.blocks, start, mask, factors, grad)
        d_factors, d_inputs = [torch.zeros_like(f) for f in factors], [torch.zeros_like(x) for x in inputs]
        whole = blocks_of(ctx.program, ctx.blocks.sites, mask, factors)
        parts = blocks_of(ctx.program, ctx.blocks.sites, mask, d_factors)  # views of the sums
        posterior = None
        with plain_arithmetic(grad):
            for block, part, begun in reversed(list(zip(whole, parts, ctx.starts, strict=True))):
                with torch.enable_grad():
                    here = ctx.blocks.values(block.first, block.after)
                values = block.with_site_before(here.detach())
                _, _, scan, kept = forward_block(block, begun, values)
                given = (begun, values, block.mask, block.factors)
                d_start, d_values, found = chain_backward(block.program, scan, kept, given, grad, posterior)
                for total, d in zip(part.factors, found, strict=True):
                    total += d
                ctx.blocks.add_gradient(d_inputs, here, block.own(d_values), block.first, block.after)
                posterior = d_start.flatten(1)
        return None, None, d_start, None, None, *d_factors, *d_inputs


def whole_gradient(
    program: ChainProgram,
    blocks: SiteBlocks | GivenBlocks,
    start: Tensor,
    mask: Tensor | None,
    factors: list[Tensor],
    grad: Tensor,
) -> tuple[Tensor | None, ...]:
    """The gradient as a graph of its own."""
    with torch.enable_grad():
        potentials = blocks.whole()
        start, whole, *factors = apart(start, potentials, *factors)
        value = log_scan(start, whole, mask, rows_of_factors(program, factors), program.steps, LOG)
        d_start, d_whole, *d_factors = differentiated(value, (start, whole, *factors), grad)
        d_inputs = differentiated(potentials, blocks.inputs, d_whole)
    return None, None, d_start, None, None, *d_factors, *d_inputs


def differentiated(value: Tensor, by: tuple[Tensor, ...], grad: Tensor | None) -> list[Tensor | None]:
    """grad . d value / d by, as a graph; None by what has no gradient."""
    wanted = [x for x in by if x.requires_grad]
    if grad is None or not value.requires_grad or not wanted:
        return [None for _ in by]
    found = iter(torch.autograd.grad(value, wanted, grad, create_graph=True, allow_unused=True))
    return [next(found) if x.requires_grad else None for x in by]
