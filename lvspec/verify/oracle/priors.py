"""log p of parameters that have priors, from their definition."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lvspec.ir.distributions import FAMILIES
from lvspec.ir.spec import ParameterPrior, Spec
from lvspec.verify.oracle.densities import log_density


def log_prior(spec: Spec, weights: Mapping[str, Tensor]) -> Tensor:
    """The sum over all entries of all parameters, ()."""
    found = [_of_table(prior, weights[name]) for name, prior in spec.priors.items()]
    return torch.stack(found).sum() if found else torch.zeros((), dtype=torch.float64)


def _of_table(prior: ParameterPrior, table: Tensor) -> Tensor:
    names = [a.name for a in FAMILIES[prior.family].arguments]
    numbers = {n: torch.tensor(v, dtype=torch.float64) for n, v in zip(names, prior.numbers, strict=True)}
    if prior.family == "Dirichlet":
        rows = table.reshape(-1, table.shape[-1])
        numbers = {n: v.expand(table.shape[-1]) for n, v in numbers.items()}
        each = [log_density("Dirichlet", numbers, w.exp() / w.exp().sum(), tuple(w.shape)) for w in rows]
        return torch.stack(each).sum()
    value = 1 / (1 + (-table).exp()) if prior.family == "Beta" else table
    return log_density(prior.family, numbers, value, tuple(table.shape))
