"""Exponential(rate)."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import standard_exponential
from lvspec.runtime.families.special import as_tensor, log_of

__all__ = ["Exponential"]


class Exponential(Distribution):
    """rate exp(-rate x) of x >= 0, elementwise."""

    def __init__(self, rate: Tensor):
        self.rate = rate

    def log_prob(self, x: Tensor) -> Tensor:
        """log rate - rate x; -inf below 0."""
        rate = as_tensor(self.rate, x)
        return (rate.log() - rate * x).masked_fill(x < 0, -torch.inf)

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        return standard_exponential((self.rate,), lead)

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """noise / rate."""
        return (self.noise() if noise is None else noise) / self.rate

    def kl(self, other: Exponential) -> Tensor:
        """log(b_q / b_p) + b_p / b_q - 1."""
        ratio = other.rate / self.rate
        return ratio - log_of(ratio) - 1

    def entropy(self) -> Tensor:
        """1 - log rate."""
        return 1 - self.rate.log()

    @property
    def mean(self) -> Tensor:
        return 1 / self.rate

    @staticmethod
    def expected_log_prob(x: Tensor, log: Tensor, mean: Tensor) -> Tensor:
        """E log r - x E r, r the rate; -inf below 0."""
        return (log - mean * x).masked_fill(x < 0, -torch.inf)
