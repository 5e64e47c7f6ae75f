"""Dirichlet(concentration)."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.once import once_differentiable
from lvspec.runtime.families.distribution import ExponentialFamily, Parameters
from lvspec.runtime.families.special import as_tensor, x_log_y

__all__ = ["Dirichlet"]


class ImplicitDirichlet(torch.autograd.Function):
    """value ~ Dirichlet(a) over the last axis as a function of a."""

    @staticmethod
    def forward(ctx, concentration: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(concentration, value)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        concentration, value = ctx.saved_tensors
        total = concentration.sum(-1, keepdim=True).expand_as(concentration)
        slope = torch._dirichlet_grad(value, concentration, total)
        return slope * (grad - (value * grad).sum(-1, keepdim=True)), None


class Dirichlet(ExponentialFamily):
    """Π_k x_k^(a_k - 1) / B(a), a the concentration (..., K), over the last axis. The noise of a draw is the value itself.

    In a mean field t = log x; natural parameters: the concentration (its offset of -1 is the same in prior and q)."""

    event = 1

    def __init__(self, concentration: Tensor):
        self.concentration = concentration

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ_k (a_k - 1) log x_k - log B(a)."""
        a = as_tensor(self.concentration, x)
        norm = torch.lgamma(a).sum(-1) - torch.lgamma(a.sum(-1))
        return x_log_y(a - 1, x).sum(-1) - norm

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        """A value, without gradient."""
        concentration = self.concentration.detach().expand((*lead, *self.concentration.shape))
        if concentration.device.type == "meta":
            return torch.empty_like(concentration)
        tiny = torch.finfo(concentration.dtype).tiny
        value = torch._sample_dirichlet(concentration).clamp_min(tiny)
        return value / value.sum(-1, keepdim=True)

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """The value `noise`, with its gradient."""
        value = self.noise() if noise is None else noise
        return ImplicitDirichlet.apply(self.concentration.expand(value.shape), value.detach())

    def kl(self, other: Dirichlet) -> Tensor:
        """log B(p) - log B(q) + Σ_k (q_k - p_k) (digamma(q_k) - digamma(q_0)), q_0 = Σ_k q_k."""
        q, p = torch.broadcast_tensors(self.concentration, other.concentration)
        log_b_q = torch.lgamma(q).sum(-1) - torch.lgamma(q.sum(-1))
        log_b_p = torch.lgamma(p).sum(-1) - torch.lgamma(p.sum(-1))
        expected_log = torch.digamma(q) - torch.digamma(q.sum(-1, keepdim=True))
        return log_b_p - log_b_q + ((q - p) * expected_log).sum(-1)

    def entropy(self) -> Tensor:
        """log B(a) - (K - a_0) digamma(a_0) - Σ_k (a_k - 1) digamma(a_k), a_0 = Σ_k a_k."""
        a, total = self.concentration, self.concentration.sum(-1)
        log_b = torch.lgamma(a).sum(-1) - torch.lgamma(total)
        return log_b - (a.shape[-1] - total) * torch.digamma(total) - ((a - 1) * torch.digamma(a)).sum(-1)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def variance(self) -> Tensor:
        mean = self.mean
        return mean * (1 - mean) / (self.concentration.sum(-1, keepdim=True) + 1)

    def log_normaliser(self) -> Tensor:
        """Σ_k log Γ(a_k) - log Γ(Σ_k a_k)."""
        return torch.lgamma(self.concentration).sum(-1) - torch.lgamma(self.concentration.sum(-1))

    def natural(self) -> Parameters:
        return (self.concentration,)

    @classmethod
    def from_natural(cls, *natural: Tensor) -> Dirichlet:
        (concentration,) = natural
        return cls(concentration)

    def statistics(self) -> Parameters:
        a = self.concentration
        return (torch.digamma(a) - torch.digamma(a.sum(-1, keepdim=True)),)

    def scattered(self) -> Dirichlet:
        return Dirichlet(self.concentration + torch.rand_like(self.concentration))
