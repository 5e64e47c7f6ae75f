"""Multinomial(total_count, logits)."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import base_shape
from lvspec.runtime.families.special import as_tensor

__all__ = ["Multinomial"]


class Multinomial(Distribution):
    """How often each of K categories, of probabilities softmax(logits), is drawn in n = total_count draws: (..., K)."""

    def __init__(self, total_count: Tensor, logits: Tensor):
        self.total_count, self.logits = total_count, logits

    def log_prob(self, x: Tensor) -> Tensor:
        """log n! - Σ_k log x_k! + Σ_k x_k log p_k; -inf where the counts do not add up to n."""
        log_p = self.logits.log_softmax(-1)
        n, x = as_tensor(self.total_count, log_p), x.to(log_p.dtype)
        possible = (x >= 0).all(-1) & (x.sum(-1) == n)
        x = x.clamp_min(0)
        log_p, x = torch.broadcast_tensors(log_p, x)
        each = torch.where(x > 0, x * torch.where(x > 0, log_p, torch.zeros_like(x)), torch.zeros_like(x))
        found = torch.lgamma(n + 1) + (each - torch.lgamma(x + 1)).sum(-1)
        return found.masked_fill(~possible, -torch.inf)

    def sample(self, lead: tuple[int, ...] = ()) -> Tensor:
        """Category by category, a Binomial of what is left."""
        log_p = self.logits.detach().log_softmax(-1)
        behind = log_p.flip(-1).logcumsumexp(-1).flip(-1)
        chance = (log_p - behind).exp().nan_to_num(0.0).clamp(0, 1)
        shape, _ = base_shape((chance[..., 0], torch.as_tensor(self.total_count, device=chance.device)), lead)
        left = torch.as_tensor(self.total_count, dtype=chance.dtype, device=chance.device).expand(shape)
        counts = []
        for k in range(chance.shape[-1] - 1):
            counts.append(torch.binomial(left.contiguous(), chance[..., k].expand(shape).contiguous()))
            left = left - counts[-1]
        return torch.stack([*counts, left], -1).to(torch.int64)
