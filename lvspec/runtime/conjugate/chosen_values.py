"""Discrete latents c that choose the coefficients of an integral: its posterior is a mixture over their values.

    p(z | x) = sum_c p(c | x) p(z | c, x)

log p(x) as a function of a tilt of the integral's own log-factor, an axis for each c, tells them: its gradient is
p(c | x), under the sampling semiring a draw of c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from lvspec.runtime.conjugate.pairs import Conjugate
from lvspec.runtime.core.semiring import SAMPLE
from lvspec.runtime.core.undefined import Undefined
from lvspec.runtime.model.posterior import ExactPosterior

LogMarginal = Callable[[dict[str, Tensor], object], Tensor]


@dataclass(frozen=True)
class ChosenValues:
    """name: of the tilt, that of the integral's first latent. choices: how many axes behind that of the examples are c's."""

    posterior: ExactPosterior
    name: str
    choices: int

    @staticmethod
    def of(
        log_prob: Tensor, choices: int, log_marginal: LogMarginal, tilts: dict[str, Tensor], name: str
    ) -> ChosenValues:
        """log_prob: of the integral, (B, values of c, sites). tilts: what is known of c, and of other latents."""
        own = torch.zeros_like(log_prob.detach())
        return ChosenValues(ExactPosterior(log_marginal, tilts | {name: own}), name, choices)

    @cached_property
    def weights(self) -> Tensor:
        """p(c | x): (B, values of c, sites)."""
        return self.posterior.marginals()[self.name]

    def drawn(self, n: int) -> Tensor:
        """n draws of c, as weights of 0 and 1: (n, B, values of c, sites)."""
        picked = [g[self.name] for g in self.posterior.gradients(SAMPLE, times=n)] if n else []
        return torch.stack(picked) if n else self.weights.new_zeros(0, *self.weights.shape)

    def averaged(self, weights: Tensor, x: Tensor, event: int, draws: int = 0) -> Tensor:
        """x (B, values of c, sites, event axes) averaged over the values of c; sites that x has within those of the
        weights have the weights of these. draws: axes of draws in front of both."""
        inner = x.dim() - event - weights.dim()
        weights = weights.to(x.dtype).reshape(*weights.shape, *[1] * (inner + event))
        return (weights * x).sum(tuple(range(1 + draws, 1 + draws + self.choices)))

    def spread(self, x: Tensor) -> Tensor:
        """What has been averaged, beside every value of c."""
        return x[(slice(None), *[None] * self.choices)]


@dataclass(frozen=True)
class WeighedValues(ChosenValues):
    """The same where draws of other latents weigh p(c | x, draw), or points stand for them. posterior: Σ_s w_s p(c | x, draw s),
    (B, values of c, sites)."""

    posterior: Tensor  # type: ignore[assignment]  # where others stand for them, their average alone

    @cached_property
    def weights(self) -> Tensor:
        return self.posterior

    def drawn(self, n: int) -> Tensor:
        sites = self.posterior.shape[1 + self.choices :]
        if sites:
            raise Undefined(f"joint draws of all sites of {self.name}, beside latents that are not summed")
        flat = self.posterior.flatten(1)
        picked = (
            torch.multinomial(flat, n, replacement=True).mT if n else flat.new_zeros(0, len(flat), dtype=torch.long)
        )
        return functional.one_hot(picked, flat.shape[1]).to(flat.dtype).reshape(n, *self.posterior.shape)


@dataclass(frozen=True)
class MixedConjugate:
    """p(z | x) of a latent whose conjugate prior, or likelihood, discrete latents choose: a mixture of its family.

    given: p(z | c, x) for each value of c; `chosen.weights`: p(c | x)."""

    given: Conjugate
    chosen: ChosenValues

    @property
    def mean(self) -> Tensor:
        return self.chosen.averaged(self.chosen.weights, self._wide(self.given.mean), self._event(self.given.mean))

    @property
    def variance(self) -> Tensor:
        """Of each entry."""
        gap = self._wide(self.given.mean) - self.chosen.spread(self.mean)
        total = self._wide(self.given.variance) + gap**2
        return self.chosen.averaged(self.chosen.weights, total, self._event(total))

    def _wide(self, x: Tensor) -> Tensor:
        """Along every axis of the weights, what differs along none of them included."""
        event = self._event(x)
        shape = torch.broadcast_shapes(self.given.mask.shape, x.shape[: x.dim() - event])
        return x.expand(*shape, *x.shape[x.dim() - event :])

    def _event(self, x: Tensor) -> int:
        return x.dim() - self.given.mask.dim()

    @property
    def mode(self) -> Tensor:
        raise Undefined("the mode of a mixture has no closed form")

    @property
    def entropy(self) -> Tensor:
        raise Undefined("the entropy of a mixture has no closed form")

    def sample(self, n: int) -> Tensor:
        """n draws: (n, B, sites, event axes)."""
        z = self.given.sample(n)
        return self.chosen.averaged(self.chosen.drawn(n), z, z.dim() - 1 - self.given.mask.dim(), draws=1)


def mixed_conjugate(
    known: Conjugate, log_marginal: LogMarginal, tilts: dict[str, Tensor], name: str
) -> dict[str, MixedConjugate]:
    """p(z | x) of the latent `name`."""
    chosen = ChosenValues.of(known.log_prob(), known.choices, log_marginal, tilts, name)
    return {name: MixedConjugate(known, chosen)}


def weighed_conjugate(known: Conjugate, weights: Tensor, name: str) -> dict[str, MixedConjugate]:
    """The same by the weights p(c | x) of its components."""
    return {name: MixedConjugate(known, WeighedValues(weights, name, known.choices))}
