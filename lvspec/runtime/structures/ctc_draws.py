"""Symbols that frames spell, drawn exactly given how many: a forward pass over all of them, and draws backwards.

alpha_t(j, v) = p_t(v) [alpha(j, v) + sum_{u != v} alpha(j - 1, u)]     v the last frame's label, or the blank, which adds none
with alpha of the frame before, j the symbols so far
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor
from torch.nn.functional import pad

from lvspec.runtime.core.semiring import widest
from lvspec.runtime.families.categorical import Categorical
from lvspec.runtime.structures.lengths import possible_lengths

__all__ = ["ctc_draw"]


def ctc_draw(mask: Tensor, logits: Tensor, blank: Tensor, frames: Tensor) -> Tensor:
    """x ~ p(x | how many symbols): (..., M) int64, 0 where masked. BadBatch where no labels of the frames spell as many: there are
    too few frames, or blanks between equal symbols take them.

    mask: (..., M). logits: (..., T, V). blank: (..., T). frames: (..., T), true at real ones.
    """
    T, V = logits.shape[-2:]
    lead = torch.broadcast_shapes(mask.shape[:-1], logits.shape[:-2], blank.shape[:-1], frames.shape[:-1])
    M = mask.shape[-1]
    named = [logits.expand(*lead, T, V), blank.unsqueeze(-1).expand(*lead, T, 1)]
    scores = widest(torch.cat(named, -1)).log_softmax(-1).reshape(prod(lead), T, V + 1)
    real = frames.expand(*lead, T).reshape(prod(lead), T)
    count = mask.expand(*lead, M).reshape(prod(lead), M).sum(-1)
    alpha = forward_counts(scores, real, M)
    possible_lengths(alpha[T][torch.arange(len(count), device=count.device), count].amax(-1), count, "so few frames")
    labels = labels_drawn(alpha, scores, real, count)
    return torch.where(mask.expand(*lead, M), spelled(labels, V, M).reshape(*lead, M), 0)


def forward_counts(scores: Tensor, real: Tensor, M: int) -> Tensor:
    """log alpha: (T + 1, rows, M + 1, V + 1), the blank last; before any frame all mass is on a blank."""
    rows, T, labels = scores.shape
    alpha = scores.new_full((rows, M + 1, labels), -torch.inf)
    alpha[:, 0, -1] = 0.0
    found = [alpha]
    for t in range(T):
        new = pad(from_others(alpha)[:, :-1], (0, 1, 1, 0), value=-torch.inf)  # a label that was not there: one more
        stay = torch.cat([alpha[..., :-1], alpha.logsumexp(-1, keepdim=True)], -1)  # the same label, or a blank
        moved = torch.logaddexp(stay, new) + scores[:, t].unsqueeze(1)
        alpha = torch.where(real[:, t, None, None], moved, alpha)
        found.append(alpha)
    return torch.stack(found)


def from_others(alpha: Tensor) -> Tensor:
    """log sum_{u != v} exp alpha(u) for each symbol v: (rows, M + 1, V). Sums from both sides: nothing is subtracted."""
    none = torch.full_like(alpha[..., :1], -torch.inf)
    before = torch.cat([none, alpha.logcumsumexp(-1)[..., :-1]], -1)
    after = torch.cat([alpha.flip(-1).logcumsumexp(-1).flip(-1)[..., 1:], none], -1)
    return torch.logaddexp(before, after)[..., :-1]


def labels_drawn(alpha: Tensor, scores: Tensor, real: Tensor, count: Tensor) -> Tensor:
    """The label of each frame, from the last to the first: (rows, T); what lies beyond the frames is the blank."""
    rows, T, labels = scores.shape
    row, here = torch.arange(rows, device=count.device), count
    label = Categorical(alpha[T][row, here]).sample()
    found = []
    for t in range(T - 1, -1, -1):
        found.append(torch.where(real[:, t], label, labels - 1))
        same = torch.nn.functional.one_hot(label, labels).bool()
        blank = (label == labels - 1).unsqueeze(1)
        stayed = alpha[t][row, here].masked_fill(~(same | blank), -torch.inf)
        came = alpha[t][row, (here - 1).clamp(min=0)].masked_fill(same | blank | (here == 0).unsqueeze(1), -torch.inf)
        chosen = Categorical(torch.cat([stayed, came], -1)).sample()
        here = torch.where(real[:, t] & (chosen >= labels), here - 1, here)
        label = torch.where(real[:, t], chosen % labels, label)
    return torch.stack(found[::-1], 1) if T else count.new_zeros(rows, 0)


def spelled(labels: Tensor, blank: int, M: int) -> Tensor:
    """What labels spell: repeats merged, blanks left out; (rows, M), 0 behind it."""
    before = pad(labels[:, :-1], (1, 0), value=blank) if labels.shape[1] else labels
    new = (labels != blank) & (labels != before)
    place = torch.where(new, new.cumsum(-1) - 1, M)
    found = labels.new_zeros(len(labels), M + 1).scatter_(1, place, torch.where(new, labels, 0))
    return found[:, :M]
