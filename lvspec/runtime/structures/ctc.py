"""Connectionist temporal classification: all alignments of T frames with M labels.

An alignment names a label or the blank at each frame. It spells the target when repeats are merged and then blanks are
left out: `-hh-e-ll-ll-o` spells `hello`.

log p(target) = log sum_{alignments that spell it} prod_t p_t(label at t)                       (Graves et al. 2006)

A chain over the positions blank, y_1, blank, ..., y_M, blank: a frame stays, moves on by one, or skips the blank between
two labels that differ. Before the first frame an alignment stands on the first blank.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import LOG, full_precision, plain_arithmetic
from lvspec.runtime.core.structured import Parts, Structured

__all__ = ["ctc_log_prob", "ctc_parts"]


@dataclass(frozen=True)
class Positions:
    """labels (B, S), S = 2M + 1: the label of each position. skips (B, S): whether it can be reached from two before.
    ends (B, S): whether an alignment may end there. frames (B, T): the real ones."""

    labels: Tensor
    skips: Tensor
    ends: Tensor
    frames: Tensor


def ctc(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | None = None,
    target_lengths: Tensor | None = None,
    blank: int = 0,
) -> Structured:
    """The distribution over alignments of each example with its target; log_partition is log p(target), (B,).

    log_probs: (B, T, C), normalised or not. targets: (B, M) int64 without blanks. Lengths (B) are full where absent.
    The one potential is log_probs, so marginals, the mode and draws are (B, T, C): which label each frame has. The mode
    is the best alignment with the given target. It says nothing of the best target, which is another sum for each one.
    A target that does not fit into the frames has log_partition -inf.
    """
    places = positions_of(log_probs, targets, input_lengths, target_lengths, blank)
    return Structured(
        partial(ctc_program, places),
        {"log_probs": log_probs},
        targets.shape[0],
        fast=partial(ctc_sum, places),
    )


def ctc_parts(symbols: Tensor, mask: Tensor, logits: Tensor, blank: Tensor, frames: Tensor) -> Structured:
    """The alignments of symbols with frames, one row for each of the leading axes; what a frame names is normalised.

    symbols, mask: (..., M), symbols below V. logits: (..., T, V). blank: (..., T). frames: (..., T), true at real ones.
    """
    shapes = (symbols.shape[:-1], logits.shape[:-2], blank.shape[:-1], frames.shape[:-1])
    lead, (T, V) = torch.broadcast_shapes(*shapes), logits.shape[-2:]
    named = [logits.expand(*lead, T, V), blank.unsqueeze(-1).expand(*lead, T, 1)]
    log_probs = torch.cat(named, -1).log_softmax(-1).reshape(prod(lead), T, V + 1)
    rows, real, inside = (
        x.expand(*lead, x.shape[-1]).reshape(prod(lead), x.shape[-1]) for x in (symbols, mask, frames)
    )
    return ctc(log_probs, torch.where(real, rows, 0), inside.sum(-1), real.sum(-1), blank=V)


def ctc_log_prob(symbols: Tensor, mask: Tensor, logits: Tensor, blank: Tensor, frames: Tensor) -> Tensor:
    """log p(symbols), all alignments summed: (...). No symbols are spelt by blanks alone."""
    found = ctc_parts(symbols, mask, logits, blank, frames).log_partition
    shapes = (symbols.shape[:-1], logits.shape[:-2], blank.shape[:-1], frames.shape[:-1])
    return found.reshape(torch.broadcast_shapes(*shapes))


def positions_of(log_probs: Tensor, targets: Tensor, input_lengths, target_lengths, blank: int) -> Positions:
    """The chain of each example; what lies beyond a target's length is never reached from an end."""
    (rows, M), T, device = targets.shape, log_probs.shape[1], targets.device
    count = torch.arange(2 * M + 1, device=device)
    length = torch.full((rows,), M, device=device) if target_lengths is None else target_lengths
    own = count[:M] < length.unsqueeze(1)
    labels = torch.full((rows, 2 * M + 1), blank, dtype=targets.dtype, device=device)
    labels[:, 1::2] = torch.where(own, targets, blank)
    skips = torch.zeros_like(labels, dtype=torch.bool)
    skips[:, 2:] = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])
    last = 2 * length.unsqueeze(1)
    ends = (count == last) | (count == last - 1)
    frames = torch.arange(T, device=device).expand(rows, T)
    frames = frames < (torch.full_like(length, T) if input_lengths is None else input_lengths).unsqueeze(1)
    return Positions(labels, skips, ends, frames)


def ctc_program(places: Positions, semiring, potentials: Parts) -> Tensor:
    """The sum over all alignments: (B,), or (k, B) for the k best."""
    emitted = at_positions(semiring.lift(full_precision(potentials["log_probs"])), places)
    nothing = emitted[..., :0, :].sum(-2)  # a function of the potentials even where there is no frame
    message = semiring.lift(first_blank(emitted)) + nothing
    for t in range(places.frames.shape[1]):
        ways = torch.stack([message, moved(message, 1), moved(message, 2).masked_fill(~places.skips, -torch.inf)], -1)
        arrived = semiring.times(semiring.sum(ways, -1), emitted[..., t, :])
        message = torch.where(places.frames[:, t, None], arrived, message)
    return semiring.sum(message.masked_fill(~places.ends, -torch.inf), -1)


def at_positions(log_probs: Tensor, places: Positions) -> Tensor:
    """(..., B, T, C) -> (..., B, T, S): the number of each position's label."""
    index = places.labels.unsqueeze(1)
    return log_probs.gather(-1, index.expand(*log_probs.shape[:-1], index.shape[-1]))


def first_blank(emitted: Tensor) -> Tensor:
    """The message before any frame, (B, S) as a log-number: all mass on position 0."""
    B, S = emitted.shape[-3], emitted.shape[-1]
    start = torch.full((B, S), -torch.inf, dtype=emitted.dtype, device=emitted.device)
    start[:, 0] = 0.0
    return start


def moved(message: Tensor, by: int) -> Tensor:
    """The message `by` positions further on."""
    gone = torch.full_like(message[..., :by], -torch.inf)
    return torch.cat([gone, message[..., :-by]], -1)[..., : message.shape[-1]]


# ---------------------------------------------------------------- the fast way: forward and backward messages
def barriers(places: Positions, emitted: Tensor) -> Tensor:
    """0 where a position is reached from two before, -inf elsewhere: (B, S)."""
    return torch.zeros_like(emitted[0]).masked_fill_(~places.skips, -torch.inf)


def forward_messages(places: Positions, emitted: Tensor) -> Tensor:
    """log of the mass that has arrived at each position, before any frame and after each: (T + 1, B, S)."""
    T, B, S = emitted.shape
    history = emitted.new_full((T + 1, B, S + 2), -torch.inf)  # two positions in front, which nothing reaches
    history[0, :, 2] = 0.0
    barrier = barriers(places, emitted) if T else emitted
    for t, real in enumerate(places.frames.t().unsqueeze(-1)):
        message = history[t]
        ways = torch.logaddexp(message[:, 2:], message[:, 1:-1])
        ways = torch.logaddexp(ways, message[:, :-2] + barrier)
        history[t + 1, :, 2:] = torch.where(real, ways.add_(emitted[t]), message[:, 2:])
    return history[:, :, 2:]


def backward_messages(places: Positions, emitted: Tensor) -> Tensor:
    """log of the mass that leads from each position to an end, after each of the T frames: (T, B, S)."""
    T, B, S = emitted.shape
    history = emitted.new_full((T, B, S), -torch.inf)
    history[-1].masked_fill_(places.ends, 0.0)
    barrier = barriers(places, emitted)[:, 2:]
    ahead = emitted.new_full((B, S + 2), -torch.inf)  # two positions behind, which lead nowhere
    for t in range(T - 1, 0, -1):
        ahead[:, :S] = history[t] + emitted[t]
        ways = torch.logaddexp(ahead[:, :S], ahead[:, 1:-1])
        ways[:, :-2] = torch.logaddexp(ways[:, :-2], ahead[:, 2:S] + barrier)
        history[t - 1] = torch.where(places.frames[:, t, None], ways, history[t])
    return history


class CTCSum(torch.autograd.Function):
    """log Z (B,) from forward messages; its gradient from forward and backward ones."""

    @staticmethod
    def forward(ctx, places, log_probs):
        x = full_precision(log_probs)
        with plain_arithmetic(x):
            messages = forward_messages(places, at_positions(x, places).transpose(0, 1).contiguous())
            value = messages[-1].masked_fill(~places.ends, -torch.inf).logsumexp(1)
        ctx.places = places
        ctx.save_for_backward(log_probs, value, messages[1:])
        return value

    @staticmethod
    def backward(ctx, grad):
        log_probs, value, messages = ctx.saved_tensors
        places = ctx.places
        if torch.is_grad_enabled():
            return None, differentiable_gradient(places, log_probs, grad)
        if not len(messages):
            return None, torch.zeros_like(log_probs)
        x = full_precision(log_probs)
        with plain_arithmetic(x):
            behind = backward_messages(places, at_positions(x, places).transpose(0, 1).contiguous())
            total = value.masked_fill(value == -torch.inf, torch.inf)  # without an alignment nothing has a share
            shares = behind.add_(messages).sub_(total[:, None]).exp_().mul_(grad[:, None])
            shares = torch.where(places.frames.unsqueeze(-1), shares.transpose(0, 1), 0.0)
            index = places.labels.unsqueeze(1).expand(shares.shape)
            found = torch.zeros_like(x.expand(shares.shape[0], *x.shape[1:])).scatter_add_(-1, index, shares)
        return None, found.sum_to_size(log_probs.shape).to(log_probs.dtype)


def ctc_sum(places: Positions, potentials: Parts) -> Tensor:
    """log Z (B,); in a compiled graph by the program, whose gradient the compiler finds."""
    if torch.compiler.is_compiling():
        return ctc_program(places, LOG, potentials)
    return CTCSum.apply(places, potentials["log_probs"])


def differentiable_gradient(places: Positions, log_probs: Tensor, grad: Tensor) -> Tensor:
    """The gradient as a graph of its own, by the program: for a second derivative."""
    with torch.enable_grad():
        value = ctc_program(places, LOG, {"log_probs": log_probs})
        return torch.autograd.grad(value, log_probs, grad, create_graph=True)[0]
