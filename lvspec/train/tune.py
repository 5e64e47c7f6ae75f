"""Which method of a drawn latent serves best on these data: measured.

At parameters that a short run of the planner's own choice has reached, on one batch, each legal method's gradient is
computed again and again: its variance, how far its mean is from the exact gradient (where the latent can be
summed), its time. Then every method goes on from there for the same processor time, and the bound that it reaches on
validation data decides. Biased methods are shown, and win only where they are admitted.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lvspec.emitted import CompiledSpec, EmittedModel
from lvspec.errors import SpecError, TrainingError
from lvspec.ir.estimators import BY_TURN, STRATEGIES
from lvspec.train.data.batches import collate, epoch_order
from lvspec.train.diagnosis.blame import blame
from lvspec.train.loop.optimise import clip_gradient, gradient_norm, make_optimizer
from lvspec.train.scoring.score import prepared, score
from lvspec.train.scoring.trace import Generators, Taken
from lvspec.train.start import Ready

METHODS = tuple(call for row in BY_TURN for call in row.calls)
GRADIENTS = 40  # of one batch, for a variance


@dataclass(frozen=True)
class MethodRow:
    """One method. variance: of the gradient, summed over its coordinates. off: distance of its mean from the exact gradient,
    as a share of it (None: no exact one). seconds: processor time of a gradient. bound: on validation data, nats per example.
    error: standard error of how far that is behind the best one's, example by example."""

    method: str
    biased: bool
    variance: float
    seconds: float
    off: float | None
    steps: int
    bound: float
    error: float = 0.0

    @property
    def cost(self) -> float:
        """Time × variance: the time to a gradient of unit variance."""
        return self.variance * self.seconds


@dataclass(frozen=True)
class Tuning:
    """rows: the best bound first. refused: methods with the planner's reason."""

    latent: str
    rows: tuple[MethodRow, ...]
    refused: tuple[tuple[str, str], ...]

    def best(self, biased: bool = False) -> MethodRow:
        return next(r for r in self.rows if biased or not r.biased)

    def as_good(self, biased: bool = False) -> list[MethodRow]:
        """Those that the best one is not ahead of by more than two standard errors."""
        best = self.best(biased)
        others = [r for r in self.rows if r is not best and (biased or not r.biased)]
        return [r for r in others if best.bound - r.bound <= 2 * math.hypot(r.error, best.error)]


def admissible(compile_with: Callable[[str], CompiledSpec], methods=METHODS) -> tuple[dict[str, CompiledSpec], list]:
    """What compiles, by method, and what the planner refuses, with its reason."""
    found, refused = {}, []
    for method in methods:
        try:
            found[method] = compile_with(method)
        except SpecError as reason:
            refused.append(
                (method, reason.diagnostics[0].message.partition(" is not legal for ")[2].partition(": ")[2])
            )
    return found, refused


def tune(
    ready: Ready, latent: str, compile_with: Callable[[str], CompiledSpec], seconds: float, notify=lambda text: None
) -> Tuning:
    """The table of one latent; `seconds` of processor time for each method's run, and for the one before it."""
    found, refused = admissible(compile_with)
    if not found:
        raise TrainingError(f"no method of {latent} can be compared: {refused[0][1] if refused else 'none is legal'}")
    valid = ready.parts["valid"] if len(ready.parts["valid"]) else ready.parts["train"]
    base = ready.model(ready.config.train.seed).to(ready.device)
    list(trained(base, ready, [seconds]))
    state = {n: v.clone() for n, v in base.state_dict().items()}
    names = [n for n, p in base.named_parameters() if p.requires_grad]
    batch = collate(ready.parts["train"], epoch_order(ready.parts["train"], ready.config.train, 0)[0])
    exact, rows, each = None, [], {}
    for method, compiled in found.items():
        own = replace(ready, compiled=compiled)
        model = _started(own, state)
        summed = STRATEGIES[method.partition("(")[0]].draws is None
        gradients = Gradients.of(model, prepared(model, batch, ready.device), names, 1 if summed else GRADIENTS)
        exact = gradients.mean if summed and not compiled.plan.sampled else exact
        notify(f"{latent}: {method}")
        (steps,) = trained(model, own, [seconds])
        base.load_state_dict({n: v for n, v in model.state_dict().items() if n in state})
        scored = score(base, valid, ready.config.train, ready.device, ready.compiled)
        assert scored.each is not None
        each[method] = scored.each
        off = None if exact is None else float((gradients.mean - exact).norm() / exact.norm())
        biased = any(p.biased for p in compiled.plan.latents)
        rows.append(MethodRow(method, biased, gradients.variance, gradients.seconds, off, steps, scored.value))
    rows.sort(key=lambda r: -r.bound)
    first = each[rows[0].method]
    behind = [replace(r, error=float((first - each[r.method]).std()) / len(first) ** 0.5) for r in rows]
    return Tuning(latent, tuple(behind), tuple(refused))


def _started(ready: Ready, state: dict[str, Tensor]) -> EmittedModel:
    """A method's module at the common parameters; what it has of its own (a baseline) starts anew."""
    model = ready.model(ready.config.train.seed).to(ready.device)
    model.load_state_dict({n: v for n, v in state.items() if n in model.state_dict()}, strict=False)
    return model


@dataclass(frozen=True)
class Gradients:
    """Of one batch at fixed parameters. mean: one row of coordinates."""

    mean: Tensor
    variance: float
    seconds: float

    @staticmethod
    def of(model: EmittedModel, batch: dict, names: list[str], times: int) -> Gradients:
        parameters = dict(model.named_parameters())
        shared = [parameters[n] for n in names if n in parameters]
        mean, squares = torch.zeros(()), torch.zeros(())
        clock = []
        for i in range(times):
            model.zero_grad(set_to_none=True)
            start = time.process_time()
            model(batch).loss.backward()
            clock.append(time.process_time() - start)
            one = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten().double() for p in shared])
            before = one - mean
            mean = mean + before / (i + 1)
            squares = squares + before * (one - mean)  # Welford's sums
        variance = float(squares.sum()) / max(times - 1, 1)
        return Gradients(mean, variance, statistics.median(clock))


def trained(model: EmittedModel, ready: Ready, marks: Sequence[float]) -> Iterator[int]:
    """Train for so much processor time, and stop at each mark: how many steps that were."""
    settings, dataset = ready.config.train, ready.parts["train"]
    optimizer = make_optimizer(model, settings)
    model.train()
    torch.manual_seed(settings.seed)
    marks = list(marks)
    start, steps = time.process_time(), 0
    for rows in _forever(dataset, settings):
        if steps and time.process_time() - start > marks[0]:
            before = time.process_time()
            yield steps
            marks.pop(0)
            if not marks:
                return
            start += time.process_time() - before  # what is done at a mark is not training
        optimizer.zero_grad(set_to_none=True)
        batch = prepared(model, collate(dataset, rows), ready.device)
        taken = Taken(model, ready.compiled, batch, Generators(ready.device), rows)
        objective = model(batch)
        objective.loss.backward()
        norm = gradient_norm(model)
        if not torch.isfinite(norm):
            raise blame(taken, f"step {steps + 1}", "", objective)
        clip_gradient(model, norm, settings.clip)
        optimizer.step()
        steps += 1
        if isinstance(getattr(model, "step", None), Tensor):
            model.step.add_(1)


def _forever(dataset, settings) -> Iterator:
    epoch = 0
    while True:
        yield from epoch_order(dataset, settings, epoch)
        epoch += 1
