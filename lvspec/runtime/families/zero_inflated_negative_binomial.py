"""ZeroInflatedNegativeBinomial(gate, total_count, logits)."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.negative_binomial import NegativeBinomial
from lvspec.runtime.families.noise import base_shape
from lvspec.runtime.families.probs import logits_from_probs

__all__ = ["ZeroInflatedNegativeBinomial"]


class ZeroInflatedNegativeBinomial(Distribution):
    """0 with probability gate, else a NegativeBinomial(total_count, logits), elementwise."""

    def __init__(self, gate: Tensor, total_count: Tensor, logits: Tensor):
        self.gate, self.total_count, self.logits = gate, total_count, logits

    def log_prob(self, x: Tensor) -> Tensor:
        """log((1 - gate) NegativeBinomial(x; total_count, logits) + gate [x = 0])."""
        counted = logits_from_probs(1 - self.gate) + NegativeBinomial(self.total_count, self.logits).log_prob(x)
        return torch.where(x == 0, torch.logaddexp(logits_from_probs(self.gate), counted), counted)

    def sample(self, lead: tuple[int, ...] = ()) -> Tensor:
        shape, like = base_shape((self.gate, self.total_count, self.logits), lead)
        open_ = torch.rand(shape, dtype=like.dtype, device=like.device) >= self.gate.detach()
        logits = torch.as_tensor(self.logits, dtype=like.dtype, device=like.device).expand(shape)
        return NegativeBinomial(self.total_count, logits).sample() * open_
