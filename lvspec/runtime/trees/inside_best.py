"""The best derivations of sentences: maxima by width, then from the root down.

    best(i, j, a) = max_{l, r, k} rules[a, l, r] + best(i, k, l) + best(k + 1, j, r)

A word as a part meets the rules once for all spans, and only pairs of nonterminals are compared at every split.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.runtime.trees.derivations import Uses, both_parts, descend
from lvspec.runtime.trees.hypergraph import Edge, Forest
from lvspec.runtime.trees.inside import Rules, whole_sentence
from lvspec.runtime.trees.inside_log import LARGEST

Span = tuple[int, int, int]  # its first word, its width, its symbol
ROOT: Span = (0, 0, 0)


@dataclass
class Best:
    """Log-potentials, and scores of the best derivations. root (1 or B, N), rules (1 or B, N, S, S), words (T, B, P);
    starts, ends (T, B, T - 2, N) as in `inside.Charts`, -inf where there is none; cells: for each width from 2,
    (n, B, N)."""

    root: Tensor
    rules: Tensor
    words: Tensor
    starts: Tensor
    ends: Tensor
    cells: list[Tensor]

    def edges(self, w: int, start: Tensor, row: Tensor, symbol: Tensor) -> Tensor:
        """Scores of all ways to derive spans (s) of width w: (s, (w - 1) S S)."""
        rules = self.rules[row if len(self.rules) > 1 else torch.zeros_like(row), symbol].unsqueeze(1)
        left, right = both_parts(self.words, self.starts, self.ends, w, start, row, -torch.inf)
        return (left.unsqueeze(-1) + right.unsqueeze(-2) + rules).flatten(1)

    def parts(self, edge: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of an edge: the width of its left part, the left symbol and the right one."""
        S = self.rules.shape[-1]
        return edge // (S * S) + 1, edge // S % S, edge % S

    def tops(self, lengths: Tensor) -> Tensor:
        """Scores of the best derivations by the symbol at the root: (B, N)."""
        return self.root + whole_sentence(self.cells, lengths)


def best_inside(root: Tensor, rules: Tensor, words: Tensor) -> Best:
    """words: (T, B, P), 0 in padding, T >= 2."""
    pairs, before, after = Rules.blocks(rules)  # (b, a, l, r), and with a word on the left or right (b, p, a, s)
    T, B, _ = words.shape
    N = rules.shape[1]
    pairs = pairs.flatten(2)
    left = torch.stack([(before + word[:, :, None, None]).amax(1) for word in words])  # (T, B, a, s)
    right = torch.stack([(after + word[:, :, None, None]).amax(1) for word in words])
    starts, ends = words.new_full((2, T, B, T - 2, N), -torch.inf)
    cells = (left[:-1, :, :, N:] + words[1:].unsqueeze(2)).amax(-1)
    found = [cells]
    for w in range(3, T + 1):
        n = T - w + 1
        starts[: n + 1, :, w - 3], ends[w - 2 :, :, T - w] = cells, cells
        nearer = (left[:n, :, :, :N] + cells[1:].unsqueeze(2)).amax(-1)
        cells = torch.maximum(nearer, (right[w - 1 :] + cells[:-1].unsqueeze(2)).amax(-1))
        if w > 3:
            narrow = starts[:n, :, : w - 3], ends[w - 1 :, :, T - w + 1 :]
            cells = torch.maximum(cells, best_pairs(pairs, *narrow))
        found.append(cells)
    return Best(root, rules, words, starts, ends, found)


def best_pairs(rules: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """max over splits and pairs: rules (1 or B, a, l r), parts (n, B, splits, N) -> (n, B, a). A few places at a time,
    where the terms are too many to be made at once."""

    def found(left: Tensor, right: Tensor) -> Tensor:
        pairs = (left.unsqueeze(-1) + right.unsqueeze(-2)).amax(2).flatten(2)
        return (rules + pairs.unsqueeze(2)).amax(-1)

    splits, N = left.shape[2:]
    few = max(1, LARGEST // max(1, left.shape[1] * N * N * max(splits, N)))
    return torch.cat([found(*p) for p in zip(left.split(few), right.split(few), strict=True)])


def best_derivations(found: Best, lengths: Tensor) -> Uses:
    """One of the best derivations of each sentence, (B); nothing is used where there is none."""
    (T, B, P), N = found.words.shape, found.rules.shape[1]
    score, symbol = found.tops(lengths).max(-1)
    rows = ((lengths > 1) & (score > -torch.inf)).nonzero().squeeze(-1)

    def split(w: int, row: Tensor, start: Tensor, symbol: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return found.parts(found.edges(w, start, row, symbol).argmax(-1))

    return descend(Uses.none(B, T, N, P, found.words), rows, lengths[rows], symbol[rows], split)


def k_best_derivations(found: Best, lengths: Tensor, k: int) -> tuple[Tensor, Uses]:
    """Scores (k, B) in order, -inf where there are fewer; their uses (k B). They are listed on the host, a sentence at a
    time."""
    (T, B, P), N = found.words.shape, found.rules.shape[1]
    scores, uses = found.words.new_full((k, B), -torch.inf), Uses.none(k * B, T, N, P, found.words)
    tops = found.tops(lengths)
    for row, length in enumerate(lengths.tolist()):
        if length == 0:
            scores[:1, row] = 0.0
        if length < 2:
            continue
        forest = SentenceForest(found, row, length, tops[row], k).forest()
        for rank, derivation in enumerate(forest.derivations(ROOT, k)):
            scores[rank, row] = -derivation.loss
            count(forest, derivation.parts, uses, rank * B + row)
    return scores, uses


@dataclass
class SentenceForest:
    """The derivations of one sentence: a span of a symbol is joined from two, and the root is one of the whole."""

    found: Best
    row: int
    length: int
    tops: Tensor
    k: int

    def forest(self) -> Forest:
        return Forest(self.edges, self.best)

    def best(self, span: Span) -> float:
        start, w, symbol = span
        if w == 1:
            return float(self.found.words[start, self.row, symbol - self.found.rules.shape[1]])
        return float(self.found.cells[w - 2][start, self.row, symbol])

    def edges(self, span: Span) -> list[Edge]:
        start, w, symbol = span
        if w == 1:
            return []
        if span == ROOT:
            root = self.found.root[self.row if len(self.found.root) > 1 else 0]
            symbols = self.highest(self.tops)
            return [(float(root[a]), ((0, self.length, a),)) for a in symbols]
        at = torch.tensor([start, self.row, symbol], device=self.tops.device).unsqueeze(-1)
        ways = torch.tensor(self.highest(self.found.edges(w, *at).squeeze(0)), device=self.tops.device)
        widths, lefts, rights = self.found.parts(ways)
        weights = self.found.rules[self.row if len(self.found.rules) > 1 else 0, symbol, lefts, rights].tolist()
        parts = zip(widths.tolist(), lefts.tolist(), rights.tolist(), strict=True)
        joined = [((start, m, left), (start + m, w - m, right)) for m, left, right in parts]
        return list(zip(weights, joined, strict=True))

    def highest(self, scores: Tensor) -> list[int]:
        """Where the k highest are that are possible."""
        value, at = scores.topk(min(self.k, len(scores)))
        return at[value > -torch.inf].tolist()


def count(forest: Forest, parts: tuple, uses: Uses, which: int) -> None:
    """Counts as the uses of one derivation what is below its root."""
    N = uses.root.shape[-1]
    ((_, _, symbol), _) = parts[0]
    uses.root[which, symbol] = 1.0
    below = list(parts)
    while below:
        (start, w, symbol), rank = below.pop()
        if w == 1:
            uses.terminals[which, start, symbol - N] = 1.0
            continue
        parts = forest.derivations((start, w, symbol), rank + 1)[rank].parts
        uses.rules[which, symbol, parts[0][0][2], parts[1][0][2]] += 1.0
        uses.spans[which, start, start + w - 1] = 1.0
        below.extend(parts)
