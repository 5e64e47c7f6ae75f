"""EM: expected counts under the current parameters, then the parameters that maximise the expected log p(x, z).

    E   N = Σ p(row | x)                           how often each row of a table is used: posterior marginals
        g = ∂ log p(x) / ∂ η                       = N · (mean of the sufficient statistics in the data - their mean now)
    M   mean ← mean + g / N                        of a categorical table: the counts are n = g + N · p

A hard E step takes the best assignment in place of the posterior: the same two gradients under the max semiring.
Dempster, Laird & Rubin 1977; as a gradient step with a step size of its own: Xu & Jordan 1996.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lvspec.emitted import EmittedModel
from lvspec.ir.expr import Lag, PlateIndex, VariableRef
from lvspec.runtime import LOG, MAX, previous
from lvspec.train.em.closed_forms import ClauseUse, ClosedForms, ParameterTable
from lvspec.train.em.maximise import maximise, sizes_of

SEMIRINGS = {"em": LOG, "hard_em": MAX}


@dataclass
class Expectations:
    """Sums over the data. log_prob: Σ log p(x), or Σ max_z log p(x, z) under the max semiring. gradients: of it, by
    parameter. weights: how often each row of a table is used, by (number of the use, argument)."""

    log_prob: float = 0.0
    examples: int = 0
    gradients: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[tuple[int, str], Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ExpectationMaximisation:
    """method: em | hard_em. pseudo_count: added to every count, the mode under a Dirichlet prior of 1 + pseudo_count."""

    model: EmittedModel
    forms: ClosedForms
    method: str = "em"
    pseudo_count: float = 0.0

    def step(self, batches) -> Expectations:
        """One E step over all (prepared) batches and one M step; what the E step found, before the M step. Where log p(x) is no
        finite number, nothing moves."""
        total = Expectations()
        for batch in batches:
            self.expect(batch, total)
        if math.isfinite(total.log_prob):
            maximise(self.model, self.forms, total.gradients, total.weights, self.pseudo_count)
        return total

    def expect(self, batch: dict, total: Expectations) -> None:
        """The E step on one batch, added to what the others gave."""
        joint = next(iter(self.model.posterior(batch).values())).joint
        moving = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        with torch.enable_grad():
            tilts = {name: tilt.detach().clone().requires_grad_() for name, tilt in joint.tilts.items()}
            log_prob = joint.log_marginal(tilts, SEMIRINGS[self.method]).sum()
            inputs = [*moving.values(), *tilts.values()]
            found = torch.autograd.grad(log_prob, inputs, allow_unused=True, materialize_grads=True)
        gradients = [g.double() for g in found]
        total.log_prob += log_prob.item()
        total.examples += len(batch["rows"])
        for name, gradient in zip(moving, gradients, strict=False):
            _add(total.gradients, name, gradient)
        marginals = dict(zip(tilts, gradients[len(moving) :], strict=True))
        for i, use in enumerate(self.forms.uses):
            sites = self.real_sites(use, batch)
            for argument, table in use.tables.items():
                _add(total.weights, (i, argument), self.row_weights(use, table, sites, batch, marginals))

    def real_sites(self, use: ClauseUse, batch: dict) -> Tensor:
        """1 where the clause speaks of a site that counts: (B, *plates)."""
        variable = use.variable
        mask = batch.get(f"{variable.name}.mask") if variable.role == "observed" else None
        mask = self._whole(variable.plates, batch) if mask is None else mask.double()
        if variable.along is None:
            return mask
        at = 1 + variable.plates.index(variable.along)
        site = torch.arange(mask.shape[at], device=mask.device)
        spoken = site >= len(variable.initial) if use.clause.initial is None else site == use.clause.initial
        return mask * spoken.reshape(-1, *[1] * (mask.dim() - at - 1))

    def _whole(self, plates: tuple[str, ...], batch: dict) -> Tensor:
        """1 at every real site of the plates."""
        mask = torch.ones_like(batch["rows"], dtype=torch.float64)
        for name in plates:
            plate, inside = self.forms.spec.plate(name), batch.get(f"{name}.mask")
            mask = mask.unsqueeze(-1)
            if inside is None:
                mask = mask.expand(*mask.shape[:-1], plate.extent.evaluate(sizes_of(self.model, self.forms.spec)))
            else:
                shape = [1] * mask.dim()
                around = (0, 1 + plates.index(plate.within)) if plate.within else (0,)
                for axis, extent in zip((*around, -1), inside.shape, strict=True):
                    shape[axis] = extent
                mask = mask * inside.reshape(shape)
        return mask

    def row_weights(self, use: ClauseUse, table: ParameterTable, sites: Tensor, batch: dict, marginals: dict) -> Tensor:
        """E[how often each row is used]: one axis for each index of the table."""
        letters = dict(zip(("B", *use.variable.plates), "bcdefghij", strict=False))
        operands, spelled, rows = [sites], ["".join(letters.values())], ""
        for axis, index in enumerate(table.indices):
            if isinstance(index, PlateIndex):
                rows += letters[index.plate]
                continue
            assert table.parameter is not None and isinstance(index, VariableRef)
            size, letter = self.model.get_parameter(table.parameter).shape[axis], "klmnopqr"[axis]
            operands.append(_chosen(index, size, batch, marginals))
            spelled.append("b" + "".join(letters[s.plate] for s in index.at) + letter)
            rows += letter
        return torch.einsum(f"{','.join(spelled)}->{rows}", *operands)


def _add(table: dict, key, value: Tensor) -> None:
    table[key] = table[key] + value if key in table else value


def _chosen(index: VariableRef, size: int, batch: dict, marginals: dict) -> Tensor:
    """The probability of each value of an index, at the sites that it is read from: (B, *plates, size)."""
    found = marginals.get(index.name)
    if found is None:
        found = torch.nn.functional.one_hot(batch[index.name], size).double()
    for i, site in enumerate(index.at):
        if isinstance(site, Lag):
            found = previous(found, 1 + i, k=site.k)
    return found
