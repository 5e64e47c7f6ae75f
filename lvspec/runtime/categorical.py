"""log softmax(logits)[x] at observed symbols x, gathered before anything is enumerated."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.semiring import full_precision


def categorical_at(logits: Tensor, x: Tensor) -> Tensor:
    """log softmax(logits)[..., x]: logits (*E, V), x (*D) int64 -> (*D, *E)."""
    table = full_precision(logits).log_softmax(-1).movedim(-1, 0)
    return table[x]


def categorical_bag(logits: Tensor, x: Tensor, mask: Tensor) -> Tensor:
    """sum over real t of log softmax(logits)[..., x_t]: logits (*E, V), x and mask (B, T) -> (B, *E)."""
    scores = categorical_at(logits, x)
    here = mask.reshape(*mask.shape, *[1] * (scores.dim() - 2))
    return torch.where(here, scores, torch.zeros((), dtype=scores.dtype, device=scores.device)).sum(1)


def categorical_rows(logits: Tensor, x: Tensor) -> Tensor:
    """log softmax(logits)[x] row by row: logits (*lead, V), x (*lead, *rest) -> (*lead, *rest); lead axes broadcast."""
    scores = full_precision(logits).log_softmax(-1)
    axes = logits.dim() - 1
    x = x.reshape(*[1] * max(axes - x.dim(), 0), *x.shape)
    lead = torch.broadcast_shapes(scores.shape[:-1], x.shape[:axes])
    rest = x.shape[axes:]
    index = x.expand(*lead, *rest).reshape(*lead, rest.numel())
    return scores.expand(*lead, scores.shape[-1]).gather(-1, index).reshape(*lead, *rest)


def categorical_log_prob(value: Tensor, logits: Tensor) -> Tensor:
    """log softmax(logits)[value]; value broadcasts with the logits' leading axes."""
    return categorical_rows(*align_rows(logits, value))


def align_rows(logits: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and value with equally many leading axes."""
    axes = max(logits.dim() - 1, value.dim())
    logits = logits.reshape(*[1] * (axes + 1 - logits.dim()), *logits.shape)
    return logits, value.reshape(*[1] * (axes - value.dim()), *value.shape)


def categorical_head(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    x: Tensor,
    sites: Tensor | None = None,
    grid: tuple[int, int] | None = None,
) -> Tensor:
    """log softmax(hidden @ weight.T + bias)[x]: hidden (*lead, H), x (*lead) int64 (axes of 1 broadcast) -> (*lead).

    sites (N,): flat indices into the two adjacent lead axes `grid`; only these are computed, others give 0.
    """
    scores = categorical_rows(torch.nn.functional.linear(hidden, weight, bias), x)
    if sites is None:
        return scores
    first = grid[0]
    shape = scores.shape
    flat = scores.flatten(first, first + 1)
    real = torch.zeros(flat.shape[first], dtype=torch.bool, device=flat.device).index_fill(0, sites, True)
    here = real.reshape(*[1] * first, -1, *[1] * (flat.dim() - first - 1))
    return torch.where(here, flat, torch.zeros((), dtype=flat.dtype, device=flat.device)).reshape(shape)
