"""log Z of a grammar in the log domain, with its gradient by the outside algorithm: what is left for potentials so
sharp that no scale holds. A few places are treated at a time, so that no temporary grows with the sentence."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import LOG, apart, log_sum_exp, widest
from lvspec.runtime.trees.inside_log import inside_program, places_at_once
from lvspec.runtime.trees.spans import at_lengths


def inside_in_logs(root: Tensor, rules: Tensor, terminals: Tensor, lengths: Tensor) -> Tensor:
    """log Z (B), in float64."""
    if terminals.shape[1] == 0:
        return terminals.new_zeros(len(lengths))
    return InsideLogs.apply(lengths, *map(widest, (root, rules, terminals))).to(terminals.dtype)


def log_cells(root: Tensor, rules: Tensor, terminals: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
    """log Z (B), and the cells (B, n, S) of the widths 1 .."""
    cells: list[Tensor] = []
    with torch.no_grad():
        return inside_program(LOG, {"root": root, "rules": rules, "terminals": terminals}, lengths, cells), cells


class InsideLogs(torch.autograd.Function):
    """log Z (B) of (root, rules, terminals)."""

    @staticmethod
    def forward(ctx, lengths, root, rules, terminals):
        value, cells = log_cells(root, rules, terminals, lengths)
        ctx.save_for_backward(lengths, value, root, rules, terminals, *cells)
        return value

    @staticmethod
    def backward(ctx, grad):
        lengths, value, *rest = ctx.saved_tensors
        (root, rules, terminals), cells = rest[:3], rest[3:]
        if not torch.is_grad_enabled():
            return None, *log_outside(value, cells, root, rules, terminals, lengths, grad)
        inputs = apart(root, rules, terminals)
        again = inside_program(LOG, dict(zip(("root", "rules", "terminals"), inputs, strict=True)), lengths)
        wanted = [x for x in inputs if x.requires_grad]
        grads = torch.autograd.grad(again, wanted, grad, create_graph=True, allow_unused=True, materialize_grads=True)
        found = iter(grads)
        return None, *(next(found) if x.requires_grad else None for x in inputs)


def share_of(part: Tensor, whole: Tensor) -> Tensor:
    """exp(part - whole), 0 where the whole is -inf."""
    return (part - whole.masked_fill(whole == -torch.inf, 0.0)).exp_()


def log_outside(
    value: Tensor, cells: list[Tensor], root: Tensor, rules: Tensor, terminals: Tensor, lengths: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """grad . d log Z / d (root, rules, terminals), in their shapes."""
    N = root.shape[-1]
    d_cells, d_rules = [torch.zeros_like(c) for c in cells], torch.zeros_like(rules)
    none = cells[0].new_full((len(lengths), N), -torch.inf)
    top = root + at_lengths([none, *(c[:, 0, :N] for c in cells)], lengths)
    d_root = share_of(top, value.unsqueeze(-1)) * grad.unsqueeze(-1)
    for w in range(len(cells), 1, -1):
        n, d = cells[w - 1].shape[1], d_cells[w - 1][..., :N]
        d[:, 0] += d_root * (lengths == w).unsqueeze(-1)
        left = torch.stack([cells[k][:, :n] for k in range(w - 1)], 2)
        right = torch.stack([cells[w - 2 - k][:, k + 1 : k + 1 + n] for k in range(w - 1)], 2)
        few = places_at_once(left, N)
        for i in range(0, n, few):
            here = slice(i, i + few)
            d_left, d_right, used = split_outside(
                rules, left[:, here], right[:, here], cells[w - 1][:, here, :N], d[:, here]
            )
            d_rules += used.sum(0, keepdim=True) if len(rules) == 1 else used
            for k in range(w - 1):
                d_cells[k][:, i : i + few][:, : d_left.shape[1]] += d_left[:, :, k]
                d_cells[w - 2 - k][:, k + 1 + i :][:, : d_left.shape[1]] += d_right[:, :, k]
    if root.shape[0] == 1:
        d_root = d_root.sum(0, keepdim=True)
    d_terminals = d_cells[0][..., N:]
    return d_root, d_rules, d_terminals.sum(0, keepdim=True) if terminals.shape[0] == 1 else d_terminals


def split_outside(
    rules: Tensor, left: Tensor, right: Tensor, cells: Tensor, d: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """From d / d the cells (B, n, N) of some places: d / d left and right (B, n, splits, S), and d / d rules (B, N, S, S)."""
    terms = left.unsqueeze(-1) + right.unsqueeze(-2)
    pairs = log_sum_exp(terms, -3)
    rule = share_of(rules.unsqueeze(1) + pairs.unsqueeze(2), cells[..., None, None]).mul_(d[..., None, None])
    terms = share_of(terms, pairs.unsqueeze(2)).mul_(rule.sum(2).unsqueeze(2))
    return terms.sum(-1), terms.sum(-2), rule.sum(1)
