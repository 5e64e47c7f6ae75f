"""NegativeBinomial(total_count, logits)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import base_shape, standard_gamma
from lvspec.runtime.families.special import as_tensor

__all__ = ["NegativeBinomial"]


class NegativeBinomial(Distribution):
    """The number of successes, of probability sigmoid(logits), before n = total_count > 0 failures, elementwise."""

    def __init__(self, total_count: Tensor, logits: Tensor):
        self.total_count, self.logits = total_count, logits

    def log_prob(self, x: Tensor) -> Tensor:
        """log Γ(n + x) - log Γ(n) - log x! + n log sigmoid(-l) + x log sigmoid(l)."""
        logits = self.logits
        n, x = as_tensor(self.total_count, logits), x.to(logits.dtype)
        k = x.clamp_min(0)
        count = torch.lgamma(n + k) - torch.lgamma(n) - torch.lgamma(k + 1)
        return (count + n * logsigmoid(-logits) + k * logsigmoid(logits)).masked_fill(x < 0, -torch.inf)

    def sample(self, lead: tuple[int, ...] = ()) -> Tensor:
        """Poisson(exp(l) g), g ~ Gamma(n, 1), which is kept where its draws are whole numbers of 64 bits."""
        shape, like = base_shape((self.total_count, self.logits), lead)
        n = torch.as_tensor(self.total_count, dtype=like.dtype, device=like.device).expand(shape)
        rate = standard_gamma(n) * self.logits.detach().exp()
        return torch.poisson(rate.clamp_max(2.0**53)).to(torch.int64)
