"""Log-densities as tables: every value or state along an axis of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import may_look


def bernoulli_table(logits: Tensor) -> Tensor:
    """(log p(0), log p(1)) along a new last axis."""
    return torch.stack([-torch.nn.functional.softplus(logits), -torch.nn.functional.softplus(-logits)], -1)


def symbol_scores(table: Tensor, x: Tensor) -> Tensor:
    """table[..., x] for every row of the table: table (*E, V), x (*D) -> (*D, *E)."""
    flat = table.reshape(-1, table.shape[-1]).mT  # (V, E)
    return torch.nn.functional.embedding(x, flat).reshape(*x.shape, *table.shape[:-1])


def categorical_shared(logits: Tensor, x: Tensor) -> Tensor:
    """log softmax(logits)[x] where tables differ over the last axis of x: logits (L, *E, V), x (*D, L) -> (*D, L, *E)."""
    table = logits.log_softmax(-1).movedim(-1, 1)  # (L, V, *E)
    return table[torch.arange(x.shape[-1], device=x.device), x]


def normal_table(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """log N(x; loc, scale²) of every site under every state: x (*D, F), loc and scale (*E, F) -> (*D, *E).

    With one scale for all states the square is expanded, so that the product with all states is one matrix
    product. The expansion cancels badly where standardised values are large: there, and wherever looking would
    have to wait for the device or break a compiled graph, the direct form is taken.
    """
    loc, scale = torch.broadcast_tensors(loc, scale)
    states, features = loc.shape[:-1], loc.shape[-1]
    constant = scale.log().sum(-1) + 0.9189385332046727 * features
    centre = loc.detach().reshape(-1, features).mean(0)
    a, m = (x - centre) / scale.reshape(-1, features)[0], ((loc - centre) / scale).reshape(-1, features)
    if not _expands(a, m, scale):
        spread = x.reshape(*x.shape[:-1], *[1] * len(states), features)
        return -0.5 * ((spread - loc) / scale).square().sum(-1) - constant
    square = a.square().sum(-1, keepdim=True) * 0.5 + (m.square().sum(-1) * 0.5 + constant.reshape(-1))
    return (a @ m.mT - square).reshape(*x.shape[:-1], *states)


def _expands(a: Tensor, m: Tensor, scale: Tensor) -> bool:
    """Whether |a|² - 2 a·m + |m|² is safe: one scale for all states, moderate values."""
    if not may_look(a) or not a.numel():
        return False
    if scale.stride()[:-1].count(0) != scale.dim() - 1 and not (scale == scale.reshape(-1, scale.shape[-1])[0]).all():
        return False
    return bool(m.detach().abs().amax() < 100 and a.detach().abs().amax() < 100)
