"""Derivations of a grammar from the root down: every span is split where, and by the rule that, `split` says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Uses:
    """How often n derivations use each root (n, N), rule (n, N, S, S) and terminal (n, T, P); and which spans of two
    words and more (n, T, T), [first, last word], are parts of them."""

    root: Tensor
    rules: Tensor
    terminals: Tensor
    spans: Tensor

    @classmethod
    def none(cls, n: int, T: int, N: int, P: int, like: Tensor) -> Uses:
        """Before anything is split."""
        shapes = (N,), (N, N + P, N + P), (T, P), (T, T)
        return cls(*(like.new_zeros(n, *shape) for shape in shapes))

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """By the potentials of a grammar."""
        return self.root, self.rules, self.terminals


def descend(uses: Uses, which: Tensor, lengths: Tensor, symbol: Tensor, split: Callable) -> Uses:
    """Counts in `uses` the parts of derivations `which` (m) of so many words, whose roots have a symbol (m). Wide spans
    come first. split(w, which, start, symbol) -> (width of the left part, its symbol, the right one's), of spans (s)
    of width w >= 2."""
    N, T = uses.root.shape[-1], uses.terminals.shape[1]
    uses.root[which, symbol] = 1.0
    spans = torch.stack([which, torch.zeros_like(which), lengths, symbol])  # derivation, start, width, symbol
    for w in range(T, 0, -1):
        here = spans[2] == w
        which, start, _, symbol = spans[:, here]
        if w == 1:
            uses.terminals[which, start, symbol - N] = 1.0
        elif len(which):
            k, left, right = split(w, which, start, symbol)
            uses.spans[which, start, start + w - 1] = 1.0
            uses.rules.index_put_((which, symbol, left, right), uses.rules.new_ones(()), accumulate=True)
            parts = torch.stack([which, start, k, left]), torch.stack([which, start + k, w - k, right])
            spans = torch.cat([spans[:, ~here], *parts], 1)
    return uses


def both_parts(
    words: Tensor, starts: Tensor, ends: Tensor, w: int, start: Tensor, row: Tensor, none: float
) -> tuple[Tensor, Tensor]:
    """Cells of the left and of the right parts of spans (s) of width w, narrow left ones first: (s, w - 1, S) each.
    words (T, B, P), starts and ends (T, B, T - 2, N) as in `inside.Charts`. none: what an impossible cell holds."""
    (T, _, P), N, end = words.shape, starts.shape[-1], start + w - 1
    left, right = words.new_full((2, len(start), w - 1, N + P), none)
    left[:, 0, N:], right[:, -1, N:] = words[start, row], words[end, row]
    left[:, 1:, :N], right[:, :-1, :N] = starts[start, row, : w - 2], ends[end, row, T - w :]
    return left, right
