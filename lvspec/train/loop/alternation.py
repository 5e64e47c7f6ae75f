"""Steps that move some parameters alone, in rounds; what no turn of a round names moves in all of them.

    phases:                     the turns of the file
    inference: alternating      φ, φ, .., φ (inference_steps of them), θ
    inference: aggressive       φ, φ, .. as long as that lowers the loss, θ; all together once I_q(x; z) has stopped rising

φ are the parameters that only q reads, θ all others. The last step of a round takes the epoch's next batch, those before
random ones: an epoch, and a step that schedules count, is a round. He, Spokoyny, Neubig & Berg-Kirkpatrick 2019: early in
training q lags behind the model's posterior, so the model learns to do without z, and that is where it stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from lvspec.emitted import EmittedModel
from lvspec.errors import UsageError
from lvspec.ir.expr import Apply, ParamRef, VariableRef, walk
from lvspec.ir.plan import Plan
from lvspec.ir.reads import bodies
from lvspec.ir.spec import Variable
from lvspec.train.data.dataset import Dataset
from lvspec.train.settings import TrainSettings

STEPS = {"alternating": 10, "aggressive": 100}  # of q in a row, at most
WINDOW = 10  # steps of q whose mean loss is compared with that of as many before

Parameters = tuple[nn.Parameter, ...]
Move = Callable[[np.ndarray, Parameters], tuple[float, float]]  # a step on these rows: its loss and gradient norm


@dataclass(frozen=True)
class Turn:
    """Steps in a row. names: of networks and tables that move. falling: only as long as the loss per site falls."""

    names: frozenset[str]
    steps: int = 1
    falling: bool = False


@dataclass(frozen=True)
class Alternation:
    """A round. moving: the parameters of each turn. sizes: how many sites each example has."""

    turns: tuple[Turn, ...]
    moving: tuple[Parameters, ...]
    sizes: np.ndarray
    seed: int

    def lead(self, order: Sequence, step: int, move: Move) -> None:
        """All steps of a round but its last one. order: the epoch's batches."""
        random = np.random.default_rng([self.seed, step])
        for turn, parameters in zip(self.turns, self.moving, strict=True):
            total, sites, before = 0.0, 0, None
            for taken in range(1, turn.steps + (turn is not self.turns[-1])):
                rows = order[int(random.integers(len(order)))]
                total, sites = total + move(rows, parameters)[0] * len(rows), sites + int(self.sizes[rows].sum())
                if not turn.falling or taken % WINDOW:
                    continue
                mean = total / max(1, sites)  # batches are of different lengths
                if before is not None and mean >= before:
                    break
                total, sites, before = 0.0, 0, mean


def alternation(model: EmittedModel, turns: tuple[Turn, ...], data: Dataset, seed: int) -> Alternation | None:
    """A round of these turns; None where there is none, and all parameters move together."""
    if not turns:
        return None
    moving = [(name.split(".")[0], p) for name, p in model.named_parameters() if p.requires_grad]
    named = frozenset().union(*(t.names for t in turns))
    own = tuple(tuple(p for name, p in moving if name in t.names or name not in named) for t in turns)
    return Alternation(turns, own, data.sizes(), seed)


def turns_of(compiled, settings: TrainSettings) -> tuple[Turn, ...]:
    """The turns that a spec's phases or the settings ask for; nothing where all parameters move together. compiled: the
    driver's, with spec, plan and Model."""
    phases, inference = compiled.spec.phases, settings.inference
    if not phases and inference == "joint":
        return ()
    where = f"train.inference: {inference}" if inference != "joint" else "phases"
    if settings.method != "gradient":
        raise UsageError(f"{where}: EM moves all tables at once")
    if inference == "joint":
        return tuple(Turn(frozenset(p.moves), p.steps) for p in phases)
    if phases:
        raise UsageError(f"{where}: the file says with `phases:` what moves when")
    own = guide_names(compiled.plan)
    if not own:
        raise UsageError(f"{where} moves what q alone reads, and this model has nothing of the kind")
    if inference == "aggressive" and not hasattr(compiled.Model, "encode"):
        raise UsageError(f"{where} looks at the information between data and a latent whose q reads the data alone")
    others = {n.name for n in compiled.plan.networks} | {p.name for p in compiled.spec.params}
    steps = settings.inference_steps or STEPS[inference]
    return Turn(own, steps, falling=inference == "aggressive"), Turn(frozenset(others - own))


def guide_names(plan: Plan) -> frozenset[str]:
    """Networks and parameters that q reads and the model does not, and the baselines that serve it. What both read is the
    model's, and so is what only a term of the objective reads."""
    lets = {v.name: v for v in plan.spec.variables if v.role == "let"}
    inside = {v.name: v for v in plan.guide if v.role == "let"}
    generative = _read([v for v in plan.spec.variables if v.role in ("latent", "observed")], lets)
    inference = _read([v for v in plan.guide if v.role == "guide"], lets | inside)
    own = inference - generative
    return frozenset(own | {n.name for b in plan.baselines for n in b.networks} if own else ())


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
