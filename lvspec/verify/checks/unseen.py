"""A real value that is missing where the model reads it: integrated out, or refused; a filler is neither.

    log p(x without x_i) = log ∫ p(x with x_i = v) dv

The oracle names values, and these cannot be named; so the module's own log p at many values of x_i answers for it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lvspec.ir.spec import Variable
from lvspec.verify.checks.chance import repeated
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.missing import read_by_the_model
from lvspec.verify.report import Check, relative_error

WIDTH, POINTS = 80.0, 4001  # of the grid; where densities are as wide as its step, the sum is exact to many digits
BOUND = 1e-4  # kinks leave the fourth digit alone


def read_reals(subject: Subject) -> list[Variable]:
    """The observed variables of real numbers that the model reads."""
    read = read_by_the_model(subject.spec)
    observed = [v for v in subject.spec.of_role("observed") if v.name in read]
    return [v for v in observed if v.type.support.kind == "real" and not v.type.shape and not v.outside_batch]


def unseen_check(subject: Subject, variable: Variable) -> Check:
    """log p of the first example without the variable's first value, against the integral over that value."""
    place = (0, *(0 for _ in variable.plates))
    observed = torch.ones(subject.batch[variable.name].shape, dtype=torch.bool)
    observed[place] = False
    found = _log_p(subject, {**subject.batch, f"{variable.name}_observed": observed})[0]
    grid = torch.linspace(-WIDTH, WIDTH, POINTS, dtype=torch.float64)
    batch = repeated(subject, 0, POINTS)
    batch[variable.name] = batch[variable.name].clone()
    everywhere: tuple[Any, ...] = (slice(None), *place[1:])
    batch[variable.name][everywhere] = grid
    expected = torch.logsumexp(_log_p(subject, batch), 0) + math.log(2 * WIDTH / (POINTS - 1))
    return Check(f"log p(x), {variable.name} missing where it is read", relative_error(found, expected), BOUND)


def _log_p(subject: Subject, batch: dict[str, Tensor]) -> Tensor:
    return subject.objective(batch).log_prob
