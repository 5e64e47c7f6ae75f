"""Ordered categories: cutpoints that increase, and the logits of what lies between them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

__all__ = ["ordered", "ordered_logits"]


def ordered(free: Tensor) -> Tensor:
    """w_0, w_0 + softplus(w_1), w_0 + softplus(w_1) + softplus(w_2), ... along the last axis."""
    first = free[..., :1]
    return torch.cat([first, first + softplus(free[..., 1:]).cumsum(-1)], -1)


def ordered_logits(eta: Tensor, cutpoints: Tensor) -> Tensor:
    """(..., K): log(σ(c_k - eta) - σ(c_(k-1) - eta)), c_0 to c_(K-2) with -inf before and inf behind; eta (..., 1).

    σ(b) - σ(a) = σ(b) σ(-a) (1 - exp(a - b)); -inf, without a gradient, where rounding makes two cutpoints one.
    """
    gap = cutpoints - eta
    below, above = logsigmoid(gap), logsigmoid(-gap)
    apart = (cutpoints[..., 1:] - cutpoints[..., :-1]).expand_as(gap[..., 1:])
    equal = apart <= 0
    between = torch.log(-torch.expm1(-apart.masked_fill(equal, 1.0))).masked_fill(equal, -torch.inf)
    return torch.cat([below[..., :1], below[..., 1:] + above[..., :-1] + between, above[..., -1:]], -1)
