"""Functions applied to typed values: how plates, stretches, shapes and supports go through each of ir/functions.py."""

from __future__ import annotations

import operator
from math import inf, isfinite, isnan, nan

from lvspec.errors import Span
from lvspec.front import supports
from lvspec.front import syntax as S
from lvspec.front.context import Context, broken, unknown
from lvspec.front.lengths import counted
from lvspec.front.shapes import SHAPES, consumed
from lvspec.front.sites import a_number_everywhere
from lvspec.ir import types as T
from lvspec.ir.expr import Call, Expr, Number, walk
from lvspec.ir.functions import FUNCTIONS
from lvspec.ir.lengths import of_sites
from lvspec.ir.types import Support, Type

_COMPARISONS = ("equal", "less")
_OF_NUMBERS = (*_COMPARISONS, "clip")
_SITEWISE = [n for n, f in FUNCTIONS.items() if f.kind == "elementwise"]
_ARITHMETIC = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv, "power": operator.pow,
}  # fmt: skip
_EXACT = 2.0**53  # whole numbers of a module are exact up to here; beyond them `2 ** 2 ** ...` is computed at once


def call(name: str, args: tuple[Expr, ...], ctx: Context, span: Span, over: S.Name | None = None) -> Expr:
    """`name(args)`, or `name(arg over plate)`, with its type."""
    function = FUNCTIONS[name]
    least, most = function.arity
    if len(args) < least or (most is not None and len(args) > most):
        wanted = str(least) if least == most else f"{least} or more" if most is None else f"{least} to {most}"
        ctx.problems.error(
            "arguments", span, f"`{name}` takes {wanted} argument{'s' if wanted != '1' else ''}, not {len(args)}"
        )
        return broken(span)
    if any(map(unknown, args)):
        return broken(span)
    if over is not None:
        return _over(name, args[0], over, ctx, span)
    whole = [a for a in args if name in _OF_NUMBERS or a.type.support.kind == "integer" and name in _SITEWISE]
    if not all([a_number_everywhere(a, ctx) for a in whole]):
        return broken(span)
    rule = {"elementwise": _elementwise, "reduce": _reduce, "normalise": _normalise}.get(function.kind) or SHAPES[name]
    return rule(name, args, ctx, span) or broken(span)


# ---------------------------------------------------------------- the three regular kinds
def _elementwise(name: str, args: tuple[Expr, ...], ctx: Context, span: Span) -> Expr | None:
    joined, shape = (
        ctx.join(args, span),
        ctx.broadcast(args, span, f"the arguments of `{FUNCTIONS[name].symbol or name}`"),
    )
    if joined is None or shape is None:
        return None
    if name in _ARITHMETIC:
        support = supports.arithmetic(name, args)
    else:
        support = Support(FUNCTIONS[name].support) if name in _COMPARISONS else supports.elementwise(name, args[0])
    if name in _COMPARISONS and not all(map(supports.integral, args)):
        shown = " and ".join(supports.show(a.type) for a in args)
        ctx.problems.error("real-as-index", span, f"`{name}` compares integers", label=shown)
        return None
    if name == "divide" and isinstance(args[1], Number) and args[1].value == 0:
        ctx.problems.error("support-mismatch", args[1].span, "this divides by zero")
        return None
    value = _of_numbers(_ARITHMETIC[name], args) if name in _ARITHMETIC else None
    if value is not None and not isfinite(value):
        why = (
            "no real number comes out of this"
            if isnan(value)
            else "this number is larger than a computer's numbers are"
        )
        ctx.problems.error("bad-number", span, why)
        return None
    if value is not None and abs(value) > _EXACT:
        return Number(value, type=Type(shape, support, *joined), span=span)
    return Call(name, args, type=Type(shape, support, *joined), span=span)


def _of_numbers(operation, args: tuple[Expr, ...]) -> float | None:
    """The value of numbers that stand in the spec, NaN where they have none; None of anything else."""
    values = [a.type.support.range.low for a in args if a.type.support.range.low == a.type.support.range.high]
    if len(values) < len(args) or not all(isinstance(n, (Number, Call)) for a in args for n in walk(a)):
        return None
    try:
        value = operation(*values)
    except OverflowError:
        return inf
    except ZeroDivisionError:
        return nan
    return nan if isinstance(value, complex) else value


def _reduce(name: str, args: tuple[Expr, ...], ctx: Context, span: Span) -> Expr | None:
    (value,) = args
    support = supports.reduced(name, value.type.support)
    if value.type.reach:
        return Call(name, args, type=Type(value.type.shape, support, consumed(value, ctx)), span=span)
    if not value.type.shape:
        ctx.problems.error(
            "shape-mismatch",
            span,
            f"`{name}` has nothing to run over: this is a single number",
            label=supports.show(value.type),
            help=f"write `{name}(... over plate)`",
        )
        return None
    return Call(name, args, type=Type(value.type.shape[:-1], support, value.type.plates), span=span)


def _normalise(name: str, args: tuple[Expr, ...], ctx: Context, span: Span) -> Expr | None:
    (value,) = args
    if not value.type.shape:
        ctx.problems.error(
            "shape-mismatch",
            span,
            f"`{name}` runs over the last axis, and this is a single number",
            label=supports.show(value.type),
            help=f"write `{name}(... over plate)`",
        )
        return None
    return Call(name, args, type=value.type.with_(support=Support(FUNCTIONS[name].support)), span=span)


# ---------------------------------------------------------------- along a plate
def _over(name: str, value: Expr, over: S.Name, ctx: Context, span: Span) -> Expr:
    plate = over.name
    if value.type.reach and value.type.reach.plate == plate and FUNCTIONS[name].kind == "reduce":
        return call(name, (value,), ctx, span)
    if not _varies(value, over, ctx):
        return broken(span)
    there = counted(name, value, ctx.declared.plates[plate], ctx, span)
    if there is None:
        return broken(span)
    value = there
    rest = tuple(p for p in value.type.plates if p != plate)
    if FUNCTIONS[name].kind == "normalise":
        support = T.UNIT if name == "softmax" else T.REAL  # one entry of it, at one site
        found = Call(name, (value,), over=plate, type=value.type.with_(support=support), span=span)
        return (
            found
            if plate in ctx.bound
            else stack(found, plate, ctx, span, T.SIMPLEX if name == "softmax" and not value.type.shape else support)
        )
    if name == "flatten":
        length = ctx.extent(plate)
        for axis in value.type.shape:
            length = length * axis
        kind = value.type.with_(shape=(length,), plates=rest, support=supports.entry(value.type.support))
    else:
        kind = value.type.with_(plates=rest, support=supports.reduced(name, value.type.support))
    return of_sites(Call(name, (value,), over=plate, type=kind, span=span), ctx.declared.plates[plate])


def _varies(value: Expr, over: S.Name, ctx: Context) -> bool:
    if over.name in value.type.plates:
        return True
    ctx.problems.error(
        "over-unused",
        over.span,
        f"the expression before `over {over.name}` is the same for every `{over.name}`",
        help=f"index something in it with `[{over.name}]`",
    )
    return False


def _placed(over: S.Name, ctx: Context) -> bool:
    """Whether it is clear which sites a plate has: those of a nested one belong to a site of the plate around it."""
    within = ctx.declared.plates[over.name].within
    if within is None or within in ctx.bound:
        return True
    ctx.problems.error(
        "unbound-plate",
        over.span,
        f"`{over.name}` lies within `{within}`, and the clause speaks of no single site `{within}`",
        help=f"index the variable of this clause with `[{within}]`",
    )
    return False


def stack_over(value: Expr, over: S.Name, ctx: Context, span: Span) -> Expr:
    """A bare `value over plate`: the plate as a new first axis. What does not vary is the same at each site, `0 over m`."""
    if unknown(value) or not (over.name in value.type.plates or _placed(over, ctx)):
        return broken(span)
    there = counted("stack", value, ctx.declared.plates[over.name], ctx, span)
    return stack(there, over.name, ctx, span) if there is not None else broken(span)


def stack(value: Expr, plate: str, ctx: Context, span: Span, support: Support | None = None) -> Expr:
    rest = tuple(p for p in value.type.plates if p != plate)
    kind = value.type.with_(
        shape=(ctx.extent(plate), *value.type.shape), plates=rest, support=support or value.type.support
    )
    return Call("stack", (value,), over=plate, type=kind, span=span)
