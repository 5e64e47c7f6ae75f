"""Gamma(concentration, rate)."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.once import once_differentiable
from lvspec.runtime.families.distribution import ExponentialFamily, Parameters
from lvspec.runtime.families.noise import base_shape, standard_gamma
from lvspec.runtime.families.special import as_tensor, log_of, x_log_y

__all__ = ["Gamma"]


class ImplicitGamma(torch.autograd.Function):
    """value ~ Gamma(concentration, 1) as a function of the concentration: d value / d a = -(dF/da) / density."""

    @staticmethod
    def forward(ctx, concentration: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(concentration, value)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        concentration, value = ctx.saved_tensors
        return grad * torch._standard_gamma_grad(concentration, value), None


class Gamma(ExponentialFamily):
    """rate^a x^(a - 1) exp(-rate x) / Γ(a), a the concentration, elementwise. The noise of a draw is the value itself.

    In a mean field t = (log x, x), with natural parameters the concentration and minus the rate."""

    def __init__(self, concentration: Tensor, rate: Tensor):
        self.concentration, self.rate = concentration, rate

    def log_prob(self, x: Tensor) -> Tensor:
        """a log rate + (a - 1) log x - rate x - log Γ(a)."""
        a, rate = as_tensor(self.concentration, x), as_tensor(self.rate, x)
        inside = x >= 0
        v = torch.where(inside, x, torch.ones_like(x))
        density = x_log_y(a, rate) + x_log_y(a - 1, v) - rate * v - torch.lgamma(a)
        return density.masked_fill(~inside, -torch.inf)

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        """A value, without gradient."""
        shape, like = base_shape((self.concentration, self.rate), lead)
        a = torch.as_tensor(self.concentration, dtype=like.dtype).expand(shape)
        return standard_gamma(a) / torch.as_tensor(self.rate).detach()

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """The value `noise`, with its gradient to both arguments."""
        value = self.noise() if noise is None else noise
        rate = torch.as_tensor(self.rate, dtype=value.dtype, device=value.device)
        a = torch.as_tensor(self.concentration, dtype=value.dtype, device=value.device)
        return ImplicitGamma.apply(a.expand(value.shape), (value * rate).detach()) / rate

    def kl(self, other: Gamma) -> Tensor:
        """a_p log(b_q / b_p) + log Γ(a_p) - log Γ(a_q) + (a_q - a_p) digamma(a_q) + a_q (b_p / b_q - 1)."""
        a, c = self.concentration, other.concentration
        ratio = other.rate / self.rate
        return -c * log_of(ratio) + torch.lgamma(c) - torch.lgamma(a) + (a - c) * torch.digamma(a) + a * (ratio - 1)

    def entropy(self) -> Tensor:
        """a - log rate + log Γ(a) + (1 - a) digamma(a)."""
        a = self.concentration
        return a - self.rate.log() + torch.lgamma(a) + (1 - a) * torch.digamma(a)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate**2

    def log_normaliser(self) -> Tensor:
        """log Γ(a) - a log rate."""
        return torch.lgamma(self.concentration) - self.concentration * self.rate.log()

    def natural(self) -> Parameters:
        return self.concentration, -self.rate

    @classmethod
    def from_natural(cls, *natural: Tensor) -> Gamma:
        concentration, minus_rate = natural
        return cls(concentration, -minus_rate)

    def statistics(self) -> Parameters:
        return torch.digamma(self.concentration) - self.rate.log(), self.concentration / self.rate

    def scattered(self) -> Gamma:
        return Gamma(self.concentration.clone(), self.rate * (0.75 + 0.5 * torch.rand_like(self.rate)))
