"""Backward passes that have no derivative of their own, and say so.

torch's own decorator of this name lets a second derivative pass as 0 where the gradient that comes in has no graph, as that of
a plain sum has none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor


def once_differentiable(backward: Callable) -> Callable:
    """A `backward` of a torch.autograd.Function whose result, differentiated in the tensors that were saved or in the gradients
    that came in, raises RuntimeError."""

    @wraps(backward)
    def guarded(ctx, *gradients: Tensor):
        with torch.no_grad():
            found = backward(ctx, *gradients)
        sources = [t for t in (*ctx.saved_tensors, *gradients) if isinstance(t, Tensor) and t.requires_grad]
        if not torch.is_grad_enabled() or not sources:
            return found
        values = found if isinstance(found, tuple) else (found,)
        last = tuple(v if v is None else _Last.apply(v, *sources) for v in values)
        return last if isinstance(found, tuple) else last[0]

    return guarded


class _Last(torch.autograd.Function):
    """The value, as something that depends on the sources in a way that nobody knows."""

    @staticmethod
    def forward(ctx, value: Tensor, *sources: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx, grad: Tensor):
        raise RuntimeError(
            "a second derivative of what has a first one alone: draws of Gamma, Beta, Dirichlet and alike"
        )
