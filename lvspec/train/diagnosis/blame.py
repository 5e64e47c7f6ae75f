"""Where NaN or infinity first appears in a step, as a place in the spec.

The step is taken once more with the same draws, and every value that it names is looked at, forwards for values, backwards
for gradients; the first one that is no number is what the error is about. What stands beyond an example's sites is
not looked at, and -inf is an error only where a whole example has it: a forbidden transition is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lvspec.emit import Symbol
from lvspec.errors import Diagnostic, TrainingError
from lvspec.ir.structured import structure_of
from lvspec.train.diagnosis.places import Place, place_of, place_of_argument, place_of_network, place_of_parameter
from lvspec.train.scoring.score import parts, per_example
from lvspec.train.scoring.trace import Called, NamedValue, Taken, Trace, traced

POSITIVE = ("scale", "rate", "concentration", "concentration1", "concentration0", "df")  # arguments that are above 0
SMALLER = "a smaller `learning_rate`, or `clip: 5.0` in `train:`"
REMEDIES = {
    "data": "leave the record out, or mend the file",
    "parameter": SMALLER,
    "network": SMALLER,
    "zero": "keep it away from 0, e.g. `softplus(...) + 0.001`",
    "argument": f"bound it, e.g. `tanh(...)` or `clip(...)`; or {SMALLER}",
    "impossible": "what was observed has probability 0 under the model: look at the data, or at what the factor forbids",
    "short": "leave such records out, e.g. `lengths: 2-40` of the variable under `data:`",
    "value": SMALLER,
    "gradient": "keep what log, sqrt and division are taken of away from 0; clipping does not help where there is no number",
}


@dataclass(frozen=True)
class Finding:
    """what: the quantity, in words. number: what stands there. row: of the batch. cause: key of REMEDIES. worst: what
    stands at the place, where that is another one than the quantity's."""

    what: str
    number: str
    place: Place | None
    cause: str
    row: int | None = None
    more: str = ""
    worst: str = ""


def blame(taken: Taken, when: str, kept: str, objective=None) -> TrainingError:
    """The error to raise: with a place in the spec where one is found. `objective`: of the step as it was taken."""
    with torch.enable_grad():
        found = _parameter(taken) or _replayed(taken)
    if found is None:
        message = _term(taken, objective) if objective is not None else ""
        return TrainingError(f"{when}: {message or 'the loss is not finite'}{kept}")
    message = f"{when}: {found.what} is {found.number}{_example(taken, found.row)}{found.more}{kept}"
    if found.place is None or not found.place.span.line:
        return TrainingError(message)
    label = f"{found.place.name}: {found.worst or found.number}"
    diagnostic = Diagnostic("non-finite", found.place.span, message, label, REMEDIES[found.cause])
    return TrainingError(message, taken.compiled.spec.source if taken.compiled else None, diagnostic)


def _example(taken: Taken, row: int | None) -> str:
    """Which one it is, in the batch and in its data."""
    if row is None:
        return ""
    return f" at row {row} of the batch (example {int(taken.rows[row]) + 1} of the {taken.part} data)"


def _parameter(taken: Taken) -> Finding | None:
    bad = next(((n, p) for n, p in taken.model.named_parameters() if not torch.isfinite(p).all()), None)
    if bad is None:
        return None
    number = bad[1].detach()[~torch.isfinite(bad[1])][0].item()
    return Finding(f"the parameter {bad[0]}", str(number), place_of_parameter(taken.compiled, bad[0]), "parameter")


def _replayed(taken: Taken) -> Finding | None:
    trace = traced(taken.model, taken.again)
    values = per_example(trace.objective)[1]
    if torch.isfinite(trace.objective.loss) and torch.isfinite(values).all():
        return _gradients(taken, trace)
    rows = ~torch.isfinite(values)
    rows = rows if rows.any() else ~rows  # the loss alone is at fault
    return _first(taken, trace, rows) or _impossible(taken, trace, rows)


# ---------------------------------------------------------------- values
def _known(taken: Taken, trace: Trace) -> Iterator[tuple[NamedValue, Symbol]]:
    """The locals that stand for something of the spec, in order."""
    symbols = taken.compiled.symbols if taken.compiled is not None else {}
    for step in trace.steps:
        if not step.network and step.name in symbols and step.value.is_floating_point():
            yield step, symbols[step.name]


def _first(taken: Taken, trace: Trace, rows: Tensor) -> Finding | None:
    """The first local that is no number, or +inf, at one of these examples."""
    for step, symbol in _known(taken, trace):
        value = step.value.detach()
        bad = (value.isnan() | (value == torch.inf)) & _counted(taken, value, symbol.axes, rows)
        if bad.any():
            return _refined(taken, trace, step, symbol, *_where(bad, value, symbol.axes))
    return None


def _impossible(taken: Taken, trace: Trace, rows: Tensor) -> Finding | None:
    """The first log-density that is -inf at a site, under every value of what is summed there."""
    plates = {"S", "B", *taken.compiled.spec.plate_names} if taken.compiled is not None else set()
    for step, symbol in _known(taken, trace):
        value = step.value.detach()
        if symbol.part not in ("p", "q", "kl") or "B" not in symbol.axes or value.dim() < len(symbol.axes):
            continue
        summed = [i for i, a in enumerate(symbol.axes) if a not in plates]
        value = value.amax(summed) if summed else value
        axes = tuple(a for a in symbol.axes if a in plates)
        bad = value.isinf() & _counted(taken, value, axes, rows)
        if bad.any():
            return _refined(taken, trace, step, symbol, *_where(bad, value, axes))
    return None


def _counted(taken: Taken, value: Tensor, axes: tuple[str, ...], rows: Tensor) -> Tensor:
    """Where a value belongs to one of the examples and to a real site of theirs, broadcastable against it."""
    if "B" not in axes or value.dim() < len(axes) or value.shape[axes.index("B")] != len(rows):
        return torch.ones([1] * value.dim(), dtype=torch.bool, device=value.device)
    found = _along(rows, ("B",), axes, value.dim())
    plates = taken.compiled.spec.plates if taken.compiled else ()
    for plate in (p for p in plates if p.name in axes and p.ragged):
        mask = taken.batch.get(f"{plate.name}.mask")
        own = ("B", plate.within, plate.name) if plate.within else ("B", plate.name)
        if mask is not None and set(own) <= set(axes) and mask.shape[-1] == value.shape[axes.index(plate.name)]:
            found = found & _along(mask, own, axes, value.dim())
    return found


def _along(mask: Tensor, own: tuple[str, ...], axes: tuple[str, ...], dims: int) -> Tensor:
    shape = [mask.shape[own.index(a)] if a in own else 1 for a in axes]
    return mask.reshape(*shape, *[1] * (dims - len(axes)))


def _where(bad: Tensor, value: Tensor, axes: tuple[str, ...]) -> tuple[str, int | None]:
    """The number at the first bad entry, and its row."""
    index = bad.expand_as(value).nonzero()[0]
    of_rows = "B" in axes and value.dim() >= len(axes) and value.shape[axes.index("B")] > 1
    return str(value[tuple(index)].item()), int(index[axes.index("B")]) if of_rows else None


def _refined(taken: Taken, trace: Trace, step: NamedValue, symbol: Symbol, number: str, row: int | None) -> Finding:
    """What the local is, or what it was made of if that is to blame: a network, an argument of its density."""
    place = place_of(taken.compiled, symbol)
    cause = "data" if symbol.part == "data" else "argument" if symbol.argument else "value"
    found = Finding(place.what, number, place, "impossible" if number == "-inf" else cause, row)
    if number == "-inf" and (few := _too_few(taken, symbol, row)):
        return replace(found, more=few, cause="short")
    for one in trace.leading_to(step):
        if isinstance(one, NamedValue) and not torch.isfinite(one.value).all():
            network = place_of_network(taken.compiled, one.name)
            return replace(found, more=f": {network.what} gives it", cause="network")
        if isinstance(one, Called) and one.function.endswith(("log_prob", "table")):
            for name, value in one.arguments.items():
                argument = place_of_argument(taken.compiled, symbol, name)
                cause = _fault(name, value) if argument is not None else ""
                if argument is not None and cause:
                    worst = str((value.min() if cause == "zero" else value[~torch.isfinite(value)][0]).item())
                    more = f": {argument.what} is {worst}"
                    return replace(found, more=more, place=argument, cause=cause, worst=worst)
    return found


def _too_few(taken: Taken, symbol: Symbol, row: int | None) -> str:
    """What a structure yields has a least number of sites."""
    variable = (
        next((v for v in taken.compiled.spec.variables if v.name == symbol.node), None) if taken.compiled else None
    )
    structure = structure_of(variable) if variable is not None and symbol.part == "p" else None
    if variable is None or structure is None or row is None:
        return ""
    dist = variable.general.dist
    there = taken.batch[f"{dist.plate}.mask"][row].sum(-1) if f"{dist.plate}.mask" in taken.batch else None
    if there is None or int(there.min()) >= structure.fewest:
        return ""
    return f": a {dist.family} yields {structure.fewest} sites or more, and it has {int(there.min())}"


def _fault(name: str, value: Tensor) -> str:
    """What is wrong with an argument of a density; -inf among logits forbids a value, and is none."""
    if not value.is_floating_point():
        return ""
    if name in POSITIVE and bool((value <= 0).any()):
        return "zero"
    wrong = value.isnan() | (value == torch.inf) if name == "logits" else ~torch.isfinite(value)
    return "argument" if bool(wrong.any()) else ""


# ---------------------------------------------------------------- gradients
def _gradients(taken: Taken, trace: Trace) -> Finding | None:
    """Backwards: the last local whose gradient is none, which is the first one that the backward pass reached."""
    known = [(step, symbol) for step, symbol in _known(taken, trace) if step.value.requires_grad]
    for step, _ in known:
        step.value.retain_grad()
    taken.model.zero_grad(set_to_none=True)
    trace.objective.loss.backward()
    graded = [(n, p.grad) for n, p in taken.model.named_parameters() if p.grad is not None]
    wrong = [n for n, g in graded if not torch.isfinite(g).all()]
    networks = ", ".join(dict.fromkeys(n.partition(".")[0] for n in wrong if "." in n))
    for step, symbol in reversed(known):
        gradient = step.value.grad
        if gradient is not None and (bad := ~torch.isfinite(gradient)).any():
            place = place_of(taken.compiled, symbol)
            number, row = _where(bad, gradient, symbol.axes)
            more = f"; so is that of the network{'s' if ',' in networks else ''} {networks}" if networks else ""
            return Finding(f"the gradient with respect to {place.what}", number, place, "gradient", row, more)
    if not wrong:
        return None
    its_place = place_of_parameter(taken.compiled, wrong[0])
    return Finding(f"the gradient of {wrong[0]}", "not finite", its_place, "gradient")


def _term(taken: Taken, objective) -> str:
    """What is left to say where no value of the step explains it."""
    kind, value = per_example(objective)
    whole = {"exact": "log p(x)", "bound": "the ELBO", "objective": "the objective"}.get(kind, "log p(x, z)")
    for name, term in (*parts(objective).items(), (whole, value)):
        bad = ~torch.isfinite(term)
        if bad.any():
            row = int(bad.nonzero()[0, 0])
            number = term[row].item()
            help = f"; {REMEDIES['impossible']}" if number == -torch.inf else ""
            return f"{name} is {number}{_example(taken, row)}{help}"
    if torch.isfinite(objective.loss):
        return f"the norm of the gradient is beyond the largest number; try {SMALLER}"
    return f"the loss is {objective.loss.item()}, and the objective is finite: what is off is a baseline or a score; try {SMALLER}"
