"""Sentences of a dependency model of a given length, drawn exactly: from the root down, each head's modifiers nearest first.

F(m, s) = sum_a G(m, left, 0, a) G(m, right, 0, s - 1 - a)              m and all below it are s words
G(h, d, v, w) = go on(h, d, v) sum_s sum_m attach(h, d, m) F(m, s) G(h, d, 1, w - s),    G(h, d, v, 0) = stop(h, d, v)

Where a span stands does not matter as long as its words are not known, so that the inside pass has no places.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import log_sum_exp, widest
from lvspec.runtime.families.categorical import Categorical
from lvspec.runtime.structures.labels import leading, merged_rows
from lvspec.runtime.structures.lengths import possible_lengths

__all__ = ["dmv_draw"]


@dataclass(frozen=True)
class AnyTags:
    """Logs for each row (R, or one for all). below (R, T + 1, C): F by size. sides (R, T + 1, C, 2, 2): G by words, head,
    direction, valence. firsts (R, T + 1, C, 2): sum_m attach F by size."""

    root: Tensor
    stop: Tensor
    attach: Tensor
    below: Tensor
    sides: Tensor
    firsts: Tensor


def dmv_draw(mask: Tensor, root: Tensor, stop: Tensor, attach: Tensor) -> Tensor:
    """x ~ p(x | how many words): tags (..., T) int64, 0 where masked. Arguments as those of dmv_parts. BadBatch where there is none."""
    lead = leading(mask, (root, 1), (stop, 4), (attach, 3))
    lengths = mask.expand(*lead, mask.shape[-1]).reshape(prod(lead), mask.shape[-1]).sum(-1)
    tables = [merged_rows(widest(x).log_softmax(-1), lead, own) for x, own in ((root, 1), (stop, 4), (attach, 3))]
    shared = all(x.dim() == own for x, own in zip(tables, (1, 4, 3), strict=True))
    rows = 1 if shared else len(lengths)
    tables = [
        x.expand(rows, *x.shape[-own:]) if x.dim() == own else x for x, own in zip(tables, (1, 4, 3), strict=True)
    ]
    at_root, at_stop, at_attach = tables
    drawn = sentences(inside_any(at_root, at_stop, at_attach, mask.shape[-1]), lengths, mask.shape[-1])
    return drawn.reshape(*lead, mask.shape[-1])


def inside_any(root: Tensor, stop: Tensor, attach: Tensor, T: int) -> AnyTags:
    """The inside pass over all tags: root (R, C), stop (R, C, 2, 2, 2), attach (R, C, 2, C), as log-probabilities."""
    go_on, stopped = stop[..., 0], stop[..., 1]
    sides = [stopped]
    none = root.new_full((*root.shape[:1], 1, *root.shape[1:]), -torch.inf)
    below, firsts = [none[:, 0]], [none[:, 0].unsqueeze(-1).expand(*root.shape, 2)]
    for w in range(1, T + 1):
        left = torch.stack([s[..., 0, 0] for s in sides], -1)
        right = torch.stack([s[..., 1, 0] for s in sides], -1).flip(-1)
        below.append(log_sum_exp(left + right, -1))
        firsts.append(log_sum_exp(attach + below[w][:, None, None, :], -1))
        after = torch.stack([sides[w - s][..., 1] + firsts[s] for s in range(1, w + 1)], -1)
        sides.append(go_on + log_sum_exp(after, -1).unsqueeze(-1))
    return AnyTags(root, stop, attach, torch.stack(below, 1), torch.stack(sides, 1), torch.stack(firsts, 1))


def sentences(known: AnyTags, lengths: Tensor, T: int) -> Tensor:
    """A sentence of each length: (rows, T)."""
    tags = torch.zeros(len(lengths), T, dtype=torch.int64, device=lengths.device)
    row = (lengths > 0).nonzero().squeeze(-1)
    table = row if len(known.root) > 1 else torch.zeros_like(row)
    at_root = known.root[table] + known.below[table, lengths[row]]
    possible_lengths(at_root.amax(-1), lengths[row], "the trees")
    symbol = Categorical(at_root).sample()
    subtrees = torch.stack([row, torch.zeros_like(row), lengths[row], symbol])  # row, first place, words, tag
    sides = subtrees.new_zeros(5, 0)  # row, direction, the place next to what is there, words left, tag of the head
    while subtrees.shape[1] or sides.shape[1]:
        more = opened(known, subtrees, tags)
        subtrees, rest = continued(known, sides)
        sides = torch.cat([rest, more], 1)
    return tags


def opened(known: AnyTags, subtrees: Tensor, tags: Tensor) -> Tensor:
    """Puts the heads of subtrees in their places, and gives their sides that have words."""
    row, start, words, tag = subtrees
    table = row if len(known.root) > 1 else torch.zeros_like(row)
    both = known.sides[table, :, tag][..., 0]  # (n, T + 1, 2): nothing there yet
    left = torch.arange(both.shape[1], device=row.device).expand(len(row), -1)
    others = words.unsqueeze(1) - 1 - left
    weight = both[..., 0] + both[..., 1].gather(1, others.clamp(min=0))
    before = Categorical(weight.masked_fill(others < 0, -torch.inf)).sample()
    place = start + before
    tags[row, place] = tag
    nothing = torch.zeros_like(row)
    found = [
        torch.stack([row, nothing, place, before, tag]),
        torch.stack([row, nothing + 1, place + 1, words - 1 - before, tag]),
    ]
    both_sides = torch.cat(found, 1)
    return both_sides[:, both_sides[3] > 0]


def continued(known: AnyTags, sides: Tensor) -> tuple[Tensor, Tensor]:
    """The next modifier of each side as a subtree, and the sides that have words left."""
    row, direction, edge, words, head = sides
    table = row if len(known.root) > 1 else torch.zeros_like(row)
    sizes = torch.arange(known.below.shape[1], device=row.device).expand(len(row), -1)
    others = words.unsqueeze(1) - sizes
    after = known.sides[table, :, head, direction, 1].gather(1, others.clamp(min=0))
    weight = known.firsts[table, :, head, direction] + after
    size = Categorical(weight.masked_fill(others < 0, -torch.inf)).sample()
    tag = Categorical(known.attach[table, head, direction] + known.below[table, size]).sample()
    right = direction == 1
    subtrees = torch.stack([row, torch.where(right, edge, edge - size), size, tag])
    rest = torch.stack([row, direction, torch.where(right, edge + size, edge - size), words - size, head])
    return subtrees, rest[:, rest[3] > 0]
