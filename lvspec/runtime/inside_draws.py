"""Exact draws of derivations from the inside charts of a grammar: from the root down, wide spans first.

p(k, l, r | i, j, a) proportional to W_k rules[a, l, r] inside(i, k, l) inside(k + 1, j, r)
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.inside import Charts, Inside, whole_sentence


def drawn(weights: Tensor) -> Tensor:
    """An index of each row's last axis, in proportion to the weights."""
    return torch.multinomial(weights, 1).squeeze(-1)


def inside_draws(found: Inside, lengths: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """n derivations of each sentence: uses of root (n B, N), rules (n B, N, S, S) and terminals (n B, T, P)."""
    charts, table = found.charts, found.rules.table()
    T, B, P = charts.words.shape
    N, S = table.shape[1:3]
    uses = (
        found.total.new_zeros(n * B, N),
        found.total.new_zeros(n * B, N, S, S),
        found.total.new_zeros(n * B, T, P),
    )
    rows = ((lengths > 1) & (found.total.squeeze(-1) > 0)).nonzero().squeeze(-1)
    draw = (torch.arange(n, device=rows.device).unsqueeze(1) * B + rows).flatten()
    at_root = (found.root * whole_sentence(charts.cells, lengths))[draw % B]
    symbol = drawn(at_root) if len(draw) else draw
    uses[0][draw, symbol] = 1.0
    spans = torch.stack([draw, torch.zeros_like(draw), lengths[draw % B], symbol])  # draw, start, width, symbol
    for w in range(T, 0, -1):
        here = spans[2] == w
        draw, start, _, symbol = spans[:, here]
        if w == 1:
            uses[2][draw, start, symbol - N] = 1.0
        elif len(draw):
            spans = torch.cat([spans[:, ~here], *split(charts, table, uses[1], w, draw, start, symbol)], 1)
    return uses


def split(charts: Charts, table: Tensor, uses: Tensor, w: int, draw: Tensor, start: Tensor, symbol: Tensor):
    """The two parts of each span of width w, as rows (draw, start, width, symbol); counts the rules that are used."""
    row = draw % charts.words.shape[1]
    S = table.shape[-1]
    rules = table[row if len(table) > 1 else torch.zeros_like(row), symbol]  # (spans, S, S)
    left, right = both_parts(charts, S, w, start, row)
    left = left * charts.splits[w - 2][start, row].unsqueeze(-1)
    k = drawn((torch.bmm(left, rules) * right).sum(-1))
    spans = torch.arange(len(k), device=k.device)
    pairs = left[spans, k].unsqueeze(2) * rules * right[spans, k].unsqueeze(1)
    chosen = drawn(pairs.flatten(1))
    uses.index_put_((draw, symbol, chosen // S, chosen % S), uses.new_ones(()), accumulate=True)
    yield torch.stack([draw, start, k + 1, chosen // S])
    yield torch.stack([draw, start + k + 1, w - 1 - k, chosen % S])


def both_parts(charts: Charts, S: int, w: int, start: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """Cells of the left and of the right parts, narrow left ones first: (spans, w - 1, S) each."""
    T, N, end = len(charts.words), S - charts.words.shape[-1], start + w - 1
    left, right = charts.words.new_zeros(2, len(start), w - 1, S)
    left[:, 0, N:], right[:, -1, N:] = charts.words[start, row], charts.words[end, row]
    left[:, 1:, :N], right[:, :-1, :N] = charts.starts[start, row, : w - 2], charts.ends[end, row, T - w :]
    return left, right
