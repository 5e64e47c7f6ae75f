"""Probabilities of a category as a sum of numbers times vectors, of which an observed category reads one entry each.

    copy[t] * copied[t] + (1 - copy[t]) * softmax(output(h[t])),   copied[t] = sum(a[t, m] * onehot(s[m]) over m)

    part    factors            vector                  summed over
    1       copy[t], a[t, m]   onehot(s[m])            m
    2       1 - copy[t]        softmax(output(h[t]))   -

An entry of a sum is the sum of entries, that of a one-hot vector is a comparison, and that of a softmax is a density; so is the
sum of all entries, by which such probabilities are divided. Let variables and names of `where` are looked through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeGuard

from lvspec.ir.expr import Call, Dist, Expr, Here, Index, LocalRef, Number, VariableRef
from lvspec.ir.spec import Variable

Meaning = Callable[[Expr], Expr]


@dataclass(frozen=True)
class MixturePart:
    """Σ over plates of the product of factors, which are numbers, and a vector. name: of the let variable that it was told by."""

    factors: tuple[Expr, ...]
    vector: Expr
    over: tuple[str, ...] = ()
    negative: bool = False
    name: str = ""


class NoParts(Exception):
    """An expression is no such sum."""


def meaning_of(expr: Expr, lets: Mapping[str, Variable], names: Mapping[str, Expr]) -> Expr:
    """What a let variable at this site, or a name of `where`, stands for; any other expression itself."""
    while True:
        if isinstance(expr, LocalRef) and expr.name in names:
            expr = names[expr.name]
        elif isinstance(expr, VariableRef) and (let := lets.get(expr.name)) is not None:
            if let.initial or let.general.bindings or any(not isinstance(s, Here) for s in expr.at):
                return expr
            expr = let.general.value
        else:
            return expr


def by_logits(dist: Dist, meaning: Meaning) -> Dist:
    """A category's distribution by its logits, where its probabilities are a softmax of these, or rows of one."""
    probs = dist.find("probs")
    if probs is None or dist.family not in ("Categorical", "OneHotCategorical"):
        return dist
    found = _softmax_of_rows(meaning(probs), meaning)
    return replace(dist, arguments=(("logits", found.args[0]),)) if is_softmax(found) else dist


def _softmax_of_rows(expr: Expr, meaning: Meaning) -> Expr:
    """The softmax of a table's rows, of rows of a softmax of the table; any other expression itself."""
    if not isinstance(expr, Index) or len(expr.type.shape) != 1 or not is_softmax(table := meaning(expr.base)):
        return expr
    return replace(table, args=(replace(expr, base=table.args[0]),), type=expr.type)


def is_softmax(expr: Expr) -> TypeGuard[Call]:
    """Whether it is a softmax over a vector's entries."""
    return isinstance(expr, Call) and expr.function == "softmax" and expr.over is None


def parts_of(dist: Dist, meaning: Meaning, taken: frozenset[str]) -> tuple[MixturePart, ...]:
    """The parts of a category's probabilities where these are such a sum; none where they are a single vector.

    taken: the plates of the variable and those that are written out, whose sites no sum may run over."""
    probs = dist.find("probs")
    if probs is None or dist.family != "Categorical" or dist.type.shape:
        return ()
    try:
        found = tuple(_parts(probs, MixturePart((), probs), meaning, taken))
    except NoParts:
        return ()
    return found if any(is_softmax(p.vector) or is_one_hot(p.vector) for p in found) else ()


def is_one_hot(expr: Expr) -> TypeGuard[Call]:
    """Whether it is the one-hot vector of a number that is one."""
    if not isinstance(expr, Call) or expr.function != "onehot":
        return False
    return not (isinstance(expr.args[0], VariableRef) and expr.args[0].beyond)


def _parts(expr: Expr, so_far: MixturePart, meaning: Meaning, taken: frozenset[str]) -> list[MixturePart]:
    if len(expr.type.shape) != 1:
        raise NoParts
    if isinstance(expr, VariableRef):
        so_far = replace(so_far, name=expr.name)
    found = _softmax_of_rows(meaning(expr), meaning)
    if isinstance(found, Call) and found.function in _RULES:
        return _RULES[found.function](found, so_far, meaning, taken)
    own = is_softmax(found) or is_one_hot(found)
    return [replace(so_far, vector=found if own else expr)]


def _sum(expr: Call, so_far: MixturePart, meaning: Meaning, taken: frozenset[str]) -> list[MixturePart]:
    second = replace(so_far, negative=so_far.negative != (expr.function == "subtract"))
    return [*_parts(expr.args[0], so_far, meaning, taken), *_parts(expr.args[1], second, meaning, taken)]


def _negative(expr: Call, so_far: MixturePart, meaning: Meaning, taken: frozenset[str]) -> list[MixturePart]:
    return _parts(expr.args[0], replace(so_far, negative=not so_far.negative), meaning, taken)


def _product(expr: Call, so_far: MixturePart, meaning: Meaning, taken: frozenset[str]) -> list[MixturePart]:
    numbers = [a for a in expr.args if not a.type.shape]
    if len(numbers) != 1:
        raise NoParts
    (vector,) = (a for a in expr.args if a is not numbers[0])
    return _parts(vector, replace(so_far, factors=(*so_far.factors, numbers[0])), meaning, taken)


def _quotient(expr: Call, so_far: MixturePart, meaning: Meaning, taken: frozenset[str]) -> list[MixturePart]:
    vector, number = expr.args
    if number.type.shape:
        raise NoParts
    factor = replace(expr, args=(Number(1), number), type=number.type)
    return _parts(vector, replace(so_far, factors=(*so_far.factors, factor)), meaning, taken)


def _total(expr: Call, so_far: MixturePart, meaning: Meaning, taken: frozenset[str]) -> list[MixturePart]:
    plate = expr.over
    if plate is None or plate in taken or plate in so_far.over:
        raise NoParts
    return _parts(expr.args[0], replace(so_far, over=(*so_far.over, plate)), meaning, taken)


_RULES: dict[str, Callable[[Call, MixturePart, Meaning, frozenset[str]], list[MixturePart]]] = {
    "add": _sum,
    "subtract": _sum,
    "negative": _negative,
    "multiply": _product,
    "divide": _quotient,
    "sum": _total,
}


def log_of(factor: Expr, meaning: Meaning) -> Expr | None:
    """The logarithm of a factor that is the exponential of something, by what it is the exponential of; None for others."""
    found = meaning(factor)
    if isinstance(found, Index) and len(found.indices) == 1 and is_softmax(vector := meaning(found.base)):
        return replace(found, base=replace(vector, function="log_softmax"))
    if not isinstance(found, Call):
        return None
    if found.function == "exp":
        return found.args[0]
    if found.function == "softmax" and found.over is not None:
        return replace(found, function="log_softmax")
    if found.function == "sigmoid":
        return _log_sigmoid(found.args[0], found)
    if found.function == "subtract" and found.args[0] == Number(1) and not found.type.shape:
        other = meaning(found.args[1])
        if isinstance(other, Call) and other.function == "sigmoid":
            return _log_sigmoid(replace(found, function="negative", args=other.args), found)
    return None


def _log_sigmoid(logit: Expr, like: Call) -> Expr:
    """log sigmoid(a) = -softplus(-a)"""
    if isinstance(logit, Call) and logit.function == "negative":
        below = logit.args[0]
    else:
        below = replace(like, function="negative", args=(logit,))
    return replace(like, function="negative", args=(replace(like, function="softplus", args=(below,)),))


def named_by(factor: Expr) -> str:
    """A name for the logarithm of a factor: that of a variable, `not_copy` of `1 - copy`; none of others."""
    if isinstance(factor, VariableRef | LocalRef):
        return factor.name
    if isinstance(factor, Call) and factor.function == "subtract" and factor.args[0] == Number(1):
        return f"not_{name}" if (name := named_by(factor.args[1])) else ""
    return ""
