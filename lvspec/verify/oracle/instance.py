"""A model with numbers: what every example's world is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from lvspec.ir.plan import Integration, LatentPlan, Plan
from lvspec.ir.spec import Network, Spec, Variable
from lvspec.verify.oracle.clauses import reads
from lvspec.verify.oracle.memory import Shelf, Site
from lvspec.verify.oracle.relaxed import Relaxation


class Refined(Protocol):
    """Latents whose factors' parameters are moved before they are used; `refine.Refinement` is the one there is."""

    @property
    def names(self) -> tuple[str, ...]: ...
    def arguments(self, instance: Instance, row: int) -> Mapping[Site, dict[str, Tensor]]: ...


@dataclass(frozen=True)
class Instance:
    """A model with numbers: sizes, weights under the module's names, a batch, draws, and what is done with
    each latent (collapsed | enumerated | sampled)."""

    spec: Spec
    sizes: Mapping[str, int]
    weights: dict[str, Tensor]
    batch: Mapping[str, Tensor]
    treatments: Mapping[str, str] = field(default_factory=dict)
    guide: tuple[Variable, ...] = ()
    networks: tuple[Network, ...] = ()
    draws: Mapping[str, Tensor] = field(default_factory=dict)
    noisy: frozenset[str] = frozenset()  # latents whose draws are base noise, not values
    dataset_size: int = 1  # examples in the data set, which share one divergence of a global latent
    generative: bool = False  # whether finite observations that are missing and read by nothing are named too
    integrations: tuple[Integration, ...] = ()  # latents that are integrated out with what reads them
    relaxed: Mapping[str, Relaxation] = field(default_factory=dict)  # latents whose draws are points between values
    weighed: LatentPlan | None = None  # the latent whose draws have weights of their own
    refinement: Refined | None = None  # how q's parameters are moved (refine.py); None: they are the guide's own
    modules: Mapping[str, nn.Module] = field(default_factory=dict)  # the user's own networks
    planned: Mapping[str, str] | None = None  # the treatments that the draws are laid out for, where others are tried
    shelf: Shelf | None = None  # where what was computed is kept for others about the same weights

    @staticmethod
    def of(plan: Plan, sizes, weights, batch, draws=None) -> Instance:
        """The plan's own treatments, guide and networks."""
        chosen = {p.name: p.treatment for p in plan.latents}
        noisy = frozenset(p.name for p in plan.latents if p.noisy)
        known = (plan.spec, sizes, weights, batch, chosen, plan.guide, plan.networks, draws or {}, noisy)
        return Instance(*known, integrations=plan.integrations, weighed=plan.weighed)

    def treating(self, **treatments: str) -> Instance:
        """The same numbers, some latents treated otherwise; draws keep their layout."""
        chosen = {**self.treatments, **treatments}
        return replace(self, treatments=chosen, planned=self.planned or self.treatments)

    @cached_property
    def has_numbers(self) -> bool:
        """Whether draws are numbers that can be looked at: no functions of others, and not many points at once."""
        return not any(d.requires_grad or torch._C._functorch.is_batchedtensor(d) for d in self.draws.values())

    @cached_property
    def parents_of_draws(self) -> dict[str, tuple[str, ...]]:
        """Latents summed under their guide on which each sampled latent's own q depends: one draw for each value."""
        return {v.name: enumerated_parents(v.name, self) for v in self.guide if v.role == "guide"}

    def roots(self) -> tuple[dict, dict] | None:
        """What was computed before by what differs in no more than batch, row, draws and treatments: these are looked at."""
        if self.shelf is None or self.refinement is not None or not self.has_numbers:
            return None
        about = (self.generative, tuple(self.relaxed.items()), tuple(self.sizes.items()))
        return self.shelf.roots(self.weights.values(), about)

    def rows(self) -> int:
        """How many examples the batch holds."""
        shared = {v.name for v in self.spec.variables if v.outside_batch}
        return next(len(x) for name, x in self.batch.items() if name not in shared)


def enumerated_parents(name: str, instance: Instance) -> tuple[str, ...]:
    """The latents summed under their guide that q(name | ...) depends on, through let variables and other draws."""
    lets = {v.name: v for v in (*instance.spec.variables, *instance.guide) if v.role == "let"}
    factors = {v.name: v for v in instance.guide if v.role == "guide"}
    treatments = instance.planned or instance.treatments
    found: set[str] = set()
    queue, seen = [factors[name]], {name}
    while queue:
        for read in sorted({r for clause in queue.pop().clauses for r in reads(clause)} - seen):
            seen.add(read)
            treatment = treatments.get(read)
            if treatment == "enumerated":
                found.add(read)
            elif read in lets:
                queue.append(lets[read])
            elif treatment == "sampled" and read in factors:
                queue.append(factors[read])
    return tuple(v.name for v in instance.spec.variables if v.name in found)
