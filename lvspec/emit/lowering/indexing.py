"""The first event axis of a value at an integer: a new name for it, a constant, or a gather."""

from __future__ import annotations

from lvspec.emit.lowering.value import ATOM, PRODUCT, Value, align, event_to_axis, join_draws
from lvspec.ir.expr import Index, PlateIndex


def index_expression(low, expr: Index) -> Value:
    """`base[i, j]`, axis by axis; along a plate that the base does not vary over, its own number is a name for the axis."""
    value = low.lower(expr.base)
    for index in expr.indices:
        if isinstance(index, PlateIndex) and index.plate not in (*low.bound, *value.axes):
            value = event_to_axis(value, index.plate)
        else:
            value = indexed(low, value, low.lower(index))
    return value


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
