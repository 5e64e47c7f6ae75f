"""Plates whose length is a variable, as expressions see them: only sites that count are reduced, and nothing else reads them
together (`ir/lengths.py` says what takes the place of `sum(e over i)`)."""

from __future__ import annotations

from lvspec.errors import Span
from lvspec.front import supports
from lvspec.front.context import Context, Declarations
from lvspec.front.names import did_you_mean
from lvspec.front.problems import Help, Problems
from lvspec.ir.expr import Expr, VariableRef, walk
from lvspec.ir.functions import FUNCTIONS
from lvspec.ir.lengths import reduced
from lvspec.ir.spec import Plate, Variable


def counted(function: str, value: Expr, plate: Plate, ctx: Context, span: Span) -> Expr | None:
    """What `function(value over plate)` runs over; None, and a note, where sites that do not count would be in it. A vector of
    numbers and parameters, as the length's own scores are, has all that there can be."""
    read = any(isinstance(e, VariableRef) and plate.name in e.type.plates for e in walk(value))
    kind = FUNCTIONS[function].kind
    reduces = kind == "reduce" or kind == "normalise" and plate.name in ctx.bound
    if plate.length is None or not (read or reduces):
        return value
    found = reduced(function, value, plate)
    if found is None:
        as_long_as(plate, f"a vector along `{plate.name}`", ctx, span)
    return found


def as_long_as(plate: Plate, what: str, ctx: Context, span: Span) -> None:
    """Notes what would hold sites that do not count."""
    message = f"{what} reaches sites that do not count: `{plate.length}` says how many of `{plate.name}` do"
    help = f"reduce it, e.g. `sum(... over {plate.name})`, or index it with `[{plate.name}]`"
    ctx.problems.error("latent-length", span, message, help=help)


def check_lengths(declared: Declarations, variables: dict[str, Variable], problems: Problems) -> None:
    """A plate's length is an integer, one an example, that never exceeds the plate's bound."""
    for plate in declared.plates.values():
        name = plate.length
        if not name or plate.like:
            continue
        if name not in variables:
            help: Help = did_you_mean(name, variables, "declare it under `latent:`")
            message = f"the length of `{plate.name}` is `{name}`, which is no variable"
            problems.error("bad-plate", plate.span, message, help=help)
            continue
        kind = variables[name].type
        if kind.support.kind not in ("count", "integer", "unknown") or kind.shape:
            message = f"the length of `{plate.name}` is `{name}`, which does not count: it is {supports.show(kind)}"
            problems.error("bad-plate", plate.span, message)
        elif variables[name].plates or variables[name].role == "let":
            message = (
                f"the length of `{plate.name}` is `{name}`, which is not drawn, observed or given once for each example"
            )
            problems.error("bad-plate", plate.span, message)
        elif kind.support.cardinality is not None:
            most = kind.support.cardinality + (int(dict(plate.options).get("more", 0)) - 1)
            if most != plate.size:
                message = f"`{plate.name}` has up to {plate.size} sites, and `{name}` makes it up to {most}"
                help = f"write `max: {most}`, or give `{name}` as many values as there are lengths"
                problems.error("bad-plate", plate.span, message, help=help)
