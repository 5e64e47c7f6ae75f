"""log p(x) by importance sampling from q, and how far to trust it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import log_sum_exp

__all__ = ["ImportanceEstimate", "importance"]


@dataclass(frozen=True)
class ImportanceEstimate:
    """log_prob: log 1/S Σ_s w_s, low-biased. standard_error: of log_prob, by the delta method.
    effective_sample_size: (Σ w)² / Σ w², between 1 and S. Each (B,). Where no draw has any weight, log_prob is -inf, its error
    inf, and the effective sample size 0."""

    log_prob: Tensor
    standard_error: Tensor
    effective_sample_size: Tensor


def importance(log_weight: Tensor) -> ImportanceEstimate:
    """From log w_s = log p(x, z_s) - log q(z_s | x): (S, B)."""
    samples = log_weight.shape[0]
    if not samples:
        raise ValueError("log p(x) of no draws: `samples` is at least 1")
    log_prob = log_sum_exp(log_weight, 0) - math.log(samples)
    share = weight_shares(log_weight)
    error = (samples * share - 1).square().mean(0).sqrt() / math.sqrt(max(samples - 1, 1))
    return ImportanceEstimate(log_prob, error.masked_fill(log_prob == -torch.inf, torch.inf), effective_size(share))


def weight_shares(log_weight: Tensor) -> Tensor:
    """w_s / Σ w, (S, ...); zeros where no draw has any weight."""
    return (
        log_weight.masked_fill((log_weight == -torch.inf).all(0), 0.0)
        .softmax(0)
        .masked_fill(log_weight == -torch.inf, 0.0)
    )


def effective_size(share: Tensor) -> Tensor:
    """1 / Σ share², (...); 0 where all are 0."""
    squares = share.square().sum(0)
    return torch.where(squares > 0, 1.0 / squares, 0.0)
