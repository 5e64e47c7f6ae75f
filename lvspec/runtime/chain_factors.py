"""Structured mean field over chains: q(z) = Π_l q(z_l), each q(z_l) ∝ p(z_l) exp(tilt_l) a chain of its own.

    bound = E_q[log p(x | z)] - Σ_l KL(q(z_l) ‖ p(z_l)),      KL = <marginals_l, tilt_l> - log Σ_z p(z_l) exp(tilt_l)

Where E_q[log p(x | z)] is linear in the marginals of each chain, the best tilt of a chain is its gradient with respect to
them. Every such step raises the bound. Saul & Jordan 1996; Ghahramani & Jordan 1997, "Factorial hidden Markov models".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.runtime.distributions import normal_log_prob

Moments = tuple[Tensor, Tensor]


def moments(q: Tensor, table: Tensor) -> Moments:
    """Mean and variance of table[z] (K, D) under q (..., K): (..., D) each."""
    mean = q @ table
    return mean, q @ table**2 - mean**2


def normal_sum_expected(value: Tensor, mean: Tensor, variance: Tensor, scale: Tensor) -> Tensor:
    """E log Normal(x; u, scale) of a u with this mean and variance: log Normal(x; mean, scale) - variance / (2 scale²)."""
    return normal_log_prob(value, mean, scale) - 0.5 * variance / scale**2


@dataclass(frozen=True)
class ChainFactors:
    """tilts, marginals: (B, T, L, K). parts(l, q_l): the moments that chain l adds; chain(l, tilts, semiring): (B,)."""

    tilts: Tensor
    marginals: Tensor
    parts: Callable[[int, Tensor], Moments]
    chain: Callable[[int, Tensor, object], Tensor]

    def moments(self, marginals: Tensor) -> Moments:
        """Of the sum over all chains, which are independent under q."""
        every = [self.parts(i, marginals[..., i, :]) for i in range(marginals.shape[-2])]
        return sum(m for m, _ in every), sum(v for _, v in every)

    def log_sums(self, tilts: Tensor, semiring) -> Tensor:
        """Σ_l log Σ_z p(z_l) exp(tilt_l): (B,)."""
        return sum(self.chain(i, tilts, semiring) for i in range(tilts.shape[2]))

    def divergence(self, semiring) -> Tensor:
        """Σ_l KL(q(z_l) ‖ p(z_l)): (B,)."""
        # 0 · -inf: what is given has probability one
        spoken = torch.where(self.marginals > 0, self.marginals * self.tilts, 0.0)
        return spoken.sum((1, 2, 3)) - self.log_sums(self.tilts, semiring)


def chain_ascent(
    density: Callable[[Moments], Tensor],
    parts: Callable[[int, Tensor], Moments],
    chain: Callable[[int, Tensor, object], Tensor],
    start: Tensor,
    semiring,
    steps: int,
    tolerance: float,
) -> ChainFactors:
    """Each chain in turn at its optimum given the others, from the prior on. density: moments -> (B,); start: zeros (B, T, L, K).

    Ends after `steps` rounds; on a CPU also where tilts move by less than `tolerance` on average. No gradient flows through it.
    """
    with torch.enable_grad():
        tilts = start.detach().clone().requires_grad_()
        (marginals,) = torch.autograd.grad(
            ChainFactors(tilts, tilts, parts, chain).log_sums(tilts, semiring).sum(), tilts
        )
    tilts, marginals = tilts.detach(), marginals.detach()
    with torch.no_grad():
        mean, variance = ChainFactors(tilts, marginals, parts, chain).moments(marginals)
    for _ in range(steps):
        moved = 0.0
        for i in range(tilts.shape[2]):
            own = marginals[:, :, i].clone().requires_grad_()
            with torch.enable_grad():
                before = tuple(p.detach() for p in parts(i, own))
                now = parts(i, own)
                total = (mean - before[0] + now[0], variance - before[1] + now[1])
                (best,) = torch.autograd.grad(density(total).sum(), own)
                if tilts.device.type == "cpu" and best.numel():
                    moved = max(moved, (best - tilts[:, :, i]).abs().mean().item())
                tilts = tilts.clone()
                tilts[:, :, i] = best.detach()
                leaf = tilts.clone().requires_grad_()
                (found,) = torch.autograd.grad(chain(i, leaf, semiring).sum(), leaf)
            marginals = marginals.clone()
            marginals[:, :, i] = found[:, :, i]
            with torch.no_grad():
                after = parts(i, marginals[:, :, i])
                mean, variance = mean - before[0] + after[0], variance - before[1] + after[1]
        if tilts.device.type == "cpu" and moved <= tolerance:
            break
    return ChainFactors(tilts, marginals, parts, chain)


def chain_weights(factors: ChainFactors, density: Callable[[Moments], Tensor], drawn: Tensor, semiring) -> Tensor:
    """log p(x, z) - log q(z) at draws z (S, B, T, L): (S, B)."""
    ones = torch.nn.functional.one_hot(drawn, factors.tilts.shape[-1]).to(factors.tilts.dtype)
    spoken = torch.where(ones > 0, factors.tilts, 0.0).sum((2, 3, 4))
    likelihood = torch.stack([density(factors.moments(one)) for one in ones])
    return likelihood - spoken + factors.log_sums(factors.tilts, semiring)
