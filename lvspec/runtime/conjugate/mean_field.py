"""Mean field with conjugate factors: q(theta) in its prior's family, found by coordinate ascent.

    ELBO(q) = log Σ_z exp E_q[log p(x, z | theta)] - KL(q(theta) ‖ p(theta))

The discrete latents stand at their own optimum given q(theta) inside the log-sum. It is a function of the expected
statistics E_q[t(theta)], and its gradient there is the expected statistics of the children: q is best at natural
parameters = the prior's + that gradient. Every such step raises the bound (in full batch).
Beal 2003, "Variational algorithms for approximate Bayesian inference"; of a data set by random batches: Hoffman et al. 2013.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lvspec.runtime.families.densities import beta_entropy, dirichlet_entropy, gamma_entropy, normal_entropy
from lvspec.runtime.families.normal_inverse_wishart import NormalInverseWishartFamily, Parameters


class DirichletFamily:
    """t = log theta; natural parameters: the concentration (its offset of -1 is the same in prior and q)."""

    def natural(self, concentration: Tensor) -> Parameters:
        return (concentration,)

    def parameters(self, concentration: Tensor) -> Parameters:
        return (concentration,)

    def statistics(self, concentration: Tensor) -> Parameters:
        return (torch.digamma(concentration) - torch.digamma(concentration.sum(-1, keepdim=True)),)

    def moments(self, concentration: Tensor) -> tuple[Tensor, Tensor]:
        total = concentration.sum(-1, keepdim=True)
        mean = concentration / total
        return mean, mean * (1 - mean) / (total + 1)

    def entropy(self, concentration: Tensor) -> Tensor:
        return dirichlet_entropy(concentration)

    def scattered(self, concentration: Tensor) -> Parameters:
        """Parameters near the prior's, no two alike: where coordinate ascent may start for alike components."""
        return (concentration + torch.rand_like(concentration),)


class BetaFamily:
    """t = (log p, log(1 - p))."""

    def natural(self, concentration1: Tensor, concentration0: Tensor) -> Parameters:
        return concentration1, concentration0

    def parameters(self, concentration1: Tensor, concentration0: Tensor) -> Parameters:
        return concentration1, concentration0

    def statistics(self, concentration1: Tensor, concentration0: Tensor) -> Parameters:
        total = torch.digamma(concentration1 + concentration0)
        return torch.digamma(concentration1) - total, torch.digamma(concentration0) - total

    def moments(self, concentration1: Tensor, concentration0: Tensor) -> tuple[Tensor, Tensor]:
        total = concentration1 + concentration0
        mean = concentration1 / total
        return mean, mean * (1 - mean) / (total + 1)

    def entropy(self, concentration1: Tensor, concentration0: Tensor) -> Tensor:
        return beta_entropy(concentration1, concentration0)

    def scattered(self, concentration1: Tensor, concentration0: Tensor) -> Parameters:
        return concentration1 + torch.rand_like(concentration1), concentration0 + torch.rand_like(concentration0)


class GammaFamily:
    """t = (log r, r); natural parameters: the concentration and minus the rate."""

    def natural(self, concentration: Tensor, rate: Tensor) -> Parameters:
        return concentration, -rate

    def parameters(self, concentration: Tensor, minus_rate: Tensor) -> Parameters:
        return concentration, -minus_rate

    def statistics(self, concentration: Tensor, rate: Tensor) -> Parameters:
        return torch.digamma(concentration) - rate.log(), concentration / rate

    def moments(self, concentration: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        return concentration / rate, concentration / rate**2

    def entropy(self, concentration: Tensor, rate: Tensor) -> Tensor:
        return gamma_entropy(concentration, rate)

    def scattered(self, concentration: Tensor, rate: Tensor) -> Parameters:
        return concentration.clone(), rate * (0.75 + 0.5 * torch.rand_like(rate))


class NormalFamily:
    """t = (mu, mu²); natural parameters: loc / scale² and -1 / (2 scale²)."""

    def natural(self, loc: Tensor, scale: Tensor) -> Parameters:
        return loc / scale**2, -0.5 / scale**2

    def parameters(self, first: Tensor, second: Tensor) -> Parameters:
        return -0.5 * first / second, (-2 * second) ** -0.5

    def statistics(self, loc: Tensor, scale: Tensor) -> Parameters:
        return loc + torch.zeros_like(scale), loc**2 + scale**2

    def moments(self, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        return loc, scale**2

    def entropy(self, loc: Tensor, scale: Tensor) -> Tensor:
        return normal_entropy(loc, scale)

    def scattered(self, loc: Tensor, scale: Tensor) -> Parameters:
        return loc + scale * torch.randn_like(scale + loc), scale.clone()


DIRICHLET, BETA, GAMMA, NORMAL = DirichletFamily(), BetaFamily(), GammaFamily(), NormalFamily()
NORMAL_INVERSE_WISHART = NormalInverseWishartFamily()


@dataclass(frozen=True)
class VariationalFactor:
    """q of one latent: a family and its parameters."""

    family: DirichletFamily | BetaFamily | GammaFamily | NormalFamily | NormalInverseWishartFamily
    parameters: Parameters

    @property
    def statistics(self) -> Parameters:
        """E_q[t]."""
        return self.family.statistics(*self.parameters)

    @property
    def mean(self) -> Tensor:
        return self.family.moments(*self.parameters)[0]

    @property
    def variance(self) -> Tensor:
        return self.family.moments(*self.parameters)[1]

    @property
    def entropy(self) -> Tensor:
        """H[q] of each copy: of a vector's entries one by one, of a Dirichlet's, or of a mean and its covariance, as a whole."""
        return self.family.entropy(*self.parameters)


Factors = dict[str, VariationalFactor]
ROUNDED = 16  # units in the last place: sums lose some


def statistics_of(factors: Factors) -> dict[str, Parameters]:
    return {name: factor.statistics for name, factor in factors.items()}


def best_natural(
    expected: Callable[[dict], Tensor], factors: Factors, prior: Factors, name: str, scale: float = 1.0
) -> Parameters:
    """Natural parameters of q(name) at its optimum given the other factors: the prior's + scale · d expected / d E[t]."""
    with torch.enable_grad():
        own = tuple(s.detach().clone().requires_grad_() for s in factors[name].statistics)
        total = expected({**statistics_of(factors), name: own}).sum()
        found = torch.autograd.grad(total, own, allow_unused=True, materialize_grads=True)
    start = prior[name].family.natural(*prior[name].parameters)
    return tuple((s + scale * g).detach() for s, g in zip(start, found, strict=True))


def coordinate_ascent(
    expected: Callable[[dict], Tensor],
    prior: Factors,
    shared: Factors,
    steps: int,
    tolerance: float,
) -> Factors:
    """q of an example's latents, each in turn at its optimum, from the prior on; `shared` factors stay as they are.

    expected: statistics -> (B,). Ends after `steps` rounds; on a CPU also where the natural parameters of each latent move by
    less than `tolerance` on average. The result carries no gradient: at the optimum none would flow through it.
    """
    factors = {name: VariationalFactor(f.family, tuple(p.detach() for p in f.parameters)) for name, f in prior.items()}
    for _ in range(steps):
        moved = 0.0
        for name in prior:
            before = factors[name].family.natural(*factors[name].parameters)
            after = best_natural(expected, {**shared, **factors}, prior, name)
            factors[name] = VariationalFactor(factors[name].family, factors[name].family.parameters(*after))
            if after[0].device.type == "cpu":
                moved = max(moved, *(mean_move(b, a) for b, a in zip(before, after, strict=True)))
        if all(settled(f.parameters[0].device, moved, tolerance) for f in factors.values()):
            break
    return factors


def settled(device: torch.device, moved: float, tolerance: float) -> bool:
    """Whether no further round is called for: what moved tells on a CPU, where it costs nothing to read; a shape has nothing to move."""
    return device.type == "meta" or (device.type == "cpu" and moved <= tolerance)


def mean_move(before: Tensor, after: Tensor) -> float:
    """The mean of |after - before|, 0 of nothing (Hoffman et al. 2010); what rounding alone can move stands still, so that a
    tolerance below it is met, too."""
    change = (after - before).abs()
    told = change > ROUNDED * torch.finfo(after.dtype).eps * after.abs()
    return torch.where(told, change, 0.0).mean().item() if change.numel() else 0.0


class SharedFactors(nn.Module):
    """q of the latents that a whole data set shares: parameters as buffers, moved along natural gradients."""

    def __init__(self, prior: Factors):
        super().__init__()
        self.families = {name: factor.family for name, factor in prior.items()}
        self.counts = {name: len(factor.parameters) for name, factor in prior.items()}
        for name, factor in prior.items():
            for i, value in enumerate(factor.family.scattered(*(p.detach() for p in factor.parameters))):
                self.register_buffer(f"{name}_{i}", value.clone())

    def factors(self) -> Factors:
        return {
            name: VariationalFactor(family, tuple(getattr(self, f"{name}_{i}") for i in range(self.counts[name])))
            for name, family in self.families.items()
        }

    @torch.no_grad()
    def ascend(self, expected: Callable[[dict], Tensor], prior: Factors, local: Factors, scale: float, rate: float):
        """Each factor in turn: natural parameters ← (1 - rate) · old + rate · their optimum, were the data set `scale`
        such batches. With rate 1 and the whole data set as the batch the bound never falls."""
        for name, family in self.families.items():
            factors = {**local, **self.factors()}
            best = best_natural(expected, factors, prior, name, scale)
            old = family.natural(*factors[name].parameters)
            mixed = family.parameters(*(o + rate * (b - o) for o, b in zip(old, best, strict=True)))
            for i, value in enumerate(mixed):
                getattr(self, f"{name}_{i}").copy_(value)
