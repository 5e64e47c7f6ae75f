"""log Z of a grammar once more, by operations that autograd knows: what second derivatives are taken of.

The scales of a forward pass are constants here: log Z does not depend on them, so that no derivative of it does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.trees.inside import Inside, Rules, highest, pushed, whole_sentence, wider


def inside_differentiable(
    found: Inside, lengths: Tensor, root: Tensor, rules: Tensor, terminals: Tensor, spans: Tensor | None = None
) -> Tensor:
    """log Z (B) from root, rules and terminals (T, B, P) as `found` was made of them; spans (B or 1, T, T): a
    log-potential of each span of two words or more, 0 now."""
    charts, dtype = found.charts, found.total.dtype
    shift = found.rules.shift.view(-1, 1, 1, 1).to(rules.dtype)
    pairs, by_left, by_right = ((b - shift).to(dtype).exp().flatten(2) for b in Rules.blocks(rules))
    words = (terminals - highest(terminals)).to(dtype).exp()
    parts = (
        words,
        pushed(words, by_left).reshape(charts.left.shape),
        pushed(words, by_right).reshape(charts.right.shape),
    )
    cells, by_width = words, []
    older = starts = ends = words.new_zeros(len(words) - 1, words.shape[1], 0, root.shape[-1])
    for w, (weights, top) in enumerate(zip(charts.splits, charts.tops, strict=True), 2):
        n = len(weights)
        if w > 3:
            starts = torch.cat([starts[: n + 2], older.unsqueeze(2)], 2)
            ends = torch.cat([older.unsqueeze(2), ends[-n - 2 :]], 2)
        u = wider(parts, pairs, weights, cells, (starts[:n].flatten(0, 1), ends[-n:].flatten(0, 1)))
        if spans is not None:
            u = u * spans.diagonal(w - 1, 1, 2).t().unsqueeze(-1).to(dtype).exp()
        older, cells = cells, u / top.masked_fill(top == 0, 1.0)
        by_width.append(cells)
    whole = whole_sentence(by_width, lengths)
    total = ((root - highest(root)).to(dtype).exp() * whole).sum(-1)
    none = (found.total == 0).squeeze(-1)
    known = found.value - found.total.squeeze(-1).double().log()
    return torch.where(none, found.value, total.masked_fill(none, 1.0).double().log() + known)
