"""What stands where an observation is missing: for a guide a value that says nothing, for the model one that is named."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lvspec.ir.expr import Dist
from lvspec.ir.spec import Spec, Variable
from lvspec.verify.oracle.clauses import reads

FILLERS = {"positive": 1.0, "nonnegative": 1.0, "unit": 0.5}  # elsewhere zeros, but where they are no value either


def filler(variable: Variable, shape: tuple[int, ...]) -> Tensor:
    """What a guide reads in place of a missing value: 0, or of other supports their plainest value."""
    kind, body = variable.type.support.kind, variable.general.body
    if variable.type.support.discrete:
        return torch.full(shape, int(kind == "count"), dtype=torch.int64)
    if isinstance(body, Dist) and body.source.family == "OneHotCategorical":
        return torch.eye(shape[-1], dtype=torch.float64)[0].expand(shape)
    if kind in ("simplex", "sphere"):
        size = shape[-1] if kind == "simplex" else shape[-1] ** 0.5
        return torch.full(shape, 1 / size, dtype=torch.float64)
    plain, told = FILLERS.get(kind, 0.0), variable.type.support.range
    if not told.low < plain < told.high and told.low < told.high:  # none of its values, or one at the border
        ends = [e for e in (told.low, told.high) if math.isfinite(e)]
        plain = sum(ends) / 2 if len(ends) == 2 else told.low + 1 if told.low in ends else told.high - 1
    return torch.full(shape, plain, dtype=torch.float64)


def read_by_the_model(spec: Spec) -> set[str]:
    """The variables that some clause of the model names."""
    return {name for v in spec.variables for clause in v.clauses for name in reads(clause)}


def reads_missing(spec: Spec, batch: Mapping[str, Tensor]) -> bool:
    """Whether the model, or a term of its objective, names a variable that is missing somewhere in the batch."""
    named = read_by_the_model(spec) | {name for t in spec.terms for clause in t.clauses for name in reads(clause)}
    return any(f"{v.name}_observed" in batch and v.name in named for v in spec.of_role("observed"))
