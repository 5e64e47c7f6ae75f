"""Factors of a guide whose parameters take steps up the ELBO, by definition: for one example, site by site.

λ_(k+1) = λ_k + rate ∇ ELBO(λ_k) at the noise of step k           of positive parameters the logarithm
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lvspec.ir.distributions import FAMILIES
from lvspec.ir.expr import Number
from lvspec.verify.oracle.memory import Site
from lvspec.verify.oracle.world import Instance, World

Point = dict[Site, dict[str, Tensor]]


@dataclass(frozen=True)
class Refinement:
    """names: the refined latents. objective: of an instance and a row, what is climbed. instance: the numbers and draws
    that the steps see. point: where the parameters stand, while a step is taken."""

    names: tuple[str, ...]
    steps: int
    rate: float
    objective: Callable[[Instance, int], Tensor]
    instance: Instance
    point: Point | None = None

    @torch.enable_grad()
    def arguments(self, instance: Instance, row: int) -> Point:
        """The parameters of one example's factors."""
        if self.point is not None:
            return self.point
        at = replace(self.instance, refinement=None)
        world = World(replace(at, batch=instance.batch), row)
        point = {(n, s): _whole(world, n, s) for n in self.names for s in world.sites(world.variables[n].plates)}
        for k in range(self.steps):
            keys = [(site, n) for site, found in point.items() for n in found if _moves(world, site[0], n)]
            if not keys:
                return point
            free = [_free(world, site, n, point[site][n]) for site, n in keys]
            free = [v if v.requires_grad else v.requires_grad_() for v in free]
            for (site, n), v in zip(keys, free, strict=True):
                point[site] = {**point[site], n: _bound(world, site, n, v)}
            noise = {n.removesuffix(".steps"): d[k] for n, d in at.draws.items() if n.endswith(".steps")}
            here = replace(world.instance, draws=noise, refinement=replace(self, point=point))
            value = self.objective(here, row)
            if not value.isfinite():  # no way up at this step's draws
                continue
            slopes = torch.autograd.grad(value, free, create_graph=True, materialize_grads=True, allow_unused=True)
            for (site, n), v, slope in zip(keys, free, slopes, strict=True):
                point[site] = {**point[site], n: _bound(world, site, n, v + self.rate * slope)}
        return point


def _whole(world: World, name: str, at: tuple[int, ...]) -> dict[str, Tensor]:
    """Arguments at the full size of the variate: each entry has its own."""
    shape = world.shape(world.variables[name].type.shape, {})
    found = world.density(world.factors[name], at)[1]
    return {n: v.expand(shape).clone() if _moves(world, name, n) else v for n, v in found.items()}


def _moves(world: World, name: str, argument: str) -> bool:
    return not isinstance(world.factors[name].general.dist.argument(argument), Number)


def _positive(world: World, site: Site, argument: str) -> bool:
    family = FAMILIES[world.factors[site[0]].general.dist.family]
    return family.argument(argument).support.kind == "positive"


def _free(world: World, site: Site, argument: str, value: Tensor) -> Tensor:
    return torch.log(value) if _positive(world, site, argument) else value


def _bound(world: World, site: Site, argument: str, value: Tensor) -> Tensor:
    return torch.exp(value) if _positive(world, site, argument) else value
