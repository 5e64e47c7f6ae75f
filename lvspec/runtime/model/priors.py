"""Densities of probabilities, at the logits that stand for them: exact where a softmax would give 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["beta_of_logits", "dirichlet_of_logits"]


def beta_of_logits(logits: Tensor, concentration1: float, concentration0: float) -> Tensor:
    """log Beta(sigmoid(w); a, b) = (a - 1) log sigmoid(w) + (b - 1) log sigmoid(-w) - log B(a, b), of each entry."""
    norm = math.lgamma(concentration1) + math.lgamma(concentration0) - math.lgamma(concentration1 + concentration0)
    log_p, log_rest = torch.nn.functional.logsigmoid(logits), torch.nn.functional.logsigmoid(-logits)
    return (concentration1 - 1) * log_p + (concentration0 - 1) * log_rest - norm


def dirichlet_of_logits(logits: Tensor, concentration: float) -> Tensor:
    """log Dirichlet(softmax(w); a) = (a - 1) Σ_k log softmax(w)_k - log B(a, ..., a), of each row: (..., K) -> (...)."""
    size = logits.shape[-1]
    norm = size * math.lgamma(concentration) - math.lgamma(size * concentration)
    return (concentration - 1) * logits.log_softmax(-1).sum(-1) - norm
