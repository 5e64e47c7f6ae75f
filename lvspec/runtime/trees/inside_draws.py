"""Exact draws of derivations from the inside charts of a grammar: from the root down, wide spans first.

p(k, l, r | i, j, a) proportional to W_k rules[a, l, r] inside(i, k, l) inside(k + 1, j, r)
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.trees.derivations import Uses, both_parts, descend
from lvspec.runtime.trees.inside import Inside, whole_sentence


def drawn(weights: Tensor) -> Tensor:
    """An index of each row's last axis, in proportion to the weights."""
    return torch.multinomial(weights, 1).squeeze(-1)


def inside_draws(found: Inside, lengths: Tensor, n: int) -> Uses:
    """n derivations of each sentence, (n B)."""
    charts, table = found.charts, found.rules.table()
    T, B, P = charts.words.shape
    N, S = table.shape[1:3]
    rows = ((lengths > 1) & (found.total.squeeze(-1) > 0)).nonzero().squeeze(-1)
    draw = (torch.arange(n, device=rows.device).unsqueeze(1) * B + rows).flatten()
    at_root = (found.root * whole_sentence(charts.cells, lengths))[draw % B]

    def split(w: int, draw: Tensor, start: Tensor, symbol: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        row = draw % B
        rules = table[row if len(table) > 1 else torch.zeros_like(row), symbol]  # (spans, S, S)
        left, right = both_parts(charts.words, charts.starts, charts.ends, w, start, row, 0.0)
        left = left * charts.splits[w - 2][start, row].unsqueeze(-1)
        k = drawn((torch.bmm(left, rules) * right).sum(-1))
        spans = torch.arange(len(k), device=k.device)
        pairs = left[spans, k].unsqueeze(2) * rules * right[spans, k].unsqueeze(1)
        chosen = drawn(pairs.flatten(1))
        return k + 1, chosen // S, chosen % S

    symbol = drawn(at_root) if len(draw) else draw
    return descend(Uses.none(n * B, T, N, P, found.total), draw, lengths[draw % B], symbol, split)
