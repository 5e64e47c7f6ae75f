"""Beta(concentration1, concentration0)."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.families.dirichlet import Dirichlet
from lvspec.runtime.families.distribution import ExponentialFamily, Parameters
from lvspec.runtime.families.special import as_tensor, x_log_one_minus_y, x_log_y

__all__ = ["Beta"]


class Beta(ExponentialFamily):
    """x^(a - 1) (1 - x)^(b - 1) / B(a, b), elementwise. The noise of a draw is the value itself.

    In a mean field t = (log x, log(1 - x)), with natural parameters a and b."""

    def __init__(self, concentration1: Tensor, concentration0: Tensor):
        self.concentration1, self.concentration0 = concentration1, concentration0

    @property
    def pair(self) -> Dirichlet:
        """The distribution of (x, 1 - x)."""
        a, b = torch.broadcast_tensors(self.concentration1, self.concentration0)
        return Dirichlet(torch.stack([a, b], -1))

    def log_prob(self, x: Tensor) -> Tensor:
        """(a - 1) log x + (b - 1) log(1 - x) - log B(a, b)."""
        a, b = as_tensor(self.concentration1, x), as_tensor(self.concentration0, x)
        inside = (x >= 0) & (x <= 1)
        v = torch.where(inside, x, torch.full_like(x, 0.5))
        norm = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
        return (x_log_y(a - 1, v) + x_log_one_minus_y(b - 1, v) - norm).masked_fill(~inside, -torch.inf)

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        """A value, without gradient."""
        value = self.pair.noise(lead)[..., 0]
        # 1 itself has density 0 or infinity: the largest number below it stands for what rounding took away
        return value.clamp_max(1 - torch.finfo(value.dtype).eps / 2)

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """The value `noise`, with its gradient to both arguments."""
        value = self.noise() if noise is None else noise
        return self.pair.draw(torch.stack([value, 1 - value], -1))[..., 0]

    def kl(self, other: Beta) -> Tensor:
        """The Dirichlet divergence of the pairs."""
        return self.pair.kl(other.pair)

    def entropy(self) -> Tensor:
        """The Dirichlet entropy of the pair."""
        return self.pair.entropy()

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def variance(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        return a * b / ((a + b) ** 2 * (a + b + 1))

    def log_normaliser(self) -> Tensor:
        """log B(a, b)."""
        a, b = self.concentration1, self.concentration0
        return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)

    def natural(self) -> Parameters:
        return self.concentration1, self.concentration0

    @classmethod
    def from_natural(cls, *natural: Tensor) -> Beta:
        concentration1, concentration0 = natural
        return cls(concentration1, concentration0)

    def statistics(self) -> Parameters:
        total = torch.digamma(self.concentration1 + self.concentration0)
        return torch.digamma(self.concentration1) - total, torch.digamma(self.concentration0) - total

    def scattered(self) -> Beta:
        a, b = self.concentration1, self.concentration0
        return Beta(a + torch.rand_like(a), b + torch.rand_like(b))
