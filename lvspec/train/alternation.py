"""Steps of the guide's parameters alone before each step of the model's.

    inference: alternating      φ, φ, .., φ (inference_steps of them), θ, φ, φ, ..
    inference: aggressive       φ, φ, .. as long as that lowers the loss, θ, ..; all together once I_q(x; z) has stopped rising

φ are the parameters that only q reads, θ all others. Steps of φ take random batches of the epoch, those of θ one after the
other: an epoch, and a step that schedules count, is the model's. He, Spokoyny, Neubig & Berg-Kirkpatrick 2019: early in
training q lags behind the model's posterior, so the model learns to do without z, and that is where it stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from lvspec.errors import UsageError
from lvspec.ir.expr import Apply, ParamRef, VariableRef, walk
from lvspec.ir.plan import Plan
from lvspec.ir.reads import bodies
from lvspec.ir.spec import Variable
from lvspec.train.dataset import Dataset
from lvspec.train.settings import TrainSettings

STEPS = {"alternating": 10, "aggressive": 100}  # of q in a row, at most
WINDOW = 10  # steps of q whose mean loss is compared with that of as many before


@dataclass(frozen=True)
class Alternation:
    """model, guide: the parameters that each step moves. sizes: how many sites each example has."""

    settings: TrainSettings
    model: tuple[nn.Parameter, ...]
    guide: tuple[nn.Parameter, ...]
    sizes: np.ndarray

    @property
    def aggressive(self) -> bool:
        return self.settings.inference == "aggressive"

    def infer(self, order: Sequence, step: int, move: Callable[[np.ndarray], float]) -> None:
        """The guide's steps before one of the model's. order: the epoch's batches; move(rows): a step, its mean loss."""
        random = np.random.default_rng([self.settings.seed, step])
        total, sites, before = 0.0, 0, None
        for taken in range(1, 1 + (self.settings.inference_steps or STEPS[self.settings.inference])):
            rows = order[random.integers(len(order))]
            total, sites = total + move(rows) * len(rows), sites + int(self.sizes[rows].sum())
            if not self.aggressive or taken % WINDOW:
                continue
            mean = total / max(1, sites)  # per site: batches are of different lengths
            if before is not None and mean >= before:
                return
            total, sites, before = 0.0, 0, mean


def alternation(model: nn.Module, guide: frozenset[str], data: Dataset, settings: TrainSettings) -> Alternation | None:
    """guide: names of networks and parameters, as `guide_names` gives them; None where all move together."""
    if settings.inference == "joint":
        return None
    moving = {name: p for name, p in model.named_parameters() if p.requires_grad}
    own = tuple(p for name, p in moving.items() if name.split(".")[0] in guide)
    others = tuple(p for name, p in moving.items() if name.split(".")[0] not in guide)
    return Alternation(settings, others, own, data.sizes())


def guide_names(plan: Plan, model: type[nn.Module], settings: TrainSettings) -> frozenset[str]:
    """Networks and parameters that q reads and the model does not, and the baselines that serve it. What both read is the
    model's, and so is what only a term of the objective reads."""
    if settings.inference == "joint":
        return frozenset()
    where = f"train.inference: {settings.inference}"
    spec = plan.spec
    lets = {v.name: v for v in spec.variables if v.role == "let"}
    inside = {v.name: v for v in plan.guide if v.role == "let"}
    generative = _read([v for v in spec.variables if v.role in ("latent", "observed")], lets)
    inference = _read([v for v in plan.guide if v.role == "guide"], lets | inside)
    found = inference - generative
    if settings.method != "gradient" or not found:
        reason = "EM has none" if settings.method != "gradient" else "this model has none"
        raise UsageError(f"{where} moves parameters that q alone reads, and {reason}")
    if settings.inference == "aggressive" and not hasattr(model, "encode"):
        raise UsageError(f"{where} looks at the information between data and a latent whose q reads the data alone")
    return frozenset(found | {n.name for b in plan.baselines for n in b.networks})


def _read(variables: Iterable[Variable], lets: dict[str, Variable]) -> set[str]:
    """Networks and parameters that variables read, through what is computed on the way."""
    found: set[str] = set()
    seen: set[str] = set()
    queue = list(variables)
    while queue:
        for e in (e for clause in queue.pop().clauses for body in bodies(clause) for e in walk(body)):
            if isinstance(e, Apply):
                found.add(e.network)
            elif isinstance(e, ParamRef):
                found.add(e.name)
            elif isinstance(e, VariableRef) and e.name in lets and e.name not in seen:
                seen.add(e.name)
                queue.append(lets[e.name])
    return found
