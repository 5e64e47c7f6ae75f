"""First values of a dependency model: what trees with short arcs would count.

    n = sum_sentences E_tree[how often each entry is used],   p(tree) proportional to prod_arcs 1 / (|head - modifier| + c)

over all trees that the model has, each parameter then at the log of its counts: an M step before the first E step. Words
near one another tend to be joined, and without that a model may as well explain the tags by trees of any other kind.
Klein & Manning 2004 begin so.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.errors import UsageError
from lvspec.ir.expr import ParamRef
from lvspec.ir.spec import Spec, Variable
from lvspec.ir.structured import structure_of
from lvspec.ir.structures import STRUCTURES
from lvspec.runtime.trees.valence import dmv, dmv_potentials
from lvspec.train.data.batches import collate, sorted_order
from lvspec.train.data.dataset import Dataset
from lvspec.train.settings import TrainSettings

FAMILY = next(n for n, row in STRUCTURES.items() if row.harmonic)


class HarmonicTrees:
    """The expected uses of each parameter in the trees of the training sentences, found once for each c."""

    def __init__(self, spec: Spec, data: Dataset, settings: TrainSettings):
        self.spec, self.data, self.settings = spec, data, settings
        self.found: dict[float, dict[str, Tensor]] = {}

    def counts(self, parameter: str, like: Tensor, c: float) -> Tensor:
        """Of one parameter, in its shape; ValueError where it is not an argument of a dependency model."""
        variable = next((v for v in self.spec.of_role("observed") if _is_model(v)), None)
        names = _parameters(variable) if variable else {}
        if variable is None or parameter not in names.values():
            raise ValueError(f"it is not an argument of a {FAMILY}")
        if c not in self.found:
            self.found[c] = self._count(variable, names, like.shape[0], c)
        return self.found[c][parameter]

    def _count(self, variable: Variable, names: dict[str, str], C: int, c: float) -> dict[str, Tensor]:
        shapes = {"root": (C,), "stop": (C, 2, 2, 2), "attach": (C, 2, C)}
        tables = {n: torch.zeros(shape, dtype=torch.float64, requires_grad=True) for n, shape in shapes.items()}
        for rows in sorted_order(self.data, self.settings):
            batch = collate(self.data, rows)
            tags, lengths = batch[variable.name], batch[variable.general.dist.plate]
            parts = dmv_potentials(tags=tags, **tables)
            places = torch.arange(tags.shape[1], dtype=torch.float64)
            distance = (places.unsqueeze(1) - places).abs()
            parts["attach"] = parts["attach"] - (distance.clamp(min=1.0) + c).log().unsqueeze(-1)
            dmv(**parts, lengths=lengths).log_partition.sum().backward()
        found = ((name, tables[argument].grad) for argument, name in names.items())
        return {name: grad for name, grad in found if grad is not None}


def _is_model(variable: Variable) -> bool:
    return structure_of(variable) is not None and variable.general.dist.family == FAMILY


def _parameters(variable: Variable) -> dict[str, str]:
    """The parameters that are its arguments as they stand."""
    if len(variable.plates) > 1:
        raise UsageError(f"train.init: harmonic: {variable.name} has further plates")
    return {a: e.name for a, e in variable.general.dist.arguments if isinstance(e, ParamRef)}
