"""OneHotCategorical(logits)."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.families.categorical import Categorical
from lvspec.runtime.families.distribution import Distribution

__all__ = ["OneHotCategorical"]


class OneHotCategorical(Distribution):
    """The unit vector of a Categorical(logits (..., K)), over the last axis."""

    def __init__(self, logits: Tensor):
        self.logits = logits

    @property
    def index(self) -> Categorical:
        """The distribution of the place of the one."""
        return Categorical(self.logits)

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ_k x_k log softmax(logits)_k; a forbidden entry counts only where x is not 0."""
        scores = self.logits.log_softmax(-1)
        taken = x != 0
        return torch.where(taken, x * scores.masked_fill(~taken, 0.0), torch.zeros_like(scores)).sum(-1)

    def sample(self, lead: tuple[int, ...] = ()) -> Tensor:
        """A unit vector of the logits' dtype."""
        index = self.index.sample(lead)
        return torch.nn.functional.one_hot(index, self.logits.shape[-1]).to(self.logits.dtype)

    def kl(self, other: OneHotCategorical) -> Tensor:
        return self.index.kl(other.index)

    def entropy(self) -> Tensor:
        return self.index.entropy()
