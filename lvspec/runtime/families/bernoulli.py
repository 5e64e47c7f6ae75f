"""Bernoulli(logits)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, softplus

from lvspec.runtime.core.semiring import full_precision, may_look
from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import standard_uniform

__all__ = ["Bernoulli"]


class TruthScores(torch.autograd.Function):
    """log sigmoid(l) - (1 - x) l, with gradient x - sigmoid(l) for l: x broadcasts to l and has no gradient.

    Two passes over the logits each way, where torch's own makes a table for each of its five steps."""

    @staticmethod
    def forward(ctx, value, logits):
        ctx.save_for_backward(value, logits)
        return logsigmoid(logits).addcmul_(value - 1, logits)

    @staticmethod
    def backward(ctx, grad):
        value, logits = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, (value - logits.sigmoid()) * grad
        chance = logits.sigmoid()
        return None, torch.sub(value, chance, out=chance).mul_(grad)


class Bernoulli(Distribution):
    """x = 1 with probability sigmoid(logits), else 0, elementwise."""

    def __init__(self, logits: Tensor):
        self.logits = logits

    def log_prob(self, x: Tensor) -> Tensor:
        """x log sigmoid(l) + (1 - x) log sigmoid(-l) = x l - softplus(l)."""
        logits = full_precision(self.logits)
        x = x.to(logits.dtype)
        shape = torch.broadcast_shapes(x.shape, logits.shape)
        if may_look(logits) and shape == logits.shape and not x.requires_grad:
            return TruthScores.apply(x, logits)
        minus = logits.new_full(
            (), -1.0
        )  # a weight is multiplied in place, where a sign outside makes a tensor each way
        return binary_cross_entropy_with_logits(logits.expand(shape), x.expand(shape), minus, reduction="none")

    def table(self) -> Tensor:
        """(log p(0), log p(1)) along a new last axis."""
        return torch.stack([-softplus(self.logits), -softplus(-self.logits)], -1)

    def sample(self, lead: tuple[int, ...] = ()) -> Tensor:
        return (standard_uniform((self.logits,), lead) < self.logits.detach().sigmoid()).to(torch.int64)

    def kl(self, other: Bernoulli) -> Tensor:
        """q (l_q - l_p) - softplus(l_q) + softplus(l_p)."""
        q, p = self.logits, other.logits
        return q.sigmoid() * (q - p) - softplus(q) + softplus(p)

    def entropy(self) -> Tensor:
        """softplus(l) - l sigmoid(l)."""
        return softplus(self.logits) - self.logits * self.logits.sigmoid()

    @staticmethod
    def expected_log_prob(x: Tensor, log: Tensor, log_not: Tensor) -> Tensor:
        """x E log p + (1 - x) E log(1 - p)."""
        return torch.where(x > 0.5, log, log_not)

    @staticmethod
    def expected_table(log: Tensor, log_not: Tensor) -> Tensor:
        """The same at both values, along a last axis."""
        return torch.stack(torch.broadcast_tensors(log_not, log), -1)
