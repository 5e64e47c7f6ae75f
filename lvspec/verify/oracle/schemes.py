"""Draws that are made together, by their definition: how likely they are, and what each weighs.

A site's q is a list of probabilities of its values; draws are one value for each of S samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from lvspec.ir.plan import LatentPlan
from lvspec.verify.oracle.densities import log_odds_pair, log_probabilities
from lvspec.verify.oracle.stretch import tensor
from lvspec.verify.oracle.transport import strata_shares
from lvspec.verify.oracle.world import SAMPLE, World


@dataclass(frozen=True)
class DrawScheme:
    name: str
    top: int

    @staticmethod
    def of(plan: LatentPlan) -> DrawScheme:
        return DrawScheme(plan.strategy, int(plan.option("top", 0)))

    def chance(self, q: list[float], values: Sequence) -> float:
        """p(the draws of one site), in their order."""
        return _SCHEMES[self.name][0](q, list(values), self.top)

    def shares(self, q: list[float], values: Sequence[int]) -> list[float]:
        """What each draw weighs in the average."""
        return _SCHEMES[self.name][1](q, list(values), self.top)


def _set_chance(q: list[float], values: list[int], gone: list[int]) -> float:
    """p(these are drawn first, in some order), where those in `gone` cannot be."""
    total = 0.0
    for order in permutations(values):
        left, chance = 1 - sum(q[v] for v in gone), 1.0
        for value in order:
            chance *= q[value] / left
            left -= q[value]
        total += chance
    return total


def _pairs(q: list[float], values: list, top: int) -> float:
    """Opposite draws: s and s + S/2, element by element; q is (p(0), p(1)), for each element of a vector."""
    half, chance = len(values) // 2, 1.0
    for a, b in zip(values[:half], values[half:], strict=True):
        for x, y, p in zip(_elements(a), _elements(b), _elements(q), strict=True):
            if x != y:
                chance *= min(p[1], p[0])
            else:
                chance *= max(p[x] - p[1 - x], 0.0)
    return chance


def _elements(value) -> list:
    return list(value) if isinstance(value, tuple) else [value]


def _top(q: list[float], values: list[int], top: int) -> float:
    best = sorted(range(len(q)), key=lambda v: -q[v])[:top]
    if values[:top] != best or set(values[top:]) & set(best):
        return 0.0
    return math.prod(q[v] / (1 - sum(q[b] for b in best)) for v in values[top:])


def _distinct(q: list[float], values: list[int], top: int) -> float:
    chance, left = 1.0, 1.0
    for i, value in enumerate(values):
        if value in values[:i]:
            return 0.0
        chance *= q[value] / left
        left -= q[value]
    return chance


def _even(q: list[float], values: list, top: int) -> list[float]:
    return [1 / len(values)] * len(values)


def _top_shares(q: list[float], values: list[int], top: int) -> list[float]:
    known = [q[v] for v in values[:top]]
    others = len(values) - top
    return known + [(1 - sum(known)) / others] * others


def _set_shares(q: list[float], values: list[int], top: int) -> list[float]:
    every = _set_chance(q, values, [])
    rest = [[v for v in values if v != s] for s in values]
    return [q[s] * _set_chance(q, r, [s]) / every for s, r in zip(values, rest, strict=True)]


# strategy -> how likely the draws of a site are, and what each weighs
_SCHEMES = {
    "disarm": (_pairs, _even),
    "sum_and_sample": (_top, _top_shares),
    "without_replacement": (_distinct, _set_shares),
}
TOGETHER = tuple(_SCHEMES)


def site_probabilities(world: World, name: str, at: tuple[int, ...]) -> Any:
    """q of each value of a site that reads no draw; of a vector of Bernoullis, of each element."""
    family, arguments = world.density(world.factors[name], at)
    if family == "Categorical":
        return log_probabilities(arguments).exp().tolist()
    pairs = torch.stack(log_odds_pair(arguments), -1).exp()
    return tuple(pairs.tolist()) if pairs.dim() > 1 else pairs.tolist()


def _subset_shares(world: World, samples: int, name: str, sharpness: float) -> Tensor:
    """q of each of the different values that were drawn, to a power, over the sum of all of them."""
    sites = [s for s in world.hidden() if s[0] == name]
    seen, powers = [], []
    for sample in range(samples):
        world.memory.assignment[SAMPLE] = sample
        value = [tensor(world.value(*s)).tolist() for s in sites]
        log_q = sum((world.log_q(*s) for s in sites), torch.zeros((), dtype=torch.float64))
        powers.append(torch.zeros(()) if value in seen else (sharpness * log_q).exp())
        seen.append(value)
    return torch.stack(powers) / sum(powers)


def sample_shares(world: World, samples: int) -> Tensor:
    """The weight of each sample in the average over draws of one example."""
    weighed = world.instance.weighed
    even = torch.full((samples,), 1 / samples, dtype=torch.float64)
    if weighed is None or world.instance.treatments.get(weighed.name) != "sampled":
        return even
    if weighed.row.renormalised:
        return _subset_shares(world, samples, weighed.name, float(weighed.option("sharpness")))
    if world.is_given(weighed.name, ()):
        return even
    if weighed.row.draws == "strata":
        return strata_shares(world.density(world.factors[weighed.name], ())[1], samples)
    q = site_probabilities(world, weighed.name, ())
    values = [int(world.instance.draws[weighed.name][s, world.row]) for s in range(samples)]
    return torch.tensor(DrawScheme.of(weighed).shares(q, values), dtype=torch.float64)
