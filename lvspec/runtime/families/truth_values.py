"""log p of truth values in two passes over their logits each way: torch's own makes a table for each of its five steps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from lvspec.runtime.core.semiring import full_precision, may_look


class TruthScores(torch.autograd.Function):
    """log sigmoid(l) - (1 - x) l, with gradient x - sigmoid(l) for l: x broadcasts to l and has no gradient."""

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


def bernoulli_log_prob(value: Tensor, logits: Tensor) -> Tensor:
    """value log sigmoid(l) + (1 - value) log sigmoid(-l) = value l - softplus(l)."""
    logits = full_precision(logits)
    value = value.to(logits.dtype)
    shape = torch.broadcast_shapes(value.shape, logits.shape)
    if may_look(logits) and shape == logits.shape and not value.requires_grad:
        return TruthScores.apply(value, logits)
    minus = logits.new_full((), -1.0)  # a weight is multiplied in place, where a sign outside makes a tensor each way
    return binary_cross_entropy_with_logits(logits.expand(shape), value.expand(shape), minus, reduction="none")
