"""Which set a value lies in: positive + positive is positive, 1 - unit is unit, and what to write where it does not fit."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from math import inf, isnan

from lvspec.front import ranges
from lvspec.front.context import unknown
from lvspec.ir import types as T
from lvspec.ir.dims import Dim
from lvspec.ir.distributions import Family
from lvspec.ir.expr import Apply, Call, Expr, Index, LocalRef, Number, ParamRef, SizeRef, walk
from lvspec.ir.spec import Param
from lvspec.ir.types import Range, Support, Type, within

INTEGER = Support("integer")  # an integer of which no bound is known, e.g. `m - a[t-1]`

A_SIZE = replace(T.POSITIVE, known=Range(1))
_FILLED = {
    "zeros": 0,
    "ones": 1,
    "constant": 0,
}  # rules that give one number to all entries, and which without an argument
_REALS = ("real", "positive", "nonnegative", "unit")
_COUNTED = ("integer", "count", "boolean")


def of_number(value: float | int) -> Support:
    kind = T.POSITIVE if value > 0 else T.NONNEGATIVE if value == 0 else T.REAL
    return replace(kind, known=Range(value, value))


def of_range(values: Range) -> Support:
    """The support of real numbers that lie there."""
    if isnan(values.low) or isnan(values.high):  # of numbers too large for Python
        return T.REAL
    for kind in (T.UNIT, T.POSITIVE, T.NONNEGATIVE):
        if values.within(kind.range):
            return replace(kind, known=values)
    return replace(T.REAL, known=values)


def of_param(param: Param) -> Support:
    """Of a frozen parameter its rule tells more than that it is real."""
    kind, numbers = param.init or ("", ())
    if not param.frozen or param.per_example:
        return T.REAL
    if kind == "eye" and numbers[0] > 0 and param.shape[0] == param.shape[1]:
        return T.COVARIANCE
    if kind in _FILLED:
        return of_number(_FILLED[kind] if not numbers else numbers[0])
    return of_range(Range(min(numbers), max(numbers))) if kind == "uniform" else T.REAL


def integral(value: Expr) -> bool:
    """Whether a value is a whole number."""
    if isinstance(value, Number):
        return isinstance(value.value, int)
    return isinstance(value, SizeRef) or value.type.support.kind in _COUNTED


def show(kind: Type) -> str:
    """`real[D]`, `integer below K`: support and event shape."""
    s = kind.support
    text = "integer" if s.kind == "integer" and s.size is None else str(s)
    return text + (f"[{', '.join(map(str, kind.shape))}]" if kind.shape else "")


_WORDS = {
    "unit": "between 0 and 1", "covariance": "a positive definite matrix", "simplex": "a distribution (entries that sum to 1)", "onehot": "a one-hot vector", "boolean": "0 or 1", "sphere": "a vector of length 1", "increasing": "a vector whose entries increase", "real": "any real number",
    "count": "a count (0, 1, 2, ...)", "nonnegative": "0 or more", "integer": "the number of a category", "structure": "a structure",
}  # fmt: skip


def in_words(support: Support) -> str:
    return _WORDS.get(support.kind, support.kind)


def fits(value: Expr, wanted: Support) -> bool:
    """Whether every value of an expression may stand where `wanted` is asked for."""
    if unknown(value):
        return True
    found = value.type.support
    if wanted.kind in ("positive", "nonnegative", "unit"):
        return found.range.within(wanted.range)
    if wanted.kind in _COUNTED and isinstance(value, (Number, SizeRef)):
        return integral(value) and found.range.within(wanted.range)
    return found == INTEGER and wanted.kind == "count" or within(found, wanted)


def empty(low: Expr, high: Expr) -> bool:
    """Whether nothing lies between two values, whatever they are."""
    if unknown(low) or unknown(high):
        return False
    return low.type.support.range.low >= high.type.support.range.high


def covers(latent: Support, guide: Support) -> bool:
    """Whether all values that a guide draws are some that the latent has."""
    if latent.kind in _REALS and guide.kind in _REALS:
        bounded = latent.known is not None  # by the arguments of its distribution
        return (bounded or latent.kind == guide.kind) and guide.range.within(latent.range)
    return latent == guide or latent.kind == guide.kind == "count" and latent.size is None


# where a wrap says what a free value stands for: what is computed otherwise would be another model
_FREE = (ParamRef, Apply, LocalRef, Index)
_WRAPS = {
    "positive": "softplus",
    "nonnegative": "softplus",
    "unit": "sigmoid",
    "simplex": "softmax",
    "increasing": "ordered",
}


def mend(wanted: Support, value: Expr, name: str, text: str, axes: str = "scalar") -> str:
    """A proposed mend for the value of the argument `name` with the wrong support."""
    if wanted.kind == "covariance":
        return f"give `scale_tril={text}` instead, of which the lower triangle is read" if _is_free(value) else ""
    wrap = "softmax" if axes == "vector" and wanted.kind in ("nonnegative", "unit") else _WRAPS.get(wanted.kind)
    if wrap is None or isinstance(value, Number):
        return ""
    if not _is_free(value):
        return f"build it of parts whose range is known, such as `{wrap}(...)`"
    return f"wrap it, e.g. `{name}={wrap}({text})`" + (", or give `logits=` instead" if name == "probs" else "")


def _is_free(value: Expr) -> bool:
    """Whether nothing is computed of it yet: a parameter, what a network gives, a part of these."""
    return isinstance(value.base if isinstance(value, Index) else value, _FREE) and value.type.support == T.REAL


def arithmetic(function: str, args: tuple[Expr, ...]) -> Support:
    """The support of `a + b`, `a * b`, ..."""
    first, second = (a.type.support for a in args)
    if function == "subtract" and isinstance(args[0], Number) and args[0].value == 1 and second.kind == "boolean":
        return T.BOOLEAN
    values = _ARITHMETIC[function](first.range, second.range)
    if function == "power":
        even = isinstance(args[1], Number) and args[1].value % 2 == 0
        values = ranges.power(first.range, second.range, even)
    if (
        function in ("add", "subtract", "multiply")
        and all(map(integral, args))
        and any(s.kind in _COUNTED for s in (first, second))
    ):
        counted = function != "subtract" and "integer" not in (first.kind, second.kind) and values.low >= 0
        return replace(T.COUNT if counted else INTEGER, known=values)
    return of_range((_average(*args) if function == "add" else None) or values)


def _average(first: Expr, second: Expr) -> Range | None:
    """Where `w * a + (1 - w) * b` lies, 0 <= w <= 1: between a and b. None of other sums."""
    for left, right in ((first, second), (second, first)):
        for i, weight in enumerate(parts := _factors(left)):
            for j, other in enumerate(rest := _factors(right)):
                if _one_less(other, weight) and weight.type.support.range.within(ranges.UNIT):
                    values = [
                        reduce(ranges.multiply, [f.type.support.range for k, f in enumerate(p) if k != at], Range(1, 1))
                        for p, at in ((parts, i), (rest, j))
                    ]
                    return ranges.hull(*values)
    return None


def _factors(value: Expr) -> tuple[Expr, ...]:
    if isinstance(value, Call) and value.function == "multiply":
        return tuple(f for a in value.args for f in _factors(a))
    return (value,)


def _one_less(value: Expr, weight: Expr) -> bool:
    """Whether it is `1 - weight`; a network may be noisy, and give another value each time."""
    if not isinstance(value, Call) or value.function != "subtract" or value.args[1] != weight:
        return False
    one, _ = value.args
    return isinstance(one, Number) and one.value == 1 and not any(isinstance(n, Apply) for n in walk(weight))


_ARITHMETIC = {
    "add": ranges.add, "subtract": ranges.subtract, "multiply": ranges.multiply, "divide": ranges.divide, "power": ranges.power,
}  # fmt: skip


def elementwise(function: str, value: Expr) -> Support:
    """The support of `exp(a)`, `sqrt(a)`, ..."""
    if function == "detach":
        return value.type.support
    return of_range(ranges.ELEMENTWISE[function](value.type.support.range))


def reduced(function: str, support: Support) -> Support:
    """The support of a sum, mean, max, ... of values of one support."""
    values = support.range
    if function == "sum":
        return T.COUNT if support.kind in ("count", "boolean") else of_range(ranges.total(values))
    if function == "prod":
        return support if support.kind in ("count", "boolean") else of_range(ranges.product(values))
    if function in ("mean", "max", "min"):
        kept = function != "mean" and support.discrete and support.kind != "boolean"
        return support if kept else of_range(values)
    return T.REAL


def inner_product(a: Support, b: Support) -> Support:
    """The support of Σ a b: where one of them is a distribution, an average of the other."""
    for weights, values in ((a, b), (b, a)):
        if within(weights, T.SIMPLEX):
            return of_range(values.range)
    return of_range(ranges.total(ranges.multiply(a.range, b.range)))


def of_variate(family: Family, arguments: dict[str, Expr]) -> Support:
    """The support of a distribution's values, where its arguments bound them: Binomial(6, ...) has 7 values."""
    lower, upper = (arguments.get(name) for name in family.between)
    if family.variate.kind == "count" and upper is not None:
        return replace(family.variate, size=_one_more(upper))
    if lower is None or upper is None:
        return family.variate
    a, b = lower.type.support.range, upper.type.support.range
    return of_range(Range(a.low, b.high, (a.open[0], b.open[1])))


def _one_more(count: Expr) -> Dim | None:
    """How many values 0 .. count has at most, or None where nothing bounds it."""
    if isinstance(count, SizeRef):
        return count.dim + 1
    if count.type.support.cardinality is not None:
        return count.type.support.cardinality
    most = count.type.support.range.high
    return Dim.of(int(most) + 1) if most < inf else None


def of_clauses(role: str, supports: tuple[Support, ...]) -> Support:
    """The support of a variable whose clauses have these: of a computed one what holds all of them, of counts the widest."""
    first = supports[0]
    computed = role in ("let", "term") or all(s.known is not None for s in supports)
    if computed and all(s.kind in _REALS for s in supports):
        return common(supports)
    if all(s.kind == "count" for s in supports) and any(s.size != first.size for s in supports):
        sizes = [c for s in supports if s.size is not None and (c := s.size.constant) is not None]
        return T.COUNT if len(sizes) < len(supports) else replace(T.COUNT, size=Dim.of(max(sizes)))
    return first


def widened(found: Support, values: Range) -> Support:
    """A support with these values among its own."""
    wide = ranges.hull(found.range, values)
    return of_range(wide) if found.kind in _REALS else replace(found, known=wide)


def among_clauses(clause: Support, variable: Support) -> bool:
    """Whether a clause's values are among those of its variable."""
    if clause.kind == variable.kind == "count" or clause.kind in _REALS and variable.kind in _REALS:
        return clause.range.within(variable.range)
    return clause == variable


def entry(support: Support) -> Support:
    """Of one entry of a vector: an entry of a distribution over categories is a probability."""
    return {
        "simplex": T.UNIT,
        "onehot": T.UNIT,
        "sphere": of_range(T.SPHERE.range),
        "covariance": T.REAL,
        "increasing": T.REAL,
    }.get(support.kind, support)


def common(supports: tuple[Support, ...]) -> Support:
    """The smallest support that holds all of these."""
    values = ranges.hull(*(s.range for s in supports))
    if all(s == supports[0] for s in supports):
        return replace(entry(supports[0]), known=values)
    if all(s.kind in ("count", "boolean") for s in supports):
        return replace(T.COUNT, known=values)
    return of_range(values)
