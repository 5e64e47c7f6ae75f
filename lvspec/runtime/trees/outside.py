"""The outside algorithm beside `inside`: the gradient of log Z in scaled probabilities.

    d(i, k) = sum_j W_k R' (d u(i, j) x a(k + 1, j)) + sum_h W_k R' (d u(h, k) x a(h, i - 1)),   d u = d / max u

d is the derivative by a cell a; a d is the probability that the span has that symbol.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.trees.inside import Charts, Inside, Rules, each, outer, pulled, pushed, whole_sentence


def outside(
    found: Inside, lengths: Tensor, grad: Tensor, root: Tensor, rules: Tensor, terminals: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """grad . d log Z / d (root, rules, terminals), in their shapes and precision."""
    charts, total = found.charts, found.total
    share = (grad.to(total.dtype).unsqueeze(-1) / total).masked_fill(total == 0, 0.0)
    reached = found.root * share
    d_root = reached * whole_sentence(charts.cells, lengths)
    d_words, d_rules = outside_parts(charts, found.rules, reached, lengths)
    if root.shape[0] == 1:
        d_root = d_root.sum(0, keepdim=True)
    d_terminals = d_words.mul_(charts.words).transpose(0, 1)
    if terminals.shape[0] == 1:
        d_terminals = d_terminals.sum(0, keepdim=True)
    return d_root.to(root.dtype), found.rules.gradient(d_rules, rules), d_terminals.to(terminals.dtype)


def outside_parts(
    charts: Charts, rules: Rules, reached: Tensor, lengths: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """d / d words (T, B, P), and d / d the matrices of the rules; reached (B, N): d / d the whole sentence's cell."""
    T, N = len(charts.words), reached.shape[-1]
    shared = rules.pairs.shape[0] == 1
    d_starts, d_ends = torch.zeros_like(charts.starts), torch.zeros_like(charts.ends)
    # W d u of spans whose left (right) part is a word, widths 3 .., laid out as the cells of their other part are
    over_left, over_right = torch.zeros_like(charts.starts), torch.zeros_like(charts.ends)
    d_pairs = torch.zeros_like(rules.pairs)
    beside = reached.new_zeros(1, *reached.shape)  # what comes from spans that add one word
    for w in range(T, 1, -1):
        n, weights = T - w + 1, charts.splits[w - 2]
        d = beside if w == T else beside.add_(d_starts[:n, :, w - 2]).add_(d_ends[w - 1 :, :, T - 1 - w])
        d[0].add_(reached.masked_fill((lengths != w).unsqueeze(-1), 0.0))
        du = d.div_(charts.tops[w - 2]).masked_fill_(charts.cells[w - 2] == 0, 0.0)
        if w == 2:
            break
        on_left, on_right = du * weights[..., :1], du * weights[..., -1:]
        over_left[:n, :, w - 3], over_right[w - 1 :, :, T - w] = on_left, on_right
        beside = du.new_zeros(n + 1, *du.shape[1:])
        beside[1:] += each(charts.left[:n, :, :, :N].mT, on_left)
        beside[:-1] += each(charts.right[w - 1 :].mT, on_right)
        if w > 3:
            first, second = charts.narrow(w)
            both, first = outer(weights, first, second)
            d_pairs += pulled(du, both, shared)
            d_both = pushed(du, rules.pairs).reshape(-1, N, N)
            inner = weights[:, :, 1:-1].unsqueeze(-1)
            d_starts[:n, :, : w - 3] += torch.bmm(second, d_both.mT).view(*weights.shape[:2], w - 3, N).mul_(inner)
            d_ends[w - 1 :, :, T - w + 1 :] += torch.bmm(first, d_both).view(*weights.shape[:2], w - 3, N)
    d_left, d_right = torch.zeros_like(charts.left), torch.zeros_like(charts.right)
    d_left[:-1, :, :, :N] = torch.matmul(over_left[:-1].mT, charts.starts[1:])
    d_left[:-1, :, :, N:] = du.unsqueeze(-1) * charts.words[1:].unsqueeze(-2)
    d_right[1:] = torch.matmul(over_right[1:].mT, charts.ends[:-1])
    d_left, d_right = d_left.flatten(2), d_right.flatten(2)
    d_words = pushed(d_left, rules.left.mT) + pushed(d_right, rules.right.mT)
    d_words[1:] += each(charts.left[:-1, :, :, N:].mT, du)
    return d_words, (d_pairs, pulled(charts.words, d_left, shared), pulled(charts.words, d_right, shared))
