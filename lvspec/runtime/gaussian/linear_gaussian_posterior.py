"""p(z | x) of a linear-Gaussian chain, asked of its backward conditionals.

    p(z | x) = p(z[T-1] | x) prod_t p(z[t] | z[t+1], x[<=t])         each factor is N(G z[t+1] + g, V)

Marginals pass through the conditionals, draws pass through them, and their entropies add up. All of them come from the
filter at once, without a loop.
Rauch, Tung & Striebel 1965; Frühwirth-Schnatter 1994; Särkkä 2013, "Bayesian filtering and smoothing", 8.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from lvspec.runtime.core.semiring import plain_arithmetic
from lvspec.runtime.families.special import LOG_TWO_PI
from lvspec.runtime.gaussian.linear_gaussian import (
    EVENTS,
    GaussianChain,
    apply_matrix,
    kalman_predict,
    sandwich,
    stacked_states,
)
from lvspec.runtime.gaussian.orthogonal import lower_root


@dataclass(frozen=True)
class GaussianChainPosterior:
    """p(z | x) of a linear-Gaussian chain; 0 beyond each row's length. In float64, where the chain's own precision is too
    coarse for its noise."""

    own: GaussianChain

    @cached_property
    def chain(self) -> GaussianChain:
        """The chain in the precision of its filter."""
        return self.own.double() if self.own.filtered.means.dtype == torch.float64 else self.own

    @cached_property
    def conditionals(self) -> tuple[Tensor, Tensor, Tensor]:
        """p(z[t] | z[t+1], x[<=t]) = N(G z[t+1] + g, W W'): G and W (*lead, T, D, D), g (*lead, T, D); G is 0 at the last
        real site. As in the filter, an array of roots is made triangular: (A L  Q^1/2; L  0) becomes (F  0; G F  W)."""
        f, mask, D = self.chain.filtered, self.chain.mask, self.chain.size
        with plain_arithmetic(f.means):
            chain = self.chain.rooted()
            A, _, Q = (spread_sites(x, mask.shape[-1], e) for x, e in zip(chain.transition, EVENTS, strict=True))
            followed = mask[..., 1:].unsqueeze(-1).unsqueeze(-1)
            roots = f.roots[..., :-1, :, :]
            upper = torch.cat([A[..., 1:, :, :] @ roots, Q[..., 1:, :, :].expand(roots.shape)], -1)
            both = lower_root(torch.cat([upper, pad(roots, (0, D))], -2))
            ahead, reached = both[..., :D, :D], both[..., D:, :D]
            G = torch.linalg.solve_triangular(ahead, reached, upper=False, left=False)
            G = torch.where(followed, G, 0.0)
            W = torch.where(followed, both[..., D:, D:], roots)
            g = f.means[..., :-1, :] - apply_matrix(G, f.predicted_means[..., 1:, :])
            last = slice(-1, None) if mask.shape[-1] else slice(0, 0)
            end = f.roots[..., last, :, :]
            G = torch.cat([G, torch.zeros_like(end)], -3)
            return G, torch.cat([g, f.means[..., last, :]], -2), torch.cat([W, end], -3)

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (*lead, T, D) and covariance (*lead, T, D, D) of p(z[t] | x)."""
        G, g, W = self.conditionals
        with plain_arithmetic(g):
            V = W @ W.mT
            found: list[tuple[Tensor, Tensor]] = []
            mean, covariance = g.new_zeros(self.chain.size), torch.zeros_like(self.chain.start[1])
            for t in reversed(range(self.chain.mask.shape[-1])):
                mean = apply_matrix(G[..., t, :, :], mean) + g[..., t, :]
                covariance = sandwich(G[..., t, :, :], covariance) + V[..., t, :, :]
                found.insert(0, (mean, covariance))
            means, covariances = stacked_states(found, self.chain.mask.shape[:-1], g)
        here = self.chain.mask.unsqueeze(-1)
        return torch.where(here, means, 0.0), torch.where(here.unsqueeze(-1), covariances, 0.0)

    def _shaped(self, value: Tensor, event: int) -> Tensor:
        return value.flatten(-event - 1) if self.chain.scalar else value

    @property
    def mean(self) -> Tensor:
        """E[z[t] | x]: (*lead, T, D)."""
        return self._shaped(self.moments[0], 1)

    @property
    def covariance(self) -> Tensor:
        """Cov[z[t] | x]: (*lead, T, D, D)."""
        return self.moments[1]

    @property
    def variance(self) -> Tensor:
        """Of each coordinate: (*lead, T, D)."""
        return self._shaped(self.moments[1].diagonal(dim1=-2, dim2=-1), 1)

    @property
    def lagged_covariance(self) -> Tensor:
        """Cov[z[t], z[t+1] | x] = G Cov[z[t+1] | x]: (*lead, T, D, D), 0 at the last real site."""
        G, covariance = self.conditionals[0], self.moments[1]
        return G @ torch.cat([covariance[..., 1:, :, :], torch.zeros_like(covariance[..., :1, :, :])], -3)

    @property
    def mode(self) -> Tensor:
        """The most probable path, which of a Gaussian is the mean: (*lead, T, D)."""
        return self.mean

    @property
    def filtered(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance of p(z[t] | x[<=t])."""
        here = self.chain.mask.unsqueeze(-1)
        f = self.chain.filtered
        means = self._shaped(torch.where(here, f.means, 0.0), 1)
        return means, torch.where(here.unsqueeze(-1), f.roots @ f.roots.mT, 0.0)

    def sample(self, n: int) -> Tensor:
        """n joint draws of the path, last site first (Frühwirth-Schnatter 1994): (n, *lead, T, D), reparameterized."""
        G, g, W = self.conditionals
        with plain_arithmetic(g):
            noise = torch.randn(n, *g.shape, dtype=g.dtype, device=g.device)
            z: Any = torch.zeros_like(noise[..., 0, :]) if g.shape[-2] else None
            found: list[Tensor] = []
            for t in reversed(range(g.shape[-2])):
                spread = apply_matrix(W[..., t, :, :], noise[..., t, :])
                z = apply_matrix(G[..., t, :, :], z) + g[..., t, :] + spread
                found.insert(0, z)
            draws = torch.stack(found, -2) if found else noise
        return self._shaped(torch.where(self.chain.mask.unsqueeze(-1), draws, 0.0), 1)

    @property
    def entropy(self) -> Tensor:
        """H[p(z | x)] = sum_t H[z[t] | z[t+1], x]: (*lead,)."""
        log_det = self.conditionals[2].diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
        each = log_det + 0.5 * self.chain.size * (1 + LOG_TWO_PI)
        return torch.where(self.chain.mask, each, 0.0).sum(-1)

    def cross_entropy(self, other: GaussianChainPosterior) -> Tensor:
        """-E_p log q, of q another chain's posterior over the same sites: (*lead,). By q's backward conditionals, of whose
        residual z[t] - G z[t+1] - g the mean and the covariance under p are known."""
        G, g, factor = other.conditionals
        mean, covariance = self.moments
        with plain_arithmetic(g):
            later = torch.cat([mean[..., 1:, :], torch.zeros_like(mean[..., :1, :])], -2)
            spread = torch.cat([covariance[..., 1:, :, :], torch.zeros_like(covariance[..., :1, :, :])], -3)
            gap = mean - apply_matrix(G, later) - g
            cross = G @ self.lagged_covariance.mT
            scatter = covariance - cross - cross.mT + sandwich(G, spread) + gap.unsqueeze(-1) * gap.unsqueeze(-2)
            trace = torch.cholesky_solve(scatter, factor).diagonal(dim1=-2, dim2=-1).sum(-1)
            log_det = factor.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
        each = log_det + 0.5 * (trace + self.chain.size * LOG_TWO_PI)
        return torch.where(self.chain.mask, each, 0.0).sum(-1)

    def kl(self, other: GaussianChainPosterior) -> Tensor:
        """KL(p ‖ q): (*lead,)."""
        return self.cross_entropy(other) - self.entropy

    def forecast(self, steps: int) -> tuple[Tensor, Tensor]:
        """Mean (*lead, steps, D) and covariance of z at the `steps` sites after each row's last one, given all of x.

        Needs a transition that is the same at every site (ValueError otherwise), and at least one site a row: for
        coefficients that change, or for no site at all, give longer lengths and say that x is missing there.
        """
        if any(x.dim() > e and x.shape[-e - 1] > 1 for x, e in zip(self.chain.transition, EVENTS, strict=True)):
            raise ValueError(
                "the transition changes from site to site: give longer lengths, with x_observed false there"
            )
        f = self.chain.filtered
        with plain_arithmetic(f.means):
            chain, mean, root = self.chain.rooted(), f.means[..., -1, :], f.roots[..., -1, :, :]
            found = []  # from the last state, which padding has kept
            for _ in range(steps):
                mean, root = kalman_predict(chain, 0, mean, root)
                found.append((mean, root @ root.mT))
            means, covariances = stacked_states(found, self.chain.mask.shape[:-1], f.means)
        return self._shaped(means, 1), covariances


def spread_sites(x: Tensor, sites: int, event: int) -> Tensor:
    """x with its axis for the sites, of full length."""
    if x.dim() < event:
        x = x.expand(*[1] * (event - x.dim()), *x.shape)
    if x.dim() == event:
        x = x.unsqueeze(0)
    axis = x.dim() - event - 1
    return x.expand(*x.shape[:axis], sites, *x.shape[axis + 1 :])
