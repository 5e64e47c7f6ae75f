"""Between which numbers the value of an expression lies, from where its arguments lie: interval arithmetic.

exp(-softplus(a))    -softplus(a) < 0, so 0 < exp(..) < 1
1 - exp(-b), b > 0   0 < exp(-b) < 1, so 0 < 1 - exp(-b) < 1

What is read twice is two values here: nothing is told of `a - a`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, isinf, log, log1p, prod, sqrt, tanh

from lvspec.ir.types import Range

POSITIVE, NONNEGATIVE, UNIT = Range(0, open=(True, False)), Range(0), Range(0, 1)
ALL = Range()


def add(a: Range, b: Range) -> Range:
    opened = (a.open[0] or b.open[0], a.open[1] or b.open[1])
    return Range(a.low + b.low, a.high + b.high, opened)


def negative(a: Range) -> Range:
    return Range(-a.high, -a.low, a.open[::-1])


def subtract(a: Range, b: Range) -> Range:
    return add(a, negative(b))


def multiply(a: Range, b: Range) -> Range:
    ends = [_product(x, y) for x in _ends(a) for y in _ends(b)]
    return _hull(ends)


def divide(a: Range, b: Range) -> Range:
    if b.low < 0 < b.high or b.low == 0 and not b.open[0] or b.high == 0 and not b.open[1]:
        return Range(0) if a.low >= 0 and b.low >= 0 else ALL
    ends = [(_inverse(b.high, -inf), b.open[1] or isinf(b.high)), (_inverse(b.low, inf), b.open[0] or isinf(b.low))]
    return multiply(a, _hull(ends))


def power(a: Range, b: Range, even: bool = False) -> Range:
    """a ** b; even: whether b is an even whole number."""
    if a.within(POSITIVE):
        ends = [(_raised(x, y), i or j) for x, i in _ends(a) for y, j in _ends(b)]
        return _hull(ends) if b.low == b.high or a.high <= 1 or a.low >= 1 else POSITIVE
    return NONNEGATIVE if even or a.low >= 0 else ALL


def square(a: Range) -> Range:
    return multiply(absolute(a), absolute(a))


def absolute(a: Range) -> Range:
    if a.low >= 0:
        return a
    if a.high <= 0:
        return negative(a)
    return _hull([(0.0, False), (-a.low, a.open[0]), (a.high, a.open[1])])


def relu(a: Range) -> Range:
    return Range(max(a.low, 0.0), max(a.high, 0.0), (a.open[0] and a.low >= 0, a.open[1] and a.high > 0))


def rising(function: Callable[[float], float], low: float, high: float) -> Callable[[Range], Range]:
    """Of a function that rises, and comes close to `low` and `high` at the ends of the line."""

    def image(a: Range) -> Range:
        ends = (low if a.low == -inf else function(a.low), high if a.high == inf else function(a.high))
        return Range(*ends, (a.open[0] or a.low == -inf, a.open[1] or a.high == inf))

    return image


def _exp(x: float) -> float:
    return exp(x) if x < 700 else inf


def _sigmoid(x: float) -> float:
    return 1 / (1 + _exp(-x))


def _log(a: Range) -> Range:
    return rising(lambda x: log(x) if x > 0 else -inf, -inf, inf)(a)


ELEMENTWISE: dict[str, Callable[[Range], Range]] = {
    "negative": negative,
    "exp": rising(_exp, 0.0, inf),
    "log": _log,
    "sqrt": rising(lambda x: sqrt(max(x, 0.0)), 0.0, inf),
    "square": square,
    "abs": absolute,
    "softplus": rising(lambda x: log1p(_exp(x)) if x < 700 else x, 0.0, inf),
    "sigmoid": rising(_sigmoid, 0.0, 1.0),
    "tanh": rising(tanh, -1.0, 1.0),
    "relu": relu,
    "detach": lambda a: a,
}


def total(a: Range) -> Range:
    """The sum of one or more values."""
    return Range(a.low if a.low >= 0 else -inf, a.high if a.high <= 0 else inf, a.open)


def product(a: Range) -> Range:
    """The product of one or more values."""
    if a.low < 0:
        return ALL
    return Range(0 if a.low < 1 else a.low, a.high if a.high <= 1 else inf, (a.open[0] or 0 < a.low < 1, a.open[1]))


def hull(*ranges: Range) -> Range:
    """The least that holds all of them."""
    return _hull([e for r in ranges for e in _ends(r)])


def widen(before: Range, now: Range) -> Range:
    """A range of which an end moves, with that end at 0 or 1 where it stops before, else at infinity."""
    low, high = (now.low, now.open[0]), (now.high, now.open[1])
    if now.low != before.low:
        low = (0.0, now.low > 0 or now.open[0]) if now.low >= 0 else (-inf, True)
    if now.high != before.high:
        high = (1.0, now.high < 1 or now.open[1]) if now.high <= 1 else (inf, True)
    return Range(low[0], high[0], (low[1], high[1]))


# ---------------------------------------------------------------- ends: (number, whether it is left out)
def _ends(a: Range) -> list[tuple[float, bool]]:
    return [(a.low, a.open[0] or isinf(a.low)), (a.high, a.open[1] or isinf(a.high))]


def _product(x: tuple[float, bool], y: tuple[float, bool]) -> tuple[float, bool]:
    """A closed 0 times anything is 0; infinite ends are never reached."""
    closed = any(v == 0 and not out for v, out in (x, y))
    value = 0.0 if x[0] == 0 or y[0] == 0 else prod((x[0], y[0]))
    return value, not closed and (x[1] or y[1])


def _hull(ends: list[tuple[float, bool]]) -> Range:
    low, high = min(v for v, _ in ends), max(v for v, _ in ends)
    return Range(low, high, (all(out for v, out in ends if v == low), all(out for v, out in ends if v == high)))


def _inverse(x: float, at_zero: float) -> float:
    return 0.0 if isinf(x) else at_zero if x == 0 else 1 / x


def _raised(x: float, y: float) -> float:
    """x ** y at the ends, in the limit."""
    if x == 0 or isinf(x):
        return 1.0 if y == 0 else 0.0 if (x == 0) == (y > 0) else inf
    if isinf(y):
        return 1.0 if x == 1 else 0.0 if (x < 1) == (y > 0) else inf
    try:
        return x**y
    except OverflowError:
        return inf
