"""Logits of probabilities, which may be 0 or 1."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["bernoulli_logits_from_probs", "certain_logits_from_probs", "logits_from_probs", "possible"]


def logits_from_probs(probs: Tensor) -> Tensor:
    """log probs, for a Categorical; -inf at 0 with gradient 0."""
    zero = probs <= 0
    return probs.masked_fill(zero, 1.0).log().masked_fill(zero, -torch.inf)


def bernoulli_logits_from_probs(probs: Tensor) -> Tensor:
    """log p - log(1 - p) of a probability that is 0 or 1 by rounding alone: it is kept as near to them as numbers are."""
    limits = torch.finfo(probs.dtype)
    inner = probs.clamp(limits.tiny, 1 - limits.eps / 2)
    return inner.log() - torch.log1p(-inner)


CERTAIN = 1e30  # the log-odds of what is certain: what is impossible is that far below, and differences stay numbers


def certain_logits_from_probs(probs: Tensor) -> Tensor:
    """log p - log(1 - p); of 0 and 1, which have no gradient, -CERTAIN and CERTAIN."""
    sure = (probs <= 0) | (probs >= 1)
    inner = probs.masked_fill(sure, 0.5)
    return torch.where(sure, CERTAIN * (2 * probs.detach() - 1), inner.log() - torch.log1p(-inner))


def possible(log_prob: Tensor) -> Tensor:
    """log_prob, -inf where a probability of 0 or 1 says that the value cannot be, with gradient 0 there."""
    return log_prob.masked_fill(log_prob < -CERTAIN / 2, -torch.inf)
