"""ZeroInflatedPoisson(gate, rate)."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import base_shape
from lvspec.runtime.families.poisson import Poisson
from lvspec.runtime.families.probs import logits_from_probs

__all__ = ["ZeroInflatedPoisson"]


class ZeroInflatedPoisson(Distribution):
    """0 with probability gate, else a Poisson(rate), elementwise."""

    def __init__(self, gate: Tensor, rate: Tensor):
        self.gate, self.rate = gate, rate

    def log_prob(self, x: Tensor) -> Tensor:
        """log((1 - gate) Poisson(x; rate) + gate [x = 0])."""
        log_gate, log_rest = torch.broadcast_tensors(logits_from_probs(self.gate), logits_from_probs(1 - self.gate))
        counted = log_rest + Poisson(self.rate).log_prob(x)
        return torch.where(x == 0, torch.logaddexp(log_gate, counted), counted)

    def sample(self, lead: tuple[int, ...] = ()) -> Tensor:
        shape, like = base_shape((self.gate, self.rate), lead)
        open_ = torch.rand(shape, dtype=like.dtype, device=like.device) >= self.gate.detach()
        return torch.poisson(self.rate.detach().expand(shape)).to(torch.int64) * open_
