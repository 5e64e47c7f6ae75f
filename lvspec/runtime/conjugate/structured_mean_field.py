"""Structured mean field over chains: q(z) = Π_l q(z_l), each q(z_l) ∝ p(z_l) exp(tilt_l) a chain of its own.

    bound = E_q[log p(x | z)] - Σ_l KL(q(z_l) ‖ p(z_l)),      KL = <marginals_l, tilt_l> - log Σ_z p(z_l) exp(tilt_l)

The tilt of a chain is set to the gradient of the expected log-density with respect to its marginals. Where that is linear in
the marginals of each chain, the chain is then at its optimum; where it is convex, its tangent lies below it, so that the bound
rises all the same (Hunter & Lange 2004). Saul & Jordan 1996; Ghahramani & Jordan 1997, "Factorial hidden Markov models".

What the chains' tables add up to, u = Σ_l table_l[z_l], enters the log-density by sums over chains, which are independent:

    Normal        mean and variance of u                                 E log p itself
    Categorical   E u_x and log E exp u_v       E u_x - log Σ_v E exp u_v ≤ E log p      convex: log Σ E exp is concave
    Bernoulli     E u and log E exp u           x E u - log(1 + E exp u) ≤ E log p       likewise
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lvspec.runtime.conjugate.mean_field import mean_move, settled
from lvspec.runtime.families.categorical import symbol_scores
from lvspec.runtime.families.normal import Normal

Sums = tuple[Tensor, Tensor]


# ---------------------------------------------------------------- what one chain adds, under marginals q (..., K)
def moments(q: Tensor, table: Tensor) -> Sums:
    """Mean and variance of table[z] (K, D): (..., D) each."""
    mean = q @ table
    return mean, q @ table**2 - mean**2


def cumulants(q: Tensor, table: Tensor) -> Sums:
    """E table[z] and log E exp table[z] (K, D): (..., D) each."""
    return q @ table, log_mean_exp(q, table)


def symbol_cumulants(q: Tensor, table: Tensor, x: Tensor) -> Sums:
    """E table[z][x] (...) and log E exp table[z] (..., V), table (K, V)."""
    return (q * symbol_scores(table, x)).sum(-1), log_mean_exp(q, table)


def log_mean_exp(q: Tensor, table: Tensor) -> Tensor:
    """log Σ_k q_k exp table_k: (..., K), (K, V) -> (..., V). Each column about its largest entry; one product."""
    top = table.detach().amax(0)
    mean = q @ (table - top).exp()
    return mean.clamp_min(torch.finfo(mean.dtype).tiny).log() + top


# ---------------------------------------------------------------- expected log-densities by those sums
def normal_sum_expected(value: Tensor, mean: Tensor, variance: Tensor, scale: Tensor) -> Tensor:
    """E log Normal(x; u, scale) of a u with this mean and variance: log Normal(x; mean, scale) - variance / (2 scale²)."""
    return Normal(mean, scale).log_prob(value) - 0.5 * variance / scale**2


def categorical_sum_bound(score: Tensor, log_mean: Tensor) -> Tensor:
    """E u_x - log Σ_v E exp u_v: below E log softmax(u)_x. (...), (..., V) -> (...)."""
    return score - log_mean.logsumexp(-1)


def bernoulli_sum_bound(value: Tensor, mean: Tensor, log_mean: Tensor) -> Tensor:
    """x E u - log(1 + E exp u): below E log Bernoulli(x; logits u)."""
    return value.to(mean.dtype) * mean - softplus(log_mean)


@dataclass(frozen=True)
class ChainFactors:
    """tilts, marginals: (B, T, L, K), or (B, L, T, K) where the chains' axis is -3. parts(l, q_l): what chain l adds;
    chain(l, tilts, semiring): (B,)."""

    tilts: Tensor
    marginals: Tensor
    parts: Callable[[int, Tensor], Sums]
    chain: Callable[[int, Tensor, object], Tensor]
    axis: int = -2

    def sums(self, marginals: Tensor) -> Sums:
        """Over all chains, which are independent under q."""
        every = [self.parts(i, own) for i, own in enumerate(marginals.unbind(self.axis))]
        first, second = zip(*every, strict=True)
        return reduce(add, first), reduce(add, second)

    def log_sums(self, tilts: Tensor, semiring) -> Tensor:
        """Σ_l log Σ_z p(z_l) exp(tilt_l): (B,)."""
        return reduce(add, (self.chain(i, tilts, semiring) for i in range(tilts.shape[self.axis])))

    def divergence(self, semiring) -> Tensor:
        """Σ_l KL(q(z_l) ‖ p(z_l)): (B,)."""
        # 0 · -inf: what is given has probability one
        spoken = torch.where(self.marginals > 0, self.marginals * self.tilts, 0.0)
        return spoken.sum((1, 2, 3)) - self.log_sums(self.tilts, semiring)


def chain_ascent(
    density: Callable[[Sums], Tensor],
    parts: Callable[[int, Tensor], Sums],
    chain: Callable[[int, Tensor, object], Tensor],
    start: Tensor,
    semiring,
    steps: int,
    tolerance: float,
    axis: int = -2,
) -> ChainFactors:
    """Each chain in turn given the others, from the prior on. density: sums -> (B,); start: zeros (B, T, L, K), the chains
    along `axis`.

    Ends after `steps` rounds; on a CPU also where tilts move by less than `tolerance` on average. No gradient flows through it.
    """
    with torch.enable_grad():
        tilts = start.detach().clone().requires_grad_()
        marginals = slope(ChainFactors(tilts, tilts, parts, chain, axis).log_sums(tilts, semiring), tilts)
    tilts, marginals = tilts.detach(), marginals.detach()
    with torch.no_grad():
        total: Any = ChainFactors(tilts, marginals, parts, chain, axis).sums(marginals)
    for _ in range(steps):
        moved = 0.0
        for i in range(tilts.shape[axis]):
            own = marginals.select(axis, i).clone().requires_grad_()
            with torch.enable_grad():
                now = parts(i, own)
                others = tuple(t - p.detach() for t, p in zip(total, now, strict=True))
                here: Any = tuple(o + p for o, p in zip(others, now, strict=True))
                best = slope(density(here), own)
                if tilts.device.type == "cpu":
                    moved = max(moved, mean_move(tilts.select(axis, i), best))
                tilts = tilts.clone()
                tilts.select(axis, i).copy_(best.detach())
                leaf = tilts.clone().requires_grad_()
                found = slope(chain(i, leaf, semiring), leaf)
            marginals = marginals.clone()
            marginals.select(axis, i).copy_(found.select(axis, i))
            with torch.no_grad():
                total = tuple(o + p for o, p in zip(others, parts(i, marginals.select(axis, i)), strict=True))
        if settled(tilts.device, moved, tolerance):
            break
    return ChainFactors(tilts, marginals, parts, chain, axis)


def slope(value: Tensor, at: Tensor) -> Tensor:
    """d value.sum() / d at; zeros where nothing depends on it: there may be no site."""
    return torch.autograd.grad(value.sum() + 0.0 * at.sum(), at)[0]


def chain_weights(factors: ChainFactors, density: Callable[[Sums], Tensor], drawn: Tensor, semiring) -> Tensor:
    """log p(x, z) - log q(z) at draws z (S, B, T, L), or (S, B, L, T): (S, B)."""
    ones = torch.nn.functional.one_hot(drawn, factors.tilts.shape[-1]).to(factors.tilts.dtype)
    spoken = torch.where(ones > 0, factors.tilts, 0.0).sum((2, 3, 4))
    likelihood = torch.stack([density(factors.sums(one)) for one in ones])
    return likelihood - spoken + factors.log_sums(factors.tilts, semiring)
