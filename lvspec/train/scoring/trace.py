"""A step once more, with every value that the emitted module gives a name to.

    trace = traced(model, lambda: model(batch))
    trace.steps        loc, scale_z, z, log_p_x, ... in the order in which they came about, and what each network gave
    trace.calls        the densities, draws and divergences that it called, with their arguments

What the names stand for is known to the compiler (`Compiled.symbols`); so a diagnosis may speak of the spec. A training
step itself pays nothing for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lvspec.emitted import CompiledSpec, EmittedModel
from lvspec.runtime.families.distribution import Distribution


@dataclass(frozen=True)
class NamedValue:
    """A value: of a local, or (network=True) what the network of that name gave. at: how many calls came before it."""

    name: str
    value: Tensor
    network: bool = False
    at: int = 0


@dataclass(frozen=True)
class Called:
    """A function of the runtime that the module called, and the tensors that it was given, by its own names for them; of a
    distribution's method the arguments of the distribution, too."""

    function: str
    arguments: dict[str, Tensor]


@dataclass
class Trace:
    """objective: what the run gave, None where it failed."""

    steps: list[NamedValue] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    objective: Any = None
    known: set[tuple[str, int]] = field(default_factory=set)  # by name and identity: `steps` keeps them all

    def see(self, name: str, value: Tensor) -> None:
        """A local has a value: it counts once, where it came about, not where a method gives it on."""
        if (name, id(value)) not in self.known:
            self.known.add((name, id(value)))
            self.steps.append(NamedValue(name, value, at=len(self.calls)))

    def leading_to(self, step: NamedValue) -> list[NamedValue | Called]:
        """What happened for this value alone: networks and calls since the last local before it."""
        place = next(i for i, s in enumerate(self.steps) if s is step)
        before = next((s for s in reversed(self.steps[:place]) if not s.network), None)
        first = self.steps.index(before) + 1 if before is not None else 0
        return [*self.steps[first:place], *self.calls[before.at if before else 0 : step.at]]


def traced(model: EmittedModel, run: Callable[[], object]) -> Trace:
    """Runs it, looking on. Exceptions of the run are the caller's."""
    trace = Trace()
    file = type(model).forward.__code__.co_filename
    with _networks(model, trace), _looking_on(file, trace):
        trace.objective = run()
    return trace


@contextmanager
def _networks(model: EmittedModel, trace: Trace) -> Iterator[None]:
    def keep(name: str):
        def hook(module, given, found) -> None:
            if isinstance(found, Tensor):
                trace.steps.append(NamedValue(name, found, True, len(trace.calls)))

        return hook

    hooks = [child.register_forward_hook(keep(name)) for name, child in model.named_children()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _looking_on(file: str, trace: Trace) -> Iterator[None]:
    """Watches the lines of the functions of one file."""

    def watch(frame, event, argument):
        if frame.f_code.co_filename == file:
            return _Locals(trace, dict(frame.f_locals))
        caller = frame.f_back
        if caller is not None and caller.f_code.co_filename == file and not frame.f_code.co_name.startswith("_"):
            own = frame.f_locals.get("self")
            named = frame.f_locals | (vars(own) if isinstance(own, Distribution) else {})
            given = {n: v for n, v in named.items() if isinstance(v, Tensor)}
            trace.calls.append(Called(frame.f_code.co_name, given))
        return None

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)


class _Locals:
    """What a function's lines have named so far; each value counts once, when it appears."""

    def __init__(self, trace: Trace, seen: dict[str, object]):
        self.trace, self.seen = trace, seen

    def __call__(self, frame, event, argument) -> _Locals:
        if event in ("line", "return"):
            for name, value in frame.f_locals.items():
                if isinstance(value, Tensor) and self.seen.get(name) is not value:
                    self.seen[name] = value
                    self.trace.see(name, value)
        return self


class Generators:
    """The state of the random generators, so that a step can be taken once more with the same draws."""

    def __init__(self, device: torch.device):
        self.device = device
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, self.device)


@dataclass(frozen=True)
class Taken:
    """A step as it was taken. compiled: what diagnostics speak of (None: nothing). rows: numbers of its examples in their
    data set, which is the `part` one. samples: draws of each example (None: as many as the module takes by itself)."""

    model: EmittedModel
    compiled: CompiledSpec | None
    batch: dict
    generators: Generators
    rows: Any
    part: str = "training"
    samples: int | None = None

    def again(self):
        """The same step, by the same draws: its objective."""
        self.generators.restore()
        with drawing(self.model, self.samples):
            return self.model(self.batch)


@contextmanager
def drawing(model: EmittedModel, samples: int | None) -> Iterator[None]:
    """The module with so many draws of each example, for a while (None: as many as it takes by itself)."""
    before: Any = getattr(model, "samples", None)
    if samples is not None:
        model.samples = samples
    try:
        yield
    finally:
        if samples is not None:
            model.samples = before
