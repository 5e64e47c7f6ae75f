"""log Z of segmentations with an explicit backward pass, from scores of segments or from scores of tokens.

The first that is certain to be right is taken: scaled probabilities in the inputs' precision, scaled probabilities in
float64, the log domain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import LOG, apart, full_precision, may_look, plain_arithmetic, widest
from lvspec.runtime.segments.scaled import SegmentScan, scaled_segments, scaled_segments_gradient, scaled_tokens
from lvspec.runtime.segments.windows import WindowSpread, token_segments


@dataclass(frozen=True)
class Scores:
    """How segments are scored. scan(scores, start, transition, lengths, dtype): the scaled pass.
    gradient(d_segment, scores): back to the scores. segments(*scores): the table (B, T, L, K) of all segments."""

    scan: Callable[..., SegmentScan | None]
    gradient: Callable[[Tensor, list[Tensor]], tuple[Tensor, ...]]
    segments: Callable[..., Tensor]


def scan_of_segments(scores: list[Tensor], *others) -> SegmentScan | None:
    return scaled_segments(scores[0].permute(1, 2, 0, 3), *others)


def gradient_of_segments(d_segment: Tensor, scores: list[Tensor]) -> tuple[Tensor, ...]:
    return (d_segment.permute(2, 0, 1, 3),)


def same_segments(segment: Tensor) -> Tensor:
    return segment


def scan_of_tokens(scores: list[Tensor], *others) -> SegmentScan | None:
    token, length = scores
    return scaled_tokens(token.transpose(0, 1).contiguous(), length.permute(2, 0, 1), *others)


def gradient_of_tokens(d_segment: Tensor, scores: list[Tensor]) -> tuple[Tensor, ...]:
    d_token = WindowSpread.apply(d_segment).transpose(0, 1)
    d_length = d_segment.sum(0)  # over sites first: long rows are quick to add
    d_length = d_length.sum(1, keepdim=True) if scores[1].shape[0] == 1 else d_length
    return d_token, d_length.permute(1, 2, 0)


BY_SEGMENT = Scores(scan_of_segments, gradient_of_segments, same_segments)
BY_TOKEN = Scores(scan_of_tokens, gradient_of_tokens, token_segments)


def segmentations_sum(semiring, segment: Tensor, start: Tensor, transition: Tensor, lengths: Tensor | None) -> Tensor:
    """The sum over segmentations, (..., B): what ends before site t, from what began at the L sites before it."""
    T, L = segment.shape[1:3]
    begin, arcs = semiring.lift(start), semiring.lift(transition)
    ending = semiring.lift(ending_at(segment, lengths)).unbind(-3)
    begins, totals = [begin], [semiring.lift(segment.new_zeros(segment.shape[0]))]
    for t in range(1, T + 1):
        before = torch.stack(torch.broadcast_tensors(*reversed(begins[-L:])), -2)
        ends = semiring.sum(semiring.times(before, ending[t - 1][..., : before.shape[-2], :]), -2)
        totals.append(semiring.sum(ends, -1))
        begins.append(semiring.sum(semiring.times(ends.unsqueeze(-1), arcs), -2))
    if lengths is None:
        return totals[-1]
    every = torch.stack(torch.broadcast_tensors(*totals), -1).expand(*totals[-1].shape[:-1], len(lengths), T + 1)
    return every.gather(-1, lengths.unsqueeze(-1).expand(*every.shape[:-1], 1)).squeeze(-1)


def ending_at(segment: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T, L, K): the score of l + 1 sites up to and with t; -inf where they begin before 0 or end beyond a length."""
    T, L, K = segment.shape[1:]
    sites, sizes = torch.arange(T, device=segment.device), torch.arange(L, device=segment.device)
    first = sites.unsqueeze(-1) - sizes
    inside = (first >= 0).unsqueeze(0)
    if lengths is not None:
        inside = inside & (sites < lengths.unsqueeze(-1)).unsqueeze(-1)
    index = (first.clamp(min=0) * L + sizes).flatten()
    return torch.where(inside.unsqueeze(-1), segment.flatten(1, 2)[:, index].unflatten(1, (T, L)), -torch.inf)


def log_domain_sum(form: Scores, scores: list[Tensor], start: Tensor, transition: Tensor, lengths: Tensor | None):
    """log Z (B) by the program, in float64."""
    with plain_arithmetic(start):
        segment = form.segments(*map(widest, scores))
        return segmentations_sum(LOG, segment, widest(start), widest(transition), lengths).to(start.dtype)


def log_partition_of(
    form: Scores, scores: list[Tensor], start: Tensor, transition: Tensor, rows: int, lengths: Tensor | None
) -> Tensor:
    """log Z (rows), the scores' first axis being `rows` or 1."""
    scores, start, transition = [full_precision(x) for x in scores], full_precision(start), full_precision(transition)
    first = scores[0]
    if first.shape[1] == 0:
        return first.flatten(1).sum(1).expand(rows)
    if not may_look(first):
        return log_domain_sum(form, scores, start, transition, lengths).expand(rows)
    scores[0] = first.expand(rows, *first.shape[1:])
    lengths = torch.full((rows,), first.shape[1]) if lengths is None else lengths
    with plain_arithmetic(start):
        return SegmentationsSum.apply(form, lengths, start, transition, *scores)


class SegmentationsSum(torch.autograd.Function):
    """log Z (B), with the backward algorithm as its gradient."""

    @staticmethod
    def forward(ctx, form, lengths, start, transition, *scores):
        ctx.save_for_backward(lengths, start, transition, *scores)
        ctx.form, ctx.scan = form, None
        for dtype in dict.fromkeys((start.dtype, torch.float64)):
            ctx.scan = form.scan(list(scores), start, transition, lengths, dtype)
            if ctx.scan is not None:
                return ctx.scan.value.to(start.dtype)
        return log_domain_sum(form, list(scores), start, transition, lengths)

    @staticmethod
    def backward(ctx, grad):
        lengths, start, transition, *scores = ctx.saved_tensors
        if ctx.scan is None or torch.is_grad_enabled():
            found = log_domain_gradient(ctx.form, scores, start, transition, lengths, grad)
            return None, None, *found
        d_segment, d_start, d_transition = scaled_segments_gradient(ctx.scan, lengths, grad)
        d_start = d_start.sum(0, keepdim=True) if start.shape[0] == 1 else d_start
        gradients = (d_start, d_transition, *ctx.form.gradient(d_segment, scores))
        return None, None, *(d.to(start.dtype) for d in gradients)


def log_domain_gradient(
    form: Scores, scores: list[Tensor], start: Tensor, transition: Tensor, lengths: Tensor, grad: Tensor
) -> tuple[Tensor, ...]:
    """d log Z / d (start, transition, *scores) by the program; a graph of its own where gradients are on."""
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        inputs = apart(start, transition, *scores)
        leaves = [x if differentiable and x.requires_grad else x.detach().requires_grad_() for x in inputs]
        value = log_domain_sum(form, leaves[2:], leaves[0], leaves[1], lengths)
        return torch.autograd.grad(value, leaves, grad, create_graph=differentiable, materialize_grads=True)
