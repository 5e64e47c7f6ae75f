"""Binomial(total_count, logits)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import base_shape
from lvspec.runtime.families.special import as_tensor

__all__ = ["Binomial"]


class Binomial(Distribution):
    """The number of successes in n = total_count tries, each with probability sigmoid(logits), elementwise."""

    def __init__(self, total_count: Tensor, logits: Tensor):
        self.total_count, self.logits = total_count, logits

    def log_prob(self, x: Tensor) -> Tensor:
        """log C(n, x) + x l - n softplus(l)."""
        logits = self.logits
        n, x = as_tensor(self.total_count, logits), x.to(logits.dtype)
        possible = (x >= 0) & (x <= n)
        k = torch.where(possible, x, torch.zeros_like(x))
        count = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
        return (count + k * logits - n * softplus(logits)).masked_fill(~possible, -torch.inf)

    def sample(self, lead: tuple[int, ...] = ()) -> Tensor:
        shape, like = base_shape((self.total_count, self.logits), lead)
        count = torch.as_tensor(self.total_count, dtype=like.dtype, device=like.device).expand(shape)
        return torch.binomial(count, self.logits.detach().sigmoid().expand(shape)).to(torch.int64)
