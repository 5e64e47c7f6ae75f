"""The inside algorithm of a grammar in scaled probabilities: matrix products, forward and backward.

    u(i, j) = sum_k R (W_k a(i, k) x a(k + 1, j)),   a = u / max u,   log inside(i, j) = log a(i, j) + s(i, j)

W_k, at most 1, brings the splits of a span to one scale. A word as a part meets the rules once for all spans,
R (p_i x a) = M_i a, so that only pairs of nonterminals form outer products. Where a factor underflows, at most the
smallest number is lost for each term of a sum; where every reachable entry of u is large beside that, each cell is
right entry by entry, and so is the sum. That is checked, not hoped for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.runtime.trees.spans import within

UNREACHED = -1e30  # the log scale of a span without a derivation: beside any other split it has no weight


def highest(x: Tensor, axes: int | tuple[int, ...] = -1) -> Tensor:
    """What is subtracted from logs before they are exponentiated."""
    top = x.detach().amax(axes, keepdim=True)
    return top.masked_fill(top == -torch.inf, 0.0)


def pushed(x: Tensor, matrix: Tensor) -> Tensor:
    """x (n, B, F) @ matrix (1 or B, F, G): (n, B, G)."""
    if matrix.shape[0] == 1:
        return (x.flatten(0, 1) @ matrix[0]).unflatten(0, x.shape[:2])
    return torch.bmm(x.transpose(0, 1), matrix).transpose(0, 1)


def pulled(x: Tensor, y: Tensor, shared: bool) -> Tensor:
    """sum x' y over places, and over examples where they share a matrix: (n, B, F), (n, B, G) -> (1 or B, F, G)."""
    if shared:
        return (x.flatten(0, 1).t() @ y.flatten(0, 1)).unsqueeze(0)
    return torch.bmm(x.permute(1, 2, 0), y.transpose(0, 1))


def each(matrix: Tensor, x: Tensor) -> Tensor:
    """A matrix for every cell: (n, B, F, G), (n, B, G) -> (n, B, F)."""
    return torch.bmm(matrix.flatten(0, 1), x.reshape(-1, x.shape[-1], 1)).view(*x.shape[:2], -1)


@dataclass
class Rules:
    """exp(rules - shift) by the kinds of the parts: pairs of nonterminals (1 or B, a, l r); a word on the left, any
    symbol on its right (1 or B, p, a s); a word on the right, a nonterminal on its left (1 or B, p, a l)."""

    pairs: Tensor
    left: Tensor
    right: Tensor
    shift: Tensor

    @staticmethod
    def blocks(rules: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three kinds as views of (1 or B, N, S, S)."""
        N = rules.shape[1]
        return rules[:, :, :N, :N], rules[:, :, N:].transpose(1, 2), rules[:, :, :N, N:].permute(0, 3, 1, 2)

    @classmethod
    def of(cls, rules: Tensor, dtype: torch.dtype) -> Rules:
        shift = highest(rules, (1, 2, 3))
        found = []
        for block in cls.blocks(rules):
            exp = torch.empty(block.shape, dtype=dtype, device=rules.device)
            found.append(torch.sub(block, shift, out=exp).exp_().flatten(2))
        first, second, third = found
        return cls(first, second, third, shift.view(-1).double())

    def table(self) -> Tensor:
        """exp(rules - shift) in one: (1 or B, N, S, S)."""
        N, S = self.pairs.shape[1], self.pairs.shape[1] + self.left.shape[1]
        found = self.pairs.new_empty(len(self.pairs), N, S, S)
        for block, exp in zip(self.blocks(found), (self.pairs, self.left, self.right), strict=True):
            block.copy_(exp.view(block.shape))
        return found

    def gradient(self, grads: tuple[Tensor, Tensor, Tensor], like: Tensor) -> Tensor:
        """d / d rules, of the gradients of the three kinds."""
        found = torch.empty_like(like)
        for block, grad, exp in zip(self.blocks(found), grads, (self.pairs, self.left, self.right), strict=True):
            torch.mul(grad.view(block.shape), exp.view(block.shape), out=block)
        return found


@dataclass
class Charts:
    """A forward pass. Places stand before examples, so that the spans of one width are one batch.

    words (T, B, P): p. left (T, B, N, S), right (T, B, N, N): M of words as left and as right parts.
    starts, ends (T, B, T - 2, N): cells of the widths 2 .. T - 1, by where they start, and by where they end, wide ones
    first. For each width from 2: cells a (n, B, N), tops max u (n, B, 1), splits W (n, B, w - 1), scales s (n, B).
    """

    words: Tensor
    left: Tensor
    right: Tensor
    starts: Tensor
    ends: Tensor
    cells: list[Tensor]
    tops: list[Tensor]
    splits: list[Tensor]
    scales: list[Tensor]

    def narrow(self, w: int) -> tuple[Tensor, Tensor]:
        """Both parts of the spans of width w, where both are nonterminals: (n B, w - 3, N) each."""
        T = len(self.words)
        n = T - w + 1
        return self.starts[:n, :, : w - 3].flatten(0, 1), self.ends[w - 1 :, :, T - w + 1 :].flatten(0, 1)


def inside_charts(terminals: Tensor, rules: Rules, counting: bool = False) -> Charts:
    """Cells of every width, from terminals (T, B, P). counting: which entries are not zero, as ones."""
    T, B, _ = terminals.shape
    N = rules.pairs.shape[1]
    tallest = highest(terminals)
    words = (terminals - tallest).to(rules.pairs.dtype).exp_()
    left = pushed(words, rules.left).reshape(T, B, N, -1)
    right = pushed(words, rules.right).reshape(T, B, N, N)
    starts, ends = words.new_zeros(T, B, T - 2, N), words.new_zeros(T, B, T - 2, N)
    charts = Charts(words, left, right, starts, ends, [], [], [], [])
    scales = tallest.squeeze(-1).double()
    by_start, by_end = scales.new_zeros(T, B, T), scales.new_zeros(T, B, T)  # log scales of the widths 1 ..
    cells = words
    for w in range(2, T + 1):
        n = T - w + 1
        by_start[: n + 1, :, w - 2], by_end[w - 2 :, :, T - w] = scales, scales
        together = by_start[:n, :, : w - 1] + by_end[w - 1 :, :, T - w : T - 1]
        best = together.amax(-1, keepdim=True)
        charts.splits.append((together - best).exp_().to(words.dtype))
        narrow = charts.narrow(w) if w > 3 else None
        u = wider((words, left, right), rules.pairs, charts.splits[-1], cells, narrow)
        if counting:
            u = (u > 0).to(u.dtype)
        top = u.amax(-1, keepdim=True)
        dead = top == 0
        cells = u / top.masked_fill(dead, 1.0)
        scales = best.squeeze(-1) if counting else (best + top.log() + rules.shift.unsqueeze(-1)).squeeze(-1)
        scales = scales.masked_fill(dead.squeeze(-1), UNREACHED)
        charts.cells.append(cells)
        charts.tops.append(top)
        charts.scales.append(scales)
        if w < T:
            starts[:n, :, w - 2], ends[w - 1 :, :, T - 1 - w] = cells, cells
    return charts


def wider(parts: tuple[Tensor, Tensor, Tensor], pairs: Tensor, weights: Tensor, cells: Tensor, narrow) -> Tensor:
    """u of the spans of one width, (n, B, N). parts: words, left, right of `Charts`. pairs: the rules over pairs of
    nonterminals. weights: W. cells: the next narrower ones. narrow: both nonterminal parts, of more than three words."""
    words, left, right = parts
    n, _, splits = weights.shape
    N = pairs.shape[1]
    if splits == 1:
        return each(left[:n, :, :, N:], words[1:])
    u = each(left[:n, :, :, :N], cells[1:] * weights[..., :1])
    u = u + each(right[splits:], cells[:-1] * weights[..., -1:])
    return u if splits == 2 else u + pushed(outer(weights, *narrow)[0], pairs.mT)


def outer(weights: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """sum_k W_k a(i, k) x a(k + 1, j): (n, B, N N), and W a; of (n B, splits, N) each."""
    first = first * weights[:, :, 1:-1].reshape(len(first), -1, 1)
    return torch.bmm(first.mT, second).view(*weights.shape[:2], -1), first


@dataclass
class Inside:
    """A forward pass that passed the check. value (B); root (1 or B, N): exp(root - shift); total (B, 1): root . a."""

    value: Tensor
    charts: Charts
    rules: Rules
    root: Tensor
    total: Tensor


def whole_sentence(by_width: list[Tensor], lengths: Tensor) -> Tensor:
    """Of (n, B, ...) for the widths 2 ..: the span from place 0 to each example's end (B, ...); 0 at lengths below 2."""
    first = [by_width[0][0].new_zeros(by_width[0][0].shape)] * 2 + [x[0] for x in by_width]
    return torch.stack(first)[lengths, torch.arange(len(lengths), device=lengths.device)]


def scaled_inside(root: Tensor, rules: Tensor, terminals: Tensor, lengths: Tensor, dtype: torch.dtype) -> Inside | None:
    """The forward pass in `dtype`, or None where it may have lost mass. terminals: (T, B, P), 0 in padding."""
    matrices = Rules.of(rules, dtype)
    charts = inside_charts(terminals, matrices)
    shift = highest(root)
    likelihood = (root - shift).to(dtype).exp_()
    total = (likelihood * whole_sentence(charts.cells, lengths)).sum(-1, keepdim=True)
    value = total.squeeze(-1).double().log() + whole_sentence(charts.scales, lengths) + shift.squeeze(-1)
    value = value.masked_fill(total.squeeze(-1) == 0, -torch.inf).masked_fill(lengths == 0, 0.0)
    least = torch.finfo(dtype).tiny / torch.finfo(dtype).eps * rules.shape[2] ** 2 * len(terminals)
    sums = [u.amin() for u in (a * top for a, top in zip(charts.cells, charts.tops, strict=True))]
    if not float(torch.stack([*sums, total.masked_fill(lengths.unsqueeze(-1) < 2, 1.0).amin()]).min()) >= least:
        if loses_mass(charts, total, root, rules, terminals, lengths, least):
            return None
    return Inside(value, charts, matrices, likelihood, total)


def loses_mass(
    charts: Charts, total: Tensor, root: Tensor, rules: Tensor, terminals: Tensor, lengths: Tensor, least: float
) -> bool:
    """Whether a sum below `least` is not exactly zero: where potentials are allowed, is there a derivation?"""

    def allowed(x: Tensor) -> Tensor:
        return torch.zeros_like(x).masked_fill_(x == -torch.inf, -torch.inf)

    reach = inside_charts(allowed(terminals), Rules.of(allowed(rules), charts.words.dtype), counting=True)
    for w, (a, top, seen) in enumerate(zip(charts.cells, charts.tops, reach.cells, strict=True), 2):
        real = within(lengths - (w - 1), len(a)).t().unsqueeze(-1)
        if bool(((~(a * top >= least)) & (seen > 0) & real).any()):
            return True
    ends = (whole_sentence(reach.cells, lengths) > 0) & (root > -torch.inf)
    return bool((~(total >= least) & ends.any(-1, keepdim=True)).any())
