"""The dependency model with valence: each head generates its modifiers, on each side from the nearest outwards.

p(tree) = root(r) prod_{head, side} prod_{modifiers m, nearest first} go on(head, side, v) attach(head, m, v)
          times stop(head, side, v)
v = 0 until the head has a modifier on that side, then 1.                               (Klein & Manning 2004)
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad

from lvspec.runtime.core.structured import Parts, Structured
from lvspec.runtime.trees.dependencies import split_head_trees
from lvspec.runtime.trees.spans import within


def dmv(root: Tensor, stop: Tensor, attach: Tensor, lengths: Tensor) -> Structured:
    """The distribution over projective trees with one word at the root, and of the words, log Z = log p(words), where
    the potentials are log-probabilities. A sentence without words has one tree, without parts.

    root: (B or 1, T). stop: (B or 1, T, 2, 2, 2), [head, side (left, right), v, decision (go on, stop)].
    attach: (B or 1, T, T, 1 or 2), [head, modifier, v]; the side is that of the modifier; of one v: for both.
    """
    potentials = {"root": root, "stop": stop, "attach": attach}
    return split_head_trees(partial(dmv_scores, lengths=lengths), potentials, lengths)


def dmv_potentials(root: Tensor, stop: Tensor, attach: Tensor, tags: Tensor) -> Parts:
    """Tables over C tags, read at tags (B, T): the potentials of `dmv`, (B, T), (B, T, 2, 2, 2), (B, T, T, 1 or 2).

    root: (C). stop: (C, 2, 2, 2), [head, side, v, decision]. attach: (C, 2, C) or (C, 2, 2, C), [head, side, (v,)
    modifier].
    """
    if attach.dim() == 3:
        attach = attach.unsqueeze(2)
    side = order(tags.shape[1], tags.device).long()
    return {
        "root": root[tags],
        "stop": stop[tags],
        "attach": attach[tags.unsqueeze(2), side, :, tags.unsqueeze(1)],
    }


def order(extent: int, device: torch.device) -> Tensor:
    """Which modifiers stand right of the head: (extent, extent), [head, modifier]."""
    return torch.ones(extent, extent, dtype=torch.bool, device=device).triu(1)


def dmv_scores(potentials: Parts, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Arcs (B, M, M, 2) with the decision to go on, and stops (B, M, 2, 2); place 0 is the root."""
    T = potentials["root"].shape[1]
    real = within(lengths, T)
    root = potentials["root"].masked_fill(~real, 0.0)
    stop = potentials["stop"].masked_fill(~real[:, :, None, None, None], 0.0)
    both = (real.unsqueeze(1) & real.unsqueeze(2)).unsqueeze(-1)
    attach = potentials["attach"].masked_fill(~both, 0.0)
    left, right = stop[..., 0].unsqueeze(2).unbind(3)  # to go on: (B, T, 1, 2) each
    arcs = attach + torch.where(order(T, root.device).unsqueeze(-1), right, left)
    first = torch.stack([root, root.new_full(root.shape, -torch.inf)], -1)  # the root takes one word
    arcs = torch.cat([first.expand(len(arcs), -1, -1).unsqueeze(1), arcs], 1)
    arcs = pad(arcs, (0, 0, 1, 0), value=-torch.inf)
    return arcs, pad(stop[..., 1], (0, 0, 0, 0, 1, 0))
