"""HurdlePoisson(gate, rate)."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import base_shape
from lvspec.runtime.families.poisson import Poisson
from lvspec.runtime.families.probs import logits_from_probs

__all__ = ["HurdlePoisson"]


class HurdlePoisson(Distribution):
    """0 with probability gate, else a Poisson(rate) that is above 0, elementwise."""

    def __init__(self, gate: Tensor, rate: Tensor):
        self.gate, self.rate = gate, rate

    def log_prob(self, x: Tensor) -> Tensor:
        """log gate at 0, else log(1 - gate) + log Poisson(x; rate) - log(1 - exp(-rate))."""
        log_gate, log_rest = torch.broadcast_tensors(logits_from_probs(self.gate), logits_from_probs(1 - self.gate))
        some = torch.where(x == 0, torch.ones_like(x), x)
        above = log_rest + Poisson(self.rate).log_prob(some) - torch.log(-torch.expm1(-self.rate))
        return torch.where(x == 0, log_gate, above)

    def sample(self, lead: tuple[int, ...] = ()) -> Tensor:
        """0, or 1 and those that arrive behind the first one, whose time t < 1 has the density ∝ exp(-rate t)."""
        shape, like = base_shape((self.gate, self.rate), lead)
        closed = torch.rand(shape, dtype=like.dtype, device=like.device) < self.gate.detach()
        rate = torch.as_tensor(self.rate, dtype=like.dtype, device=like.device).detach().expand(shape)
        before = -torch.log1p(torch.rand(shape, dtype=like.dtype, device=like.device) * torch.expm1(-rate))
        return (1 + torch.poisson((rate - before).clamp_min(0)).to(torch.int64)) * ~closed
