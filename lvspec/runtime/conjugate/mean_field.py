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

from lvspec.runtime.families.distribution import ExponentialFamily, Parameters


@dataclass(frozen=True)
class VariationalFactor:
    """q of one latent."""

    distribution: ExponentialFamily

    @property
    def parameters(self) -> Parameters:
        return self.distribution.parameters

    @property
    def statistics(self) -> Parameters:
        """E_q[t]."""
        return self.distribution.statistics()

    @property
    def mean(self) -> Tensor:
        return self.distribution.mean

    @property
    def variance(self) -> Tensor:
        return self.distribution.variance

    @property
    def entropy(self) -> Tensor:
        """H[q] of each copy: of a vector's entries one by one, of a Dirichlet's, or of a mean and its covariance, as a whole."""
        return self.distribution.entropy()


Factors = dict[str, VariationalFactor]
ROUNDED = 16  # units in the last place: sums lose some


def statistics_of(factors: Factors) -> dict[str, Parameters]:
    return {name: factor.statistics for name, factor in factors.items()}


def detached(one: ExponentialFamily) -> ExponentialFamily:
    return type(one)(*(p.detach() for p in one.parameters))


def best_natural(
    expected: Callable[[dict], Tensor], factors: Factors, prior: Factors, name: str, scale: float = 1.0
) -> Parameters:
    """Natural parameters of q(name) at its optimum given the other factors: the prior's + scale · d expected / d E[t]."""
    with torch.enable_grad():
        own = tuple(s.detach().clone().requires_grad_() for s in factors[name].statistics)
        total = expected({**statistics_of(factors), name: own}).sum()
        found = torch.autograd.grad(total, own, allow_unused=True, materialize_grads=True)
    start = prior[name].distribution.natural()
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
    factors = {name: VariationalFactor(detached(f.distribution)) for name, f in prior.items()}
    for _ in range(steps):
        moved = 0.0
        for name in prior:
            before = factors[name].distribution.natural()
            after = best_natural(expected, {**shared, **factors}, prior, name)
            factors[name] = VariationalFactor(factors[name].distribution.from_natural(*after))
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
        self.families = {name: type(factor.distribution) for name, factor in prior.items()}
        self.counts = {name: len(factor.parameters) for name, factor in prior.items()}
        for name, factor in prior.items():
            for i, value in enumerate(detached(factor.distribution).scattered().parameters):
                self.register_buffer(f"{name}_{i}", value.clone())

    def factors(self) -> Factors:
        return {
            name: VariationalFactor(family(*(getattr(self, f"{name}_{i}") for i in range(self.counts[name]))))
            for name, family in self.families.items()
        }

    @torch.no_grad()
    def ascend(self, expected: Callable[[dict], Tensor], prior: Factors, local: Factors, scale: float, rate: float):
        """Each factor in turn: natural parameters ← (1 - rate) · old + rate · their optimum, were the data set `scale`
        such batches. With rate 1 and the whole data set as the batch the bound never falls."""
        for name, family in self.families.items():
            factors = {**local, **self.factors()}
            best = best_natural(expected, factors, prior, name, scale)
            old = factors[name].distribution.natural()
            mixed = family.from_natural(*(o + rate * (b - o) for o, b in zip(old, best, strict=True)))
            for i, value in enumerate(mixed.parameters):
                getattr(self, f"{name}_{i}").copy_(value)
