"""Which set a value lies in: positive + positive is positive, 1 - unit is unit, and what to write where it does not fit."""

from __future__ import annotations

from lvspec.front.context import unknown
from lvspec.ir import types as T
from lvspec.ir.expr import Expr, Number, SizeRef
from lvspec.ir.types import Support, Type, within

INTEGER = Support("integer")  # an integer of which no bound is known, e.g. `m - a[t-1]`

_NONNEGATIVE = ("positive", "nonnegative", "unit", "simplex", "count", "boolean")


def of_number(value: float | int) -> Support:
    return T.POSITIVE if value > 0 else T.NONNEGATIVE if value == 0 else T.REAL


def integral(value: Expr) -> bool:
    """Whether a value is a whole number."""
    if isinstance(value, Number):
        return isinstance(value.value, int)
    return isinstance(value, SizeRef) or value.type.support.kind in ("integer", "count", "boolean")


def show(kind: Type) -> str:
    """`real[D]`, `integer below K`: support and event shape."""
    s = kind.support
    text = "integer" if s.kind == "integer" and s.size is None else str(s)
    return text + (f"[{', '.join(map(str, kind.shape))}]" if kind.shape else "")


_WORDS = {
    "unit": "between 0 and 1", "simplex": "a distribution (entries that sum to 1)", "boolean": "0 or 1", "sphere": "a vector of length 1", "real": "any real number",
    "count": "a count (0, 1, 2, ...)", "nonnegative": "0 or more", "integer": "the number of a category", "structure": "a structure",
}  # fmt: skip


def in_words(support: Support) -> str:
    return _WORDS.get(support.kind, support.kind)


def fits(value: Expr, wanted: Support) -> bool:
    """Whether every value of an expression may stand where `wanted` is asked for."""
    if unknown(value):
        return True
    if isinstance(value, Number):
        v = value.value
        checks = {"positive": v > 0, "nonnegative": v >= 0, "unit": 0 <= v <= 1, "boolean": v in (0, 1),
                  "count": v >= 0 and isinstance(v, int), "integer": v >= 0 and isinstance(v, int), "real": True}  # fmt: skip
        return checks.get(wanted.kind, False)
    if isinstance(value, SizeRef):
        return wanted.kind in ("real", "positive", "nonnegative", "count", "integer")
    if value.type.support == INTEGER and wanted.kind in ("count", "nonnegative"):
        return wanted.kind == "count"
    return within(value.type.support, wanted)


def mend(wanted: Support, text: str, axes: str = "scalar") -> str:
    """A proposed mend for a value with the wrong support."""
    if axes == "vector" and wanted.kind in ("nonnegative", "simplex", "unit"):
        return f"wrap it, e.g. `softmax({text})`, or give `logits=` instead"
    wraps = {"positive": "softplus", "nonnegative": "softplus", "unit": "sigmoid", "simplex": "softmax"}
    wrap = wraps.get(wanted.kind)
    return f"wrap it, e.g. `{wrap}({text})`" if wrap else ""


def arithmetic(function: str, args: tuple[Expr, ...]) -> Support:
    """The support of `a + b`, `a * b`, ..."""
    kinds = [a.type.support.kind for a in args]
    if function == "subtract" and isinstance(args[0], Number) and args[0].value == 1 and kinds[1] == "boolean":
        return T.BOOLEAN
    if (
        function in ("add", "subtract", "multiply")
        and all(map(integral, args))
        and any(k in ("integer", "count", "boolean") for k in kinds)
    ):
        return T.COUNT if function != "subtract" and "integer" not in kinds else INTEGER
    return _ARITHMETIC[function](args, kinds)


def _positive(kind: str) -> bool:
    return kind == "positive"


def _add(args, kinds) -> Support:
    if any(map(_positive, kinds)) and all(k in _NONNEGATIVE for k in kinds):
        return T.POSITIVE
    return T.NONNEGATIVE if all(k in _NONNEGATIVE for k in kinds) else T.REAL


def _subtract(args, kinds) -> Support:
    one_minus = isinstance(args[0], Number) and args[0].value == 1
    return T.UNIT if one_minus and kinds[1] in ("unit", "simplex", "boolean") else T.REAL


def _multiply(args, kinds) -> Support:
    if all(fits(a, T.UNIT) for a in args):
        return T.UNIT if not all(map(_positive, kinds)) else T.POSITIVE
    if all(map(_positive, kinds)):
        return T.POSITIVE
    return T.NONNEGATIVE if all(k in _NONNEGATIVE for k in kinds) else T.REAL


def _divide(args, kinds) -> Support:
    if all(map(_positive, kinds)):
        return T.POSITIVE
    return T.NONNEGATIVE if all(k in _NONNEGATIVE for k in kinds) else T.REAL


def _power(args, kinds) -> Support:
    even = isinstance(args[1], Number) and isinstance(args[1].value, int) and args[1].value % 2 == 0
    return T.POSITIVE if _positive(kinds[0]) else T.NONNEGATIVE if even or kinds[0] in _NONNEGATIVE else T.REAL


_ARITHMETIC = {"add": _add, "subtract": _subtract, "multiply": _multiply, "divide": _divide, "power": _power}


def reduced(function: str, support: Support) -> Support:
    """The support of a sum, mean, max, ... of values of one support."""
    kind = support.kind
    if kind == "sphere":
        return T.REAL
    if function == "sum":
        return {"positive": T.POSITIVE, "count": T.COUNT, "boolean": T.COUNT}.get(
            kind, T.NONNEGATIVE if kind in _NONNEGATIVE else T.REAL
        )
    if function == "prod":
        return support if kind in ("positive", "unit", "nonnegative", "count", "boolean") else T.REAL
    if function in ("mean", "max", "min"):
        real = function == "mean" and support.discrete
        return (
            T.UNIT
            if kind in ("simplex", "boolean")
            else T.NONNEGATIVE
            if real and kind == "count"
            else T.REAL
            if real
            else support
        )
    return T.REAL


def entry(support: Support) -> Support:
    """Of one entry of a vector: an entry of a distribution over categories is a probability."""
    return {"simplex": T.UNIT, "sphere": T.REAL}.get(support.kind, support)


def common(supports: tuple[Support, ...]) -> Support:
    """The smallest support that holds all of these."""
    if all(s == supports[0] for s in supports):
        return entry(supports[0])
    for wide in (T.UNIT, T.POSITIVE, T.COUNT, T.NONNEGATIVE):
        if all(within(s, wide) for s in supports):
            return wide
    return T.REAL
