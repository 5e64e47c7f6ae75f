"""The functions of ir/functions.py over tensors with named axes: one small rule each.

A rule takes the lowering and the call, and gives the value. Reductions run over the last event axis, over the
plate named after `over`, or over the stretch that the argument is.
"""

from __future__ import annotations

from lvspec.emit.lowering.contractions import contraction
from lvspec.emit.lowering.side_by_side import parts_of, side_by_side
from lvspec.emit.lowering.value import (
    ATOM,
    PRODUCT,
    SUM,
    UNARY,
    Value,
    align,
    as_tensor,
    axis_to_event,
    dim,
    event_to_axis,
    join_draws,
    product,
    select,
    spelled,
)
from lvspec.ir.dims import Dim
from lvspec.ir.expr import Call, Expr, Number, SizeRef, VariableRef

_INFIX = {"add": ("+", SUM, SUM, PRODUCT), "subtract": ("-", SUM, SUM, PRODUCT), "multiply": ("*", PRODUCT, PRODUCT, UNARY), "divide": ("/", PRODUCT, PRODUCT, UNARY), "power": ("**", UNARY, ATOM, ATOM)}  # fmt: skip
_COMPARE = {"equal": "==", "less": "<"}
_METHODS = {name: f".{name}()" for name in ("exp", "log", "sqrt", "square", "abs", "sigmoid", "tanh", "relu", "detach")}
_REDUCE = {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin", "prod": "prod", "logsumexp": "logsumexp"}
_MASKED = {
    name: f"masked_{name}" for name in ("sum", "mean", "max", "min", "prod", "logsumexp", "softmax", "log_softmax")
}


def _event_shape(values: list[Value]) -> tuple[Dim, ...]:
    return max((v.shape for v in values), key=len)


def infix(lowering, call: Call) -> Value:
    symbol, binds, left, right = _INFIX[call.function]
    values = lowering.edges.arguments(call)
    integer = all(v.integer for v in values) and _stays_integer(call)
    if not integer and all(v.integer or v.number for v in values):  # two tensors: torch finds the type of both
        values = [lowering.real(v) for v in values]
    axes, _, (a, b) = lowering.broadcast(*values)
    code = f"{a.at(left)} {symbol} {b.at(right)}"
    number = all(v.number for v in values)
    return Value(code, axes, _event_shape(values), binds, integer, join_draws(*values), number=number)


def _stays_integer(call: Call) -> bool:
    """Whether an operator makes an integer of integers."""
    if call.function == "power":
        return isinstance(call.args[1], Number) and call.args[1].value >= 0
    return call.function != "divide"


def negative(lowering, call: Call) -> Value:
    value = lowering.concrete(lowering.lower(call.args[0]))
    return value.with_(code=f"-{value.at(UNARY)}", binds=UNARY)


def method(lowering, call: Call) -> Value:
    value = as_tensor(lowering.real(lowering.concrete(lowering.edges.arguments(call)[0])))
    return value.with_(code=value.at(ATOM) + _METHODS[call.function], binds=ATOM)


def softplus(lowering, call: Call) -> Value:
    value = as_tensor(lowering.real(lowering.concrete(lowering.lower(call.args[0]))))
    return value.with_(code=f"{lowering.scope.use('softplus')}({value.code})", binds=ATOM)


def _unrolled(lowering, call: Call) -> list[Value]:
    """The argument at each site of an unrolled plate."""
    return lowering.written_out.at_each_site(call.over, lambda: lowering.lower(call.args[0]))


def is_unrolled(lowering, plate: str | None) -> bool:
    return plate is not None and plate in lowering.unrolled


def _along(lowering, call: Call) -> tuple[Value, str | None]:
    """The argument, and the plate that a reduction runs over (None: the last event axis)."""
    reach = call.args[0].type.reach
    plate = call.over or (reach.plate if reach else None)
    if plate and is_unrolled(lowering, call.over):
        values = [lowering.real(lowering.concrete(v)) for v in _unrolled(lowering, call)]
        return event_to_axis(lowering.written_out.side_by_side(values, lowering.extent(plate)), plate), plate
    value = lowering.real(lowering.concrete(lowering.lower(call.args[0])))
    if plate is not None and plate not in value.axes:
        value = spread_along(lowering, value, plate)
    return with_examples(lowering, value, plate), plate


def with_examples(lowering, value: Value, plate: str | None) -> Value:
    """The value with the axes over which a ragged plate's sites are counted, of size one where it does not vary."""
    if plate is None or not lowering.spec.plate(plate).ragged:
        return value
    axes = lowering.order.sort({*value.axes, *lowering.plate_axes(plate)})
    return value if set(axes) == set(value.axes) else value.with_(code=spelled(value, axes), axes=axes, binds=ATOM)


def spread_along(lowering, value: Value, plate: str) -> Value:
    """A value that does not vary over the plate, repeated along it."""
    axes = lowering.order.sort((*value.axes, plate))
    ones = Value(f"torch.ones_like({lowering._PlateIndex(_Site(plate)).code})", (plate,))
    _, _, (a, b) = lowering.broadcast(value, ones)
    return value.with_(code=f"{a.at(PRODUCT)} * {b.code}", axes=axes, binds=PRODUCT, number=False)


class _Site:
    def __init__(self, plate: str):
        self.plate = plate


def reduce(lowering, call: Call) -> Value:
    if is_unrolled(lowering, call.over) and call.function in ("sum", "prod", "mean"):
        values = _unrolled(lowering, call)
        axes, _, aligned = lowering.broadcast(*values)
        symbol, binds = ("*", PRODUCT) if call.function == "prod" else ("+", SUM)
        code = f" {symbol} ".join(v.at(PRODUCT if symbol == "+" else UNARY) for v in aligned)
        integer = all(v.integer for v in values)
        value = Value(code, axes, _event_shape(values), binds, integer, join_draws(*values))
        if call.function == "mean":
            value = lowering.real(value)
            return value.with_(code=f"{value.at(PRODUCT)} / {len(values)}", binds=PRODUCT)
        return value
    if call.function == "sum" and (found := contraction(lowering, call)) is not None:
        return found
    value, plate = _along(lowering, call)
    if plate is None:
        return value.with_(code=f"{value.at(ATOM)}.{_REDUCE[call.function]}(-1)", shape=value.shape[:-1], binds=ATOM)
    return reduced(lowering, value, plate, call.function)


def reduced(lowering, value: Value, plate: str, function: str) -> Value:
    """A value that varies over a plate, reduced along it."""
    at = dim(value, plate)
    rest = value.axes[:at] + value.axes[at + 1 :]
    if lowering.spec.plate(plate).ragged:
        masked = lowering.scope.use(_MASKED[function])
        code = f"{masked}({value.code}, {lowering.mask_along(value, plate)}, {at})"
    else:
        code = f"{value.at(ATOM)}.{_REDUCE[function]}({at})"
    return value.with_(code=code, axes=rest, binds=ATOM, integer=False)


def normalise(lowering, call: Call) -> Value:
    plate = call.over
    if plate is None:  # a vector at each site, also where all of a sequence is named
        value = lowering.real(lowering.concrete(lowering.lower(call.args[0])))
        return value.with_(code=f"{value.at(ATOM)}.{call.function}(-1)", binds=ATOM)
    value, _ = _along(lowering, call)
    at = dim(value, plate)
    if lowering.spec.plate(plate).ragged:
        function = lowering.scope.use(_MASKED[call.function])
        return value.with_(code=f"{function}({value.code}, {lowering.mask_along(value, plate)}, {at})", binds=ATOM)
    value = value.with_(code=f"{value.at(ATOM)}.{call.function}({at})", binds=ATOM)
    return select(value, plate, str(lowering.bound[plate])) if plate in lowering.bound else value


def stack(lowering, call: Call) -> Value:
    size = lowering.extent(call.over)
    if isinstance(call.args[0], Number):  # the same at every site
        code = f"{lowering.scope.use('spread')}({call.args[0].value!r}, ({lowering.size(size)},), self.zero)"
        return Value(code, shape=(size,))
    if is_unrolled(lowering, call.over):
        return lowering.written_out.side_by_side(_unrolled(lowering, call), size)
    assert call.over is not None
    value, _ = _along(lowering, call)
    return axis_to_event(value, call.over, size)


def flatten(lowering, call: Call) -> Value:
    if is_unrolled(lowering, call.over):
        values = [flat(lowering.concrete(v)) for v in _unrolled(lowering, call)]
        axes, _, aligned = lowering.broadcast(*values)
        code, integer = (
            f"{lowering.scope.use('concat')}({', '.join(v.code for v in aligned)})",
            all(v.integer for v in values),
        )
        return Value(code, axes, (call.type.shape[-1],), integer=integer, draws=join_draws(*values))
    value = stack(lowering, call) if call.over else lowering.concrete(lowering.lower(call.args[0]))
    return flat(value).with_(shape=call.type.shape)


def flat(value: Value) -> Value:
    if len(value.shape) == 1:
        return value
    if not value.shape:
        value = as_tensor(value)
        return value.with_(code=f"{value.at(ATOM)}.unsqueeze(-1)", shape=(Dim.of(1),), binds=ATOM)
    total = Dim.of(1)
    for size in value.shape:
        total = total * size
    return value.with_(code=f"{value.at(ATOM)}.flatten(-{len(value.shape)})", shape=(total,), binds=ATOM)


def concat(lowering, call: Call) -> Value:
    return side_by_side(lowering, parts_of(lowering, call), call)


def split(lowering, call: Call) -> Value:
    """Its argument: the names that `where` gives to the parts are bound by the lowering."""
    return lowering.lower(call.args[0])


def reshape(lowering, call: Call) -> Value:
    value = lowering.lower(call.args[0])
    sizes = ", ".join(lowering.size(d) for d in call.type.shape[len(value.shape) - 1 :])
    code = f"{value.at(ATOM)}.unflatten(-1, ({sizes}{',' if ', ' not in sizes else ''}))"
    return value.with_(code=code, shape=call.type.shape, binds=ATOM)


def dot(lowering, call: Call) -> Value:
    values = [lowering.concrete(lowering.lower(a)) for a in call.args]
    apart = all(set(v.axes) - set(w.axes) for v, w in (values, values[::-1]))
    if apart or all(v.integer for v in values):  # what is multiplied and added up in one go is of one type
        values = [lowering.real(v) for v in values]
    axes, rank, (a, b) = lowering.broadcast(*values)
    draws = join_draws(*values)
    if apart and rank == 1:  # no tensor of all pairs of entries
        values = [lowering.real(v) for v in values]
        for first, second in (values, values[::-1]):
            if (*first.axes, second.axes[-1]) == axes and first.axes[:-1] == second.axes[:-1]:
                return product(first, second, axes)
        letter = dict(zip(axes, "abcefghijklmnopqrstuvwxyz", strict=False))
        left, right, out = ("".join(letter[x] for x in v) for v in (values[0].axes, values[1].axes, axes))
        code = f'torch.einsum("{left}d,{right}d->{out}", {values[0].code}, {values[1].code})'
        return Value(code, axes, draws=draws)
    code, integer = f"({a.at(PRODUCT)} * {b.at(UNARY)}).sum(-1)", all(v.integer for v in values)
    return Value(code, axes, _event_shape(values)[:-1], integer=integer, draws=draws)


def matmul(lowering, call: Call) -> Value:
    matrix, vector = (lowering.real(lowering.lower(a)) for a in call.args)
    draws = join_draws(matrix, vector)
    if not matrix.axes and len(matrix.shape) == 2:
        return Value(
            f"{vector.at(PRODUCT)} @ {matrix.at(ATOM)}.mT", vector.axes, matrix.shape[:1], PRODUCT, draws=draws
        )
    axes = lowering.order.union(matrix, vector)
    column = vector.with_(code=f"{vector.at(ATOM)}.unsqueeze(-1)", shape=(*vector.shape, Dim.of(1)))
    column = align(column, axes, len(matrix.shape))
    code = f"({align(matrix, axes).at(PRODUCT)} @ {column.at(UNARY)}).squeeze(-1)"
    return Value(code, axes, matrix.shape[:-1], draws=draws)


def number_of(lowering, expr: Expr, size: str) -> Value:
    """An integer below `size`; the begin symbol is `size` itself, whose one-hot vector is zeros."""
    return lowering.variable(expr, begin=size) if isinstance(expr, VariableRef) else lowering.lower(expr)


def onehot(lowering, call: Call) -> Value:
    size = lowering.size(call.type.shape[-1])
    value = number_of(lowering, call.args[0], size)
    if value.relaxed:
        return value.with_(relaxed=False)
    if value.enumerated is not None:
        code = f"torch.eye({size}, dtype=self.zero.dtype, device=self.zero.device)"
        return value.with_(code=code, shape=call.type.shape, integer=False, enumerated=None, binds=ATOM)
    code = f"{lowering.scope.use('one_hot')}({value.code}, {size}, self.zero)"
    return value.with_(code=code, shape=call.type.shape, integer=False, binds=ATOM, number=False)


def ordered(lowering, call: Call) -> Value:
    value = lowering.real(lowering.concrete(lowering.lower(call.args[0])))
    return value.with_(code=f"{lowering.scope.use('ordered')}({value.code})", binds=ATOM)


def ordered_logits(lowering, call: Call) -> Value:
    eta, cutpoints = (as_tensor(lowering.real(lowering.concrete(lowering.lower(a)))) for a in call.args)
    eta = eta.with_(code=f"{eta.at(ATOM)}.unsqueeze(-1)", shape=(*eta.shape, Dim.of(1)), binds=ATOM)
    axes, _, (a, b) = lowering.broadcast(eta, cutpoints)
    code = f"{lowering.scope.use('ordered_logits')}({a.code}, {b.code})"
    return Value(code, axes, call.type.shape, draws=join_draws(eta, cutpoints))


def clip(lowering, call: Call) -> Value:
    value = lowering.concrete(lowering.lower(call.args[0]))
    size = call.args[1]
    assert isinstance(size, SizeRef)  # `clip(i, K)`
    last = lowering.size(size.dim + -1)
    if not value.axes:
        return value.with_(code=f"min(max({value.code}, 0), {last})", binds=ATOM)
    return value.with_(code=f"{value.at(ATOM)}.clamp(0, {last})", binds=ATOM)


def compare(lowering, call: Call, real: bool = False) -> Value:
    """1 or 0 at each entry: an integer, or a number of the module's dtype."""
    values = [lowering.lower(a) for a in call.args]
    axes, _, (a, b) = lowering.broadcast(*values)
    code = f"{a.at(SUM)} {_COMPARE[call.function]} {b.at(SUM)}"
    if not axes:
        return Value(f"int({code})", integer=True, number=True)
    code = f"({code}).{'to(self.zero.dtype)' if real else 'int()'}"
    return Value(code, axes, integer=not real, draws=join_draws(*values))


def stretch_of(call: Call) -> str:
    """The plate of the stretch that a function reads."""
    reach = call.args[0].type.reach
    assert reach is not None  # front/shapes.py
    return reach.plate


def endpoint(lowering, call: Call) -> Value:
    plate = stretch_of(call)
    value = with_examples(lowering, lowering.concrete(lowering.lower(call.args[0])), plate)
    at = dim(value, plate)
    lengths = lowering.lengths(plate, value.axes[:at])
    code = f"{lowering.scope.use(call.function)}({value.code}, {lengths}, dim={at})"
    return value.with_(code=code, axes=value.axes[:at] + value.axes[at + 1 :], binds=ATOM)


def length(lowering, call: Call) -> Value:
    plate = stretch_of(call)
    within = lowering.spec.plate(plate).within
    return Value(f'batch["{plate}"]', ("B", within) if within else ("B",), integer=True)


CALLS = {
    **dict.fromkeys(_INFIX, infix),
    **dict.fromkeys(_METHODS, method),
    **dict.fromkeys(_REDUCE, reduce),
    **dict.fromkeys(("softmax", "log_softmax"), normalise),
    **dict.fromkeys(("last", "first"), endpoint),
    "negative": negative,
    "softplus": softplus,
    "concat": concat,
    "split": split,
    "reshape": reshape,
    "flatten": flatten,
    "stack": stack,
    "dot": dot,
    "matmul": matmul,
    "onehot": onehot,
    "clip": clip,
    "ordered": ordered,
    "ordered_logits": ordered_logits,
    **dict.fromkeys(_COMPARE, compare),
    "length": length,
}
