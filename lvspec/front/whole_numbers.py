"""Between which whole numbers an integer lies, as sizes: what keeps a computed index among the entries of an axis.

a + b          a below K, b below M          0 .. K + M - 2, so [K + M - 1] has an entry for each
a - b + M - 1                                0 .. K + M - 2
"""

from __future__ import annotations

from collections.abc import Callable

from lvspec.ir.dims import Dim
from lvspec.ir.expr import Call, Expr, Number, SizeRef

Ends = tuple[Dim, Dim]  # the least value and the greatest one


def ends(value: Expr) -> Ends | None:
    """None where nothing bounds it."""
    if isinstance(value, Number):
        return Dim.of(int(value.value)), Dim.of(int(value.value))
    if isinstance(value, SizeRef):
        return value.dim, value.dim
    if value.type.support.cardinality is not None:
        return Dim.of(0), value.type.support.cardinality - 1
    if isinstance(value, Call) and value.function in _RULES:
        parts = [e for a in value.args if (e := ends(a)) is not None]
        return _RULES[value.function](*parts) if len(parts) == len(value.args) else None
    low, high = value.type.support.range.low, value.type.support.range.high
    return (Dim.of(int(low)), Dim.of(int(high))) if -_FAR < low <= high < _FAR else None


_FAR = 2.0**53


def _product(a: Ends, b: Ends) -> Ends | None:
    return (a[0] * b[0], a[1] * b[1]) if never_negative(a[0]) and never_negative(b[0]) else None


_RULES: dict[str, Callable[..., Ends | None]] = {
    "add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "subtract": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "negative": lambda a: (a[1] * -1, a[0] * -1),
    "multiply": _product,
}


def never_negative(size: Dim) -> bool:
    """Whether a polynomial of sizes is 0 or more, whatever they are: all of them are 1 or more."""
    return all(c >= 0 for names, c in size.terms if names) and sum(c for _, c in size.terms) >= 0


def lies_among(value: Ends, axis: Dim) -> bool:
    """Whether an integer is the number of an entry of an axis, whatever its value."""
    return never_negative(value[0]) and never_negative(axis - 1 - value[1])
