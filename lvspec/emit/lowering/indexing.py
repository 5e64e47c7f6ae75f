"""The first event axes of a value at integers: new names for them, constants, or gathers."""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.emit.lowering.value import ATOM, PRODUCT, Value, align, event_to_axis, join_draws
from lvspec.ir.dims import Dim
from lvspec.ir.expr import Expr, Index, PlateIndex


@dataclass(frozen=True)
class Places:
    """Which of several integers are read of a value's first event axes, and which are names for these axes."""

    gathered: tuple[int, ...]
    named: tuple[int, ...]


def index_expression(low, expr: Index) -> Value:
    """`base[i, j]`: along a plate that the base does not vary over, its own number is a name for the axis."""
    value = low.lower(expr.base)
    indices = indices_of(low, value, expr)
    return _either(low, value, expr, indices) or entry(low, value, indices)


def _either(low, value: Value, expr: Index, indices: list[Value]) -> Value | None:
    """`e[z, y, d]` where y is 0 or 1, and nothing else is gathered but plates' own numbers: one of two tables at each entry."""
    places = places_of(value, indices)
    told = [n for n in (places.gathered if places else ()) if not isinstance(expr.indices[n], PlateIndex)]
    if len(told) != 1 or places is None or len(places.gathered) < 2 or not indices[told[0]].axes:
        return None
    if expr.indices[told[0]].type.support.cardinality != Dim.of(2):
        return None
    numbers = [
        [
            Value(str(i), integer=True, number=True) if n == told[0] else _named_plate(low, value, x) or indices[n]
            for n, x in enumerate(expr.indices)
        ]
        for i in (0, 1)
    ]
    zero, one = (entry(low, value, [*at]) for at in numbers)
    axes = low.order.union(indices[told[0]], zero, one)
    rank = len(zero.shape)
    choice = align(indices[told[0]], axes, rank)
    code = f"torch.where({choice.code} == 1, {align(one, axes, rank).code}, {align(zero, axes, rank).code})"
    return Value(code, axes, zero.shape, integer=value.integer, draws=join_draws(value, *indices))


def indices_of(low, value: Value, expr: Index) -> list[Value]:
    return [_named_plate(low, value, i) or low.lower(i) for i in expr.indices]


def _named_plate(low, value: Value, index: Expr) -> Value | None:
    """A plate's own number along an axis that the value does not have: an integer that is that axis."""
    if not isinstance(index, PlateIndex) or index.plate in (*low.bound, *value.axes):
        return None
    return Value("", axes=(index.plate,), integer=True, enumerated=index.plate)


def entry(low, value: Value, indices: list[Value]) -> Value:
    """The first event axes at integers."""
    places = places_of(value, indices)
    if places is not None and sum(bool(indices[i].axes) for i in places.gathered) > 1:
        return _at_once(low, value, indices, places)
    for index in indices:
        value = indexed(low, value, index)
    return value


def places_of(value: Value, indices: list[Value]) -> Places | None:
    """Integers over axes that the value does not have: these it can be read at all at once. None where there is none, or others."""
    names = [i.enumerated for i in indices if i.enumerated is not None]
    shared = {a for i in indices if i.enumerated is None for a in i.axes}
    if any(i.relaxed for i in indices) or shared & {*value.axes} or not shared or len({*names}) < len(names):
        return None
    named = [
        n for n, i in enumerate(indices) if i.enumerated is not None and i.enumerated not in (*shared, *value.axes)
    ]
    return Places(tuple(n for n in range(len(indices)) if n not in named), tuple(named))


def turned(value: Value, indices: list[Value], places: Places) -> str:
    """The value with the axes that are gathered in front, and those that get names behind its own."""
    lead, rank = len(value.axes), len(value.shape)
    order = [lead + n for n in places.gathered] + [*range(lead)] + [lead + n for n in places.named]
    order += range(lead + len(indices), lead + rank)
    return value.at(ATOM) + (f".permute({', '.join(map(str, order))})" if order != sorted(order) else "")


def numbers_at(low, indices: list[Value], places: Places) -> tuple[tuple[str, ...], list[Value]]:
    """What is gathered at, over common axes."""
    at = [low.concrete(indices[n]) for n in places.gathered]
    axes = low.order.union(*at)
    return axes, [align(i, axes, 0) for i in at]


def _at_once(low, value: Value, indices: list[Value], places: Places) -> Value:
    """One gather of the entries alone, where two integers are tensors over the same axes.

    probs[z, y, d], z summed, y (B, d), d the plate's number:     probs, z's axis last, at [y, sites of d]     (B, d, z)
    """
    axes, at = numbers_at(low, indices, places)
    code = f"{turned(value, indices, places)}[{', '.join(i.code for i in at)}]"
    names = tuple(a for n in places.named for a in indices[n].axes)
    draws = join_draws(value, *indices)
    return Value(code, (*axes, *value.axes, *names), value.shape[len(indices) :], integer=value.integer, draws=draws)


def indexed(low, value: Value, index: Value) -> Value:
    """The first event axis at an integer: a new name, a constant, or a gather."""
    if index.enumerated is not None and index.enumerated not in value.axes:
        return event_to_axis(value, index.enumerated).with_(draws=join_draws(value, index))
    index = low.concrete(index)
    draws = join_draws(value, index)
    if index.relaxed:
        return mixed(low, value, index)
    if not index.axes:
        slots = [":"] * len(value.axes) + [index.code]
        return value.with_(code=f"{value.at(ATOM)}[{', '.join(slots)}]", shape=value.shape[1:], binds=ATOM)
    if not set(index.axes) & set(value.axes):
        slots = [":"] * len(value.axes) + [index.code]
        axes = (*value.axes, *index.axes)
        return Value(f"{value.at(ATOM)}[{', '.join(slots)}]", axes, value.shape[1:], integer=value.integer, draws=draws)
    axes = low.order.union(value, index)
    base = align(value, axes).code
    code = f"{low.scope.use('pick')}({base}, {align(index, axes, 0).code}, dim={-len(value.shape)})"
    return Value(code, axes, value.shape[1:], integer=value.integer, draws=draws)


def mixed(low, value: Value, weight: Value) -> Value:
    """The rows of the first event axis, weighed by a relaxed index."""
    axes, rest = low.order.union(value, weight), value.shape[1:]
    draws = join_draws(value, weight)
    if not value.axes and len(rest) == 1:
        return Value(f"{weight.at(PRODUCT)} @ {value.at(ATOM)}", axes, rest, PRODUCT, draws=draws)
    arguments = f"{align(value, axes).code}, {align(weight, axes).code}, {len(rest)}"
    return Value(f"{low.scope.use('mixed_rows')}({arguments})", axes, rest, draws=draws)
