"""Segmentations of a sequence into segments with a state each: semi-Markov chains.

p(y) proportional to exp(start[k_1] + sum_i segment[t_i, l_i, k_i] + sum_{i>1} transition[k_{i-1}, k_i])

over y = (t_i, l_i, k_i)_i, segments of l_i + 1 <= L sites from t_i on that cover the sites 0 .. length - 1 in order
(Sarawagi & Cohen 2004; explicit-duration hidden Markov models, Ferguson 1980).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lvspec.runtime.segments_scaled import SegmentScan, scaled_segments, scaled_segments_gradient, windows_after
from lvspec.runtime.semiring import LOG, full_precision, plain_arithmetic
from lvspec.runtime.structured import Parts, Structured, widest


@dataclass(frozen=True)
class Segmentation(Structured):
    """Parts: segment (B, T, L, K); start (B or 1, K); transition (B or 1, K, K) of counts. lengths: (B) or None."""

    lengths: Tensor | None = None

    def parts_of(self, states: Tensor, begins: Tensor) -> Parts:
        """The parts of segmentations: the state of each site and whether a segment begins there, (..., B, T) both."""
        T, L, K = self.potentials["segment"].shape[1:]
        dtype = self.potentials["segment"].dtype
        real = self.real(states)
        first = begins & real
        sizes = segment_sizes(first, real)
        index = torch.where(first, (sizes - 1) * K + states, 0)
        segment = torch.zeros(*states.shape, L * K, dtype=dtype, device=states.device)
        segment.scatter_(-1, index.unsqueeze(-1), first.to(dtype).unsqueeze(-1))
        chosen = torch.nn.functional.one_hot(torch.where(real, states, 0), K).to(dtype) * first.unsqueeze(-1)
        before = torch.nn.functional.one_hot(torch.where(real, states, 0), K).to(dtype)[..., :-1, :]
        return {
            "segment": segment.unflatten(-1, (L, K)),
            "start": chosen[..., :1, :].sum(-2),
            "transition": torch.matmul(before.transpose(-1, -2), chosen[..., 1:, :]),
        }

    def segments_of(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """Each site's state, 0 beyond a length, and whether a segment begins there: (..., B, T) both."""
        chosen = parts["segment"].sum(-2)
        begins = chosen.sum(-1) > 0
        sites = torch.arange(begins.shape[-1], device=begins.device)
        latest = torch.where(begins, sites, 0).cummax(-1).values
        states = chosen.argmax(-1).gather(-1, latest)
        return states.masked_fill(~self.real(states), 0), begins

    def real(self, like: Tensor) -> Tensor:
        """Which sites lie within the lengths, as wide as `like` (..., B, T)."""
        sites = torch.arange(like.shape[-1], device=like.device)
        inside = sites >= 0 if self.lengths is None else sites < self.lengths.unsqueeze(-1)
        return inside.expand(like.shape)


def segment_sizes(begins: Tensor, real: Tensor) -> Tensor:
    """For each site the number of real sites from it to where the next segment begins: (..., T)."""
    sites = torch.arange(begins.shape[-1] + 1, device=begins.device)
    length = real.sum(-1, keepdim=True)
    following = torch.where(begins[..., 1:], sites[1:-1], length)
    following = torch.cat([following, length], -1) if begins.shape[-1] else following[..., :0]
    return following.flip(-1).cummin(-1).values.flip(-1) - sites[:-1]


def segmentation(segment: Tensor, start: Tensor, transition: Tensor, lengths: Tensor | None = None) -> Segmentation:
    """The distribution over segmentations of lengths (B) sites; an example without sites has one, which is empty.

    segment: (B, T, L, K), the score of l + 1 sites from t on in state k; what ends beyond the length is not read.
    start: (K) or (B or 1, K). transition: (K, K) or (B or 1, K, K); -inf forbids, equal neighbours for instance.
    """
    start = start.unsqueeze(0) if start.dim() == 1 else start
    transition = transition.unsqueeze(0) if transition.dim() == 2 else transition
    potentials = {"segment": segment, "start": start, "transition": transition}
    rows = max(*(p.shape[0] for p in potentials.values()), 0 if lengths is None else lengths.shape[0])
    return Segmentation(
        partial(segmentations_sum, lengths=lengths),
        potentials,
        rows,
        partial(segmentations_log_partition, rows=rows, lengths=lengths),
        lengths=lengths,
    )


# ------------------------------------------------------------ any semiring
def segmentations_sum(semiring, potentials: Parts, lengths: Tensor | None) -> Tensor:
    """The sum over segmentations, (..., B): what ends before site t, from what began at the L sites before it."""
    T, L, K = potentials["segment"].shape[1:]
    start, transition = semiring.lift(potentials["start"]), semiring.lift(potentials["transition"])
    ending = semiring.lift(by_end(potentials["segment"], lengths)).unbind(-3)
    nothing = semiring.lift(potentials["segment"].new_zeros(potentials["segment"].shape[0]))
    begins, totals = [start], [nothing]
    for t in range(1, T + 1):
        before = torch.stack(torch.broadcast_tensors(*reversed(begins[-L:])), -2)
        joined = semiring.times(before, ending[t - 1][..., : before.shape[-2], :])
        ends = semiring.sum(joined, -2)
        totals.append(semiring.sum(ends, -1))
        begins.append(semiring.sum(semiring.times(ends.unsqueeze(-1), transition), -2))
    if lengths is None:
        return totals[-1]
    every = torch.stack(torch.broadcast_tensors(*totals), -1)
    return (
        every.expand(*every.shape[:-2], lengths.shape[0], T + 1)
        .gather(-1, lengths.unsqueeze(-1).expand(*every.shape[:-2], -1, 1))
        .squeeze(-1)
    )


def by_end(segment: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T, L, K): the score of l + 1 sites up to and with t; -inf where they begin before 0 or end beyond a length."""
    T, L, K = segment.shape[1:]
    sites = torch.arange(T, device=segment.device)
    first = sites.unsqueeze(-1) - torch.arange(L, device=segment.device)
    inside = (first >= 0).unsqueeze(0)
    if lengths is not None:
        inside = inside & (sites < lengths.unsqueeze(-1)).unsqueeze(-1)
    index = first.clamp(min=0) * L + torch.arange(L, device=segment.device)
    moved = segment.flatten(1, 2)[:, index.flatten()].unflatten(1, (T, L))
    return torch.where(inside.unsqueeze(-1), moved, -torch.inf)


# ------------------------------------------------------------ the log semiring
def segmentations_log_partition(potentials: Parts, rows: int, lengths: Tensor | None) -> Tensor:
    """log Z (B), in scaled probability space where that is certain to be right, else in the log domain."""
    segment, start, transition = (full_precision(potentials[n]) for n in ("segment", "start", "transition"))
    T, L, K = segment.shape[1:]
    if T == 0:
        return segment.flatten(1).sum(1)
    if segment.device.type != "cpu" or torch.compiler.is_compiling():
        return log_domain_sum(segment, start, transition, lengths).expand(rows)
    lengths = torch.full((rows,), T) if lengths is None else lengths
    return SegmentationsSum.apply(segment.expand(rows, T, L, K), start, transition, lengths)


def log_domain_sum(segment: Tensor, start: Tensor, transition: Tensor, lengths: Tensor | None) -> Tensor:
    """log Z (B) by the program, in float64."""
    potentials = {"segment": widest(segment), "start": widest(start), "transition": widest(transition)}
    with plain_arithmetic(segment):
        return segmentations_sum(LOG, potentials, lengths).to(segment.dtype)


class SegmentationsSum(torch.autograd.Function):
    """log Z (B): scaled in the inputs' precision, else scaled in float64, else in the log domain, and its gradient."""

    @staticmethod
    def forward(ctx, segment, start, transition, lengths):
        ctx.save_for_backward(segment, start, transition, lengths)
        ctx.scan = None
        by_site = segment.permute(1, 2, 0, 3)
        for dtype in dict.fromkeys((segment.dtype, torch.float64)):
            ctx.scan = scaled_segments(by_site, start, transition, lengths, dtype)
            if ctx.scan is not None:
                return ctx.scan.value.to(segment.dtype)
        return log_domain_sum(segment, start, transition, lengths).to(segment.dtype)

    @staticmethod
    def backward(ctx, grad):
        segment, start, transition, lengths = ctx.saved_tensors
        if ctx.scan is None or torch.is_grad_enabled():
            return *program_gradient(segment, start, transition, lengths, grad), None
        scan: SegmentScan = ctx.scan
        d_segment, d_start, d_transition = scaled_segments_gradient(scan, lengths, grad)
        d_start = d_start.sum(0, keepdim=True) if start.shape[0] == 1 else d_start
        return (
            d_segment.permute(2, 0, 1, 3).to(segment.dtype),
            d_start.to(start.dtype),
            d_transition.to(start.dtype),
            None,
        )


def program_gradient(segment: Tensor, start: Tensor, transition: Tensor, lengths: Tensor, grad: Tensor):
    """The gradient by the program in the log domain; a graph of its own where gradients are on."""
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        inputs = [
            x if differentiable and x.requires_grad else x.detach().requires_grad_()
            for x in (segment, start, transition)
        ]
        value = log_domain_sum(*inputs, lengths)
        return torch.autograd.grad(value, inputs, grad, create_graph=differentiable, allow_unused=True)


# ------------------------------------------------------------ potentials
def token_segments(token: Tensor, length: Tensor) -> Tensor:
    """segment[t, l, k] = sum_{i=0..l} token[t + i, k] + length[k, l]: (B, T, L, K). token: (B, T, K); length: (K, L)."""
    by_site = token.transpose(0, 1).contiguous()
    sums = WindowSums.apply(by_site, length.shape[-1]).add_(length.t().unsqueeze(1))
    return sums.permute(2, 0, 1, 3)


def token_windows(x: Tensor, size: int) -> Tensor:
    """The inputs of a network that begins anew at every site: x (B, T, ...) -> (B, T, size, ...), a view; 0 past the end."""
    padded = torch.cat([x, x.new_zeros(x.shape[0], size - 1, *x.shape[2:])], 1)
    return windows_after(padded.transpose(0, 1), 0, x.shape[1], size).movedim(2, 0)


class WindowSums(torch.autograd.Function):
    """x (T, ...) -> y (T, L, ...): y[t, l] = sum_{i=0..l} x[t + i], 0 past the end. Sums of few, not differences of
    sums of many, which would cancel."""

    @staticmethod
    def forward(ctx, x, size):
        T = x.shape[0]
        y = x.new_empty(T, size, *x.shape[1:])
        y[:, 0] = x
        for i in range(1, size):
            y[:, i] = y[:, i - 1]
            y[: max(T - i, 0), i] += x[i:]
        return y

    @staticmethod
    def backward(ctx, grad):
        return WindowSpread.apply(grad), None


class WindowSpread(torch.autograd.Function):
    """The transpose of WindowSums: y (T, L, ...) -> x (T, ...), x[t + i] = sum over y[t, l], l >= i."""

    @staticmethod
    def forward(ctx, y):
        T, ctx.size = y.shape[:2]
        x, running = torch.zeros_like(y[:, 0]), torch.zeros_like(y[:, 0])
        for i in reversed(range(ctx.size)):
            running += y[:, i]
            x[i:] += running[: max(T - i, 0)]
        return x

    @staticmethod
    def backward(ctx, grad):
        return WindowSums.apply(grad, ctx.size)
