"""Categorical(logits), and log softmax(logits)[x] at observed symbols x, gathered before anything is enumerated.

A table of E states and V symbols is normalised once; then D sites take E numbers each. Nothing of size D x E x V is made.
"""

from __future__ import annotations

from math import isfinite, isnan, prod

import torch
from torch import Tensor

from lvspec.runtime.core.averages import average
from lvspec.runtime.core.semiring import full_precision, log_sum_exp, may_look, plain_arithmetic
from lvspec.runtime.families.distribution import Distribution

__all__ = [
    "Categorical",
    "categorical_at",
    "categorical_bag",
    "categorical_lookup",
    "categorical_rows",
    "categorical_shared",
    "log_softmax",
    "symbol_scores",
]


def log_softmax(logits: Tensor) -> Tensor:
    """log softmax over the last axis; a row of -inf stays -inf (torch's own gives NaN, which is looked for on a CPU)."""
    if may_look(logits) and logits.shape[-1]:
        found = logits.log_softmax(-1)
        if not isnan(float(found.detach()[..., 0].sum())):
            return found
    dead = (logits.detach() == -torch.inf).all(-1, keepdim=True)
    return logits.masked_fill(dead, 0.0).log_softmax(-1).masked_fill(dead, -torch.inf)


def normalised(logits: Tensor) -> tuple[Tensor, bool]:
    """log_softmax(logits (R, V)), and whether there are rows of -inf: torch's own is NaN throughout such a row."""
    table = logits.log_softmax(-1)
    dead = bool(table.shape[1]) and isnan(float(table[:, 0].sum()))
    return (log_softmax(logits) if dead else table), dead


def gathered(logits: Tensor, x: Tensor) -> Tensor:
    """log softmax(logits)[..., x] by torch's own operations: (*E, V), (*D) -> (*D, *E)."""
    return log_softmax(logits).movedim(-1, 0)[x]


def time_major(x: Tensor) -> Tensor:
    """(B, T, ...) -> (T, B, ...), as a chain reads it."""
    return x.transpose(0, 1)


class TableColumns(torch.autograd.Function):
    """log softmax(logits (*E, V))[..., x (*D)] as (*D, *E). The backward pass normalises again and keeps no table.

    Views are taken in here: outside, each one would cost a node of the graph.
    """

    @staticmethod
    def forward(ctx, logits, x):
        ctx.save_for_backward(logits, x)
        states, turned = logits.shape[:-1], time_major(x) if x.dim() == 2 else x
        table, ctx.dead = normalised(logits.detach().reshape(states.numel(), logits.shape[-1]))
        columns = table.t()[turned.reshape(-1)]  # faster than index_select where rows are not contiguous
        found = columns.view((*turned.shape, *states))
        return time_major(found) if x.dim() == 2 else found

    @staticmethod
    def backward(ctx, grad):
        logits, x = ctx.saved_tensors
        with plain_arithmetic(grad):
            if torch.is_grad_enabled():
                return columns_twice(logits, x, grad), None
            states = logits.shape[:-1].numel()
            if x.dim() == 2:
                grad, x = time_major(grad), time_major(x)
            rows = grad.reshape(x.numel(), states)
            found = softmax_times(logits.reshape(states, logits.shape[-1]), -rows.sum(0), ctx.dead)
            found.t().index_put_((x.reshape(-1),), rows, accumulate=True)
            return found.view(logits.shape), None


def softmax_times(logits: Tensor, row_weights: Tensor, dead: bool) -> Tensor:
    """softmax(logits) with each row multiplied by its weight; dead: rows of -inf, which give 0, are among them."""
    table = logits.softmax(-1)
    if dead:
        table = table.masked_fill((logits == -torch.inf).all(-1, keepdim=True), 0.0)
    return table.mul_(row_weights.unsqueeze(-1))


def columns_twice(logits: Tensor, x: Tensor, grad: Tensor) -> Tensor:
    """The gradient of TableColumns as a graph of its own: x and grad (*D, ...)."""
    with torch.enable_grad():
        (found,) = torch.autograd.grad(gathered(logits, x), logits, grad, create_graph=True)
    return found


def categorical_at(logits: Tensor, x: Tensor) -> Tensor:
    """log softmax(logits)[..., x]: logits (*E, V), x (*D) int64 -> (*D, *E).

    For x (B, T) the result is laid out time-major, as a chain reads it.
    """
    logits = full_precision(logits)
    if not may_look(logits):
        return gathered(logits, x)
    with plain_arithmetic(logits):
        return TableColumns.apply(logits, x)


class TableBags(torch.autograd.Function):
    """sum over each bag's symbols of log softmax(logits (R, V))[:, x]: (B, R). Bags of one size: symbols (B, N), counts
    None; else symbols one bag after another, counts (B)."""

    @staticmethod
    def forward(ctx, logits, symbols, counts):
        ctx.save_for_backward(logits, symbols, counts)
        offsets = None if counts is None else counts.cumsum(0) - counts
        table, ctx.dead = normalised(logits)
        return torch.nn.functional.embedding_bag(symbols, table.t().contiguous(), offsets, mode="sum")

    @staticmethod
    def backward(ctx, grad):
        logits, symbols, counts = ctx.saved_tensors
        with plain_arithmetic(grad):
            if counts is None:
                spread_out = grad.repeat_interleave(symbols.shape[1], 0)
                total = grad.sum(0).mul_(-symbols.shape[1])
            else:
                spread_out = grad.index_select(0, torch.repeat_interleave(counts))
                total = -torch.mv(grad.t(), counts.to(grad.dtype))
            symbols = symbols.reshape(-1)
            if torch.is_grad_enabled():
                return columns_twice(logits, symbols, spread_out), None, None
            found = softmax_times(logits, total, ctx.dead)
            # rows of a (V, R) table are contiguous: summed there and added once
            hits = torch.zeros(logits.shape[1], logits.shape[0], dtype=grad.dtype, device=grad.device)
            return found.add_(hits.index_add_(0, symbols, spread_out).t()), None, None


def categorical_bag(logits: Tensor, x: Tensor, mask: Tensor) -> Tensor:
    """sum over real t of log softmax(logits)[..., x_t]: logits (*E, V), x and mask (B, T) -> (B, *E)."""
    logits = full_precision(logits)
    states, symbols = logits.shape[:-1], logits.shape[-1]
    if not may_look(logits) or x.numel() == 0:
        scores = gathered(logits, x)
        here = mask.reshape(*mask.shape, *[1] * (scores.dim() - 2))
        return torch.where(here, scores, torch.zeros((), dtype=scores.dtype, device=scores.device)).sum(1)
    full = bool(mask.view(torch.uint8).min())  # several times quicker than all()
    bags = (x, None) if full else (x[mask], mask.sum(1))
    with plain_arithmetic(logits):
        found = TableBags.apply(logits.reshape(states.numel(), symbols), *bags)
    return found.view((x.shape[0], *states))


def categorical_rows(logits: Tensor, x: Tensor) -> Tensor:
    """log softmax(logits)[x] row by row: logits (*lead, V), x (*lead, *rest) -> (*lead, *rest); lead axes broadcast."""
    axes = logits.dim() - 1
    x = x.reshape(*[1] * max(axes - x.dim(), 0), *x.shape)
    scores = log_softmax(full_precision(logits))
    # where the logits do not vary and x does, the axis belongs to the symbols of one row: no copies of the row are made
    shared = [d for d in range(axes) if logits.shape[d] == 1 and x.shape[d] != 1]
    varied = [d for d in range(axes) if d not in shared]
    rest = list(range(axes, x.dim()))
    turned = x.permute(*varied, *shared, *rest)
    rows = scores.squeeze(tuple(shared)) if shared else scores
    lead = rows.shape[:-1]
    index = turned.expand(*lead, *turned.shape[len(lead) :])
    flat = index.reshape(*lead, index.shape[len(lead) :].numel())
    found = rows.gather(-1, flat).reshape(index.shape)
    order = varied + shared + rest
    return found.permute(*[order.index(d) for d in range(len(order))])


def categorical_lookup(table: Tensor, *indices: Tensor) -> Tensor:
    """log softmax(table[i, j, ..])[x] for i, j, .. and x, the last of the indices, that broadcast: table (I, J, .., *E, V), indices
    (*D) -> (*D, *E). Each row is normalised once, or where it is asked for, whichever is less."""
    *rows, x = indices
    sizes, states, V = table.shape[: len(rows)], table.shape[len(rows) : -1], table.shape[-1]
    number = rows[0]
    for row, size in zip(rows[1:], sizes[1:], strict=True):
        number = number * size + row
    flat = full_precision(table).reshape(sizes.numel(), states.numel() * V)
    if sizes.numel() > number.numel():
        flat = torch.nn.functional.embedding(number.reshape(-1), flat)
        number = torch.arange(number.numel(), device=number.device).view(number.shape)
    columns = log_softmax(flat.reshape(-1, states.numel(), V)).transpose(1, 2).reshape(-1, states.numel())
    found = torch.nn.functional.embedding(number * V + x, columns)
    return found.reshape(*found.shape[:-1], *states)


def symbol_scores(table: Tensor, x: Tensor) -> Tensor:
    """table[..., x] for every row of the table: table (*E, V), x (*D) -> (*D, *E)."""
    flat = table.reshape(-1, table.shape[-1]).mT  # (V, E)
    return torch.nn.functional.embedding(x, flat).reshape(*x.shape, *table.shape[:-1])


def categorical_shared(logits: Tensor, x: Tensor) -> Tensor:
    """log softmax(logits)[x] where tables differ over the last axis of x: logits (L, *E, V), x (*D, L) -> (*D, L, *E)."""
    table = logits.log_softmax(-1).movedim(-1, 1)  # (L, V, *E)
    return table[torch.arange(x.shape[-1], device=x.device), x]


class Categorical(Distribution):
    """x = k with probability softmax(logits)_k, logits (..., K). What is observed in numbers is scored by the functions above."""

    def __init__(self, logits: Tensor):
        self.logits = logits

    def log_prob(self, x: Tensor) -> Tensor:
        """log softmax(logits)[x]; x broadcasts with the logits' leading axes."""
        logits = self.logits
        axes = max(logits.dim() - 1, x.dim())
        logits = logits.reshape(*[1] * (axes + 1 - logits.dim()), *logits.shape)
        return categorical_rows(logits, x.reshape(*[1] * (axes - x.dim()), *x.shape))

    def sample(self, lead: tuple[int, ...] = ()) -> Tensor:
        """The distribution function is inverted: one uniform variate a draw, and a row is normalised once for all its draws."""
        chances = full_precision(self.logits.detach()).softmax(-1)
        below = chances.cumsum(-1, dtype=torch.float64)
        *own, K = below.shape
        uniform = torch.rand(*own, prod(lead), dtype=chances.dtype, device=below.device)
        # below the total however it rounds, so that neither a forbidden entry nor one past the last is found
        found = torch.searchsorted(below, uniform * (below[..., -1:] * (1.0 - 2.0**-50)), right=True)
        return found.clamp_(max=K - 1).movedim(-1, 0).reshape((*lead, *own))

    def kl(self, other: Categorical) -> Tensor:
        """Σ_k q_k (log q_k - log p_k); 0 where q_k = 0, +inf where only p_k = 0."""
        log_q, log_p = (full_precision(logits).log_softmax(-1) for logits in (self.logits, other.logits))
        if may_look(log_q):
            found = (log_q.exp() * (log_q - log_p)).sum(-1)
            if isfinite(float(found.detach().sum())):  # a q_k of 0 makes a NaN
                return found
        gone = log_q.detach() == -torch.inf
        return average(log_q.exp(), log_q.masked_fill(gone, 0.0) - log_p.masked_fill(gone, 0.0), -1)

    def entropy(self) -> Tensor:
        """-Σ_k p_k log p_k; forbidden entries (-inf) contribute 0."""
        scores = self.logits - log_sum_exp(self.logits, -1).unsqueeze(-1)
        gone = scores.detach() == -torch.inf
        return -(scores.exp() * scores.masked_fill(gone, 0.0)).sum(-1)
