"""A chain's sum with the backward algorithm as its gradient.

Three programs for one sum, and the first that is certain to be right is taken: scaled probabilities in the inputs'
precision, scaled probabilities in float64, the log domain.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lvspec.runtime.chains.log import log_gradient, log_messages, log_scan
from lvspec.runtime.chains.scaled import ChainProgram, Scan, scaled_gradient, scaled_scan
from lvspec.runtime.chains.two_way import BothWays, both_gradient, both_ways
from lvspec.runtime.core.semiring import LOG, apart, log_sum_exp, plain_arithmetic


def certain_scan(
    program: ChainProgram,
    start: Tensor,
    potentials: Tensor,
    mask: Tensor | None,
    factors: list[Tensor],
    parallel: bool = True,
) -> Scan | None:
    """The scaled forward pass in the first precision in which nothing is lost; None: only the log domain will do.

    Looking whether something was lost would make an accelerator wait: there it is the log domain at once.
    """
    if potentials.device.type != "cpu" or potentials.shape[0] == 0:
        return None
    flat = potentials.transpose(0, 1).flatten(2)
    real = None if mask is None else mask.t()
    first = start.flatten(1)
    for dtype in dict.fromkeys((potentials.dtype, torch.float64)):
        scan = scaled_scan(program, first, flat, real, factors, dtype, parallel)
        if scan is not None:
            return scan
    return None


def rows_of_factors(program: ChainProgram, factors: list[Tensor]) -> list[tuple[Tensor, ...]]:
    """The factors, row by row: the openings', then the regular ones."""
    width = len(program.steps)
    return [tuple(factors[i : i + width]) for i in range(0, len(factors), width)]


def chain_forward(
    program: ChainProgram,
    start: Tensor,
    potentials: Tensor,
    mask: Tensor | None,
    factors: list[Tensor],
    differentiated: bool = False,
) -> tuple[Tensor, Scan | BothWays | None, list[Tensor]]:
    """log Z, and what a backward pass needs: a scan, or the messages in the log domain."""
    if differentiated and mask is None and potentials.device.type == "cpu":
        both = both_ways(program, start.flatten(1), potentials.transpose(0, 1).flatten(2), factors)
        if both is not None:
            return both.value, both, []
    scan = certain_scan(program, start, potentials, mask, factors)
    if scan is not None:
        return scan.value.to(potentials.dtype), scan, []
    messages = log_messages(start, potentials, mask, rows_of_factors(program, factors), program.steps)
    value = log_sum_exp(messages[-1].flatten(1), 1).to(potentials.dtype)
    return value, None, [torch.stack(messages)]


def chain_backward(
    program: ChainProgram,
    scan: Scan | BothWays | None,
    messages: list[Tensor],
    inputs: tuple[Tensor, Tensor, Tensor | None, list[Tensor]],
    grad: Tensor,
    posterior: Tensor | None = None,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """d log Z / d (start, potentials, factors), in their shapes and precision; inputs: start, potentials, mask, factors."""
    start, potentials, mask, factors = inputs
    if isinstance(scan, BothWays):
        gradients: Any = both_gradient(program, scan, factors, grad)
        if gradients is None:
            _, scan, messages = chain_forward(program, start, potentials, mask, factors)
    if scan is None:
        rows = rows_of_factors(program, factors)
        d_start, d_potentials, found = log_gradient(
            messages[0], start, potentials, mask, rows, program.steps, grad, posterior
        )
        flat = [d.to(f.dtype) for d, f in zip([d for row in found for d in row], factors, strict=True)]
        return d_start.to(start.dtype), d_potentials.to(potentials.dtype), flat
    if isinstance(scan, Scan):
        real = None if mask is None else mask.t()
        gradients = scaled_gradient(program, scan, real, factors, grad, posterior)
    first, marginals, found = gradients
    d_start = (first.sum(0, keepdim=True) if start.shape[0] == 1 else first).to(start.dtype)
    d_potentials = marginals.to(potentials.dtype).view(*marginals.shape[:2], *potentials.shape[2:]).transpose(0, 1)
    return d_start.view(start.shape), d_potentials, found


class ChainSum(torch.autograd.Function):
    """log Z (B,) with the backward algorithm as its gradient, which uses up what the forward pass left."""

    @staticmethod
    def forward(ctx, program, start, potentials, mask, *factors):
        ctx.program = program
        ctx.save_for_backward(start, potentials, mask, *factors)
        start, potentials, *parts = (x.detach() for x in (start, potentials, *factors))  # views are not recorded
        value, *ctx.left = chain_forward(program, start, potentials, mask, parts, any(ctx.needs_input_grad))
        return value

    @staticmethod
    def backward(ctx, grad):
        start, potentials, mask, *factors = ctx.saved_tensors
        with plain_arithmetic(grad):
            if torch.is_grad_enabled():
                return (None, *chain_gradient_graph(ctx.program, start, potentials, mask, factors, grad))
            scan, messages = ctx.left or chain_forward(ctx.program, start, potentials, mask, factors, True)[1:]
            ctx.left = None
            inputs = (start, potentials, mask, factors)
            d_start, d_potentials, found = chain_backward(ctx.program, scan, messages, inputs, grad)
            return None, d_start, d_potentials, None, *found


def chain_gradient_graph(
    program: ChainProgram, start: Tensor, potentials: Tensor, mask: Tensor | None, factors: list[Tensor], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradient as a graph of its own, by the log-domain scan: for a second derivative."""
    with torch.enable_grad():
        start, potentials, *factors = apart(start, potentials, *factors)
        rows = rows_of_factors(program, factors)
        value = log_scan(start, potentials, mask, rows, program.steps, LOG)
        wanted = [x for x in (start, potentials, *factors) if x.requires_grad]
        found = iter([torch.zeros_like(x) for x in wanted])  # of one site no transition is read
        if value.requires_grad:
            found = iter(torch.autograd.grad(value, wanted, grad, create_graph=True, allow_unused=True))
    d = [next(found) if x.requires_grad else None for x in (start, potentials, *factors)]
    return d[0], d[1], None, *d[2:]
