"""Geometric(logits)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import standard_exponential

__all__ = ["Geometric"]


class Geometric(Distribution):
    """The number of failures before the first success, of probability p = sigmoid(logits), elementwise."""

    def __init__(self, logits: Tensor):
        self.logits = logits

    def log_prob(self, x: Tensor) -> Tensor:
        """x log(1 - p) + log p."""
        x = x.to(self.logits.dtype)
        return (-x * softplus(self.logits) - softplus(-self.logits)).masked_fill(x < 0, -torch.inf)

    def sample(self, lead: tuple[int, ...] = ()) -> Tensor:
        """floor(-E / log(1 - p)), E ~ Exponential(1)."""
        waiting = standard_exponential((self.logits,), lead)
        return (waiting / softplus(self.logits.detach())).floor().clamp_max(2.0**53).to(torch.int64)
