"""Networks applied to tensors with named axes.

expert[z](h), z summed      self.expert.each(h)       every expert at once, along the axis of z
expert[z](h), z drawn       self.expert.at(z, h)      the drawn one
writer(words(x[<t]))        self.writer(...)          the stretch t last, as recurrent networks read it
score(concat(h[t], m[s]))   of_parts(self.score, h, m)    the first layer of each part, where parts lie on unlike axes
"""

from __future__ import annotations

from lvspec.emit.lowering.calls import is_unrolled, spread_along, with_examples
from lvspec.emit.lowering.side_by_side import parts_of, side_by_side, vectors_side_by_side
from lvspec.emit.lowering.sizes import begin_embeddings, size_code
from lvspec.emit.lowering.value import ATOM, Value, align, dim, join_draws, permute, select
from lvspec.errors import InternalError
from lvspec.ir.dims import ragged_plate
from lvspec.ir.expr import Apply, Call, Expr, PlateIndex, VariableRef
from lvspec.ir.networks import NETWORKS, input_shapes, output_shape
from lvspec.ir.structured import window_of


def apply_network(low, expr: Apply) -> Value:
    network = low.networks[expr.network]
    if network.kind == "Module":
        return _from_user(low, network, expr)
    if (parted := _of_parts(low, expr, network)) is not None:
        return parted
    value = _one_hots(low, expr, network) or _argument(low, expr.args[0], network)
    if network.kind != "Embedding":
        value = low.real(value)
    reads = NETWORKS[network.kind].reads
    module = low.module(network)
    reach = expr.args[0].type.reach
    if reads == "site":
        if network.bank:
            return _from_bank(low, network, expr, value)
        if network.kind == "Embedding":
            return _embedded(low, network, value)
        head = value.shape[: len(value.shape) - len(input_shapes(network)[0])]
        return value.with_(code=f"{module}({value.code})", shape=(*head, *output_shape(network)), binds=ATOM)
    assert reach is not None  # front/applications.py
    plate = low.windows.axis_along(reach)
    if plate not in value.axes:
        value = spread_along(low, value, plate)
    backwards = reads != "whole" and reach.reach in ("after", "from")
    told = reads == "whole" or backwards
    if told:
        value = _for_every_example(low, value, reach.plate)
    if network.bank:
        return _from_bank(low, network, expr, value, plate, told, backwards)
    value = permute(value, (*(a for a in value.axes if a != plate), plate))
    lengths = f", {low.lengths(plate, value.axes[:-1])}" if told else ""
    code = f"{module}{'.backwards' * backwards}({value.code}{lengths})"
    return value.with_(code=code, shape=output_shape(network), binds=ATOM)


def _of_parts(low, expr: Apply, network) -> Value | None:
    """A network whose first layer is linear, of a `concat` whose parts vary over unlike axes."""
    call = vectors_side_by_side(expr.args[0])
    still = low.frozen or network.option("detached")
    if network.kind not in ("Linear", "MLP") or network.bank or network.option("tied") or still or call is None:
        return None
    values = parts_of(low, call)
    axes, _, aligned = low.broadcast(*values)
    if all(v.axes == axes for v in values):
        value = side_by_side(low, values, call)
        return value.with_(code=f"{low.module(network)}({value.code})", shape=output_shape(network), binds=ATOM)
    operands = ", ".join([low.module(network), *(v.code for v in aligned)])
    return Value(f"{low.scope.use('of_parts')}({operands})", axes, output_shape(network), draws=join_draws(*values))


def _for_every_example(low, value: Value, plate: str) -> Value:
    """The value for every example, where it does not vary over them: their stretches are of different lengths."""
    full = with_examples(low, value, plate)
    if full.axes == value.axes:
        return value
    arguments = f"{full.code}, {low.mask_along(full, plate)}, dim={dim(full, plate)}"
    return full.with_(code=f"{low.scope.use('until_length')}({arguments})", binds=ATOM)


def _from_user(low, network, expr: Apply) -> Value:
    """A user's own class: one leading axis in, whatever the axes here are; its shapes are checked as it runs."""
    reads = str(network.option("reads"))
    reach = next((a.type.reach for a in expr.args if a.type.reach), None) if reads != "site" else None
    time = (low.windows.axis_along(reach),) if reach is not None else ()
    values = [_handed(low, a) for a in expr.args]
    lead = tuple(a for a in low.order.union(*values) if a not in time)
    if reach is not None and reach.reach in ("after", "from"):
        reads = "backwards"
    told = [f'"{reads}"'] if time else []
    told += [low.lengths(reach.plate, lead)] if reach is not None and reads in ("whole", "backwards") else []
    out = tuple(network.option("out"))
    inputs = _tuple([align(v, (*lead, *time)).code for v in values])
    ranks = _tuple([str(len(v.shape) + len(time)) for v in values])
    arguments = [low.module(network), inputs, ranks, _tuple([size_code(d) for d in out]), *told]
    code = f"{low.scope.use('user_network')}({', '.join(arguments)})"
    return Value(code, (*lead, *time), out, draws=join_draws(*values))


def _handed(low, expr: Expr) -> Value:
    """What a user's own network is given: numbers of symbols and states as they are, all else as real numbers. Before the
    first site stands a symbol of its own, after all others."""
    support = expr.type.support
    if support.kind != "integer":
        return low.real(low.lower(expr))
    if not isinstance(expr, VariableRef) or ragged_plate(support.values) is not None:
        return low.concrete(low.lower(expr))
    return low.concrete(low.variable(expr, begin=low.size(support.cardinality)))


def _tuple(codes: list[str]) -> str:
    return f"({', '.join(codes)}{',' if len(codes) == 1 else ''})"


def _argument(low, expr: Expr, network) -> Value:
    if network.kind == "Embedding" and isinstance(expr, VariableRef):
        return low.variable(expr, begin=size_code(network.arguments[0]))
    return low.lower(expr)


def _one_hots(low, expr: Apply, network) -> Value | None:
    """`onehot(z)` and `flatten(onehot(z[m]) over m)` for a network whose first layer is linear: the places of the ones."""
    found = expr.args[0]
    flat = found if isinstance(found, Call) and found.function == "flatten" and found.over else None
    plate, inner = (flat.over, flat.args[0]) if flat else (None, found)
    if (
        network.kind not in ("Linear", "MLP")
        or network.bank
        or not isinstance(inner, Call)
        or inner.function != "onehot"
    ):
        return None
    value = low.lower(inner.args[0]) if isinstance(inner.args[0], VariableRef) and not inner.args[0].beyond else None
    if value is None or value.relaxed or value.enumerated is not None or value.shape or not value.integer:
        return None
    if plate and (plate not in value.axes or is_unrolled(low, plate)):
        return None
    if plate:
        index = permute(value, (*(a for a in value.axes if a != plate), plate))
        index = index.with_(axes=index.axes[:-1])
    else:
        index = value.with_(code=f"{value.at(ATOM)}.unsqueeze(-1)")
    size = low.size(inner.type.shape[-1])
    code = f"{low.scope.use('one_hots')}({index.code}, {size}, self.zero)"
    return index.with_(code=code, shape=found.type.shape, integer=False, binds=ATOM)


def _embedded(low, network, value: Value) -> Value:
    shape = (*value.shape, network.arguments[1])
    if value.enumerated is None:
        return value.with_(code=f"{low.module(network)}({value.code})", shape=shape, integer=False, binds=ATOM)
    table = f"self.{network.name}.weight" + (".detach()" if low.frozen else "")
    if network.name in begin_embeddings(low.plan):
        table += f"[: {size_code(network.arguments[0])}]"
    return value.with_(code=table, shape=shape, integer=False, enumerated=None)


def _from_bank(
    low, network, expr: Apply, value: Value, plate: str | None = None, told: bool = False, backwards: bool = False
) -> Value:
    """One of K alike networks: all of them where the index is summed, the drawn one where it is sampled. plate: along which they
    read; told, how far; backwards, from each stretch's end."""
    if len(expr.bank) != 1:
        raise InternalError("banks with several indices are declined by the planner")
    index = expr.bank[0]
    chosen, value = low.lower(index), low.concrete(value)
    time = (plate,) if plate is not None else ()
    lead = tuple(a for a in value.axes if a not in time)
    head = len(value.shape) - (network.kind != "Embedding")  # axes of the value before those that a network takes
    module, shape = low.module(network), (*value.shape[:head], *output_shape(network))
    axis = chosen.enumerated or (chosen.axes[0] if isinstance(index, PlateIndex) and chosen.axes else None)
    draws = join_draws(value, chosen)

    def called(method: str, arguments: str, axes: tuple[str, ...]) -> str:
        lengths = f", {low.lengths(plate, axes)}" if told else ""
        return f"{module}.{method}({arguments}{lengths}{', backwards=True' * backwards})"

    if axis is not None and axis in value.axes:
        rest = tuple(a for a in lead if a != axis)
        value = permute(value, (*rest, axis, *time))
        inner = _moved(value.at(ATOM), len(rest), len(rest) + head) if head else value.code
        return Value(_before(called("paired", inner, rest), head), value.axes, shape, draws=draws)
    if axis is not None:
        value = permute(value, (*lead, *time))
        return Value(_before(called("each", value.code, lead), head), (*lead, axis, *time), shape, draws=draws)
    chosen = low.concrete(chosen)
    own = plate in chosen.axes  # each site names a network
    if own and plate and window_of(plate) is not None:  # all sites of a segment have its state
        chosen, own = select(chosen, plate, "0"), False
    lead = tuple(a for a in low.order.union(Value("", axes=lead), chosen) if a not in time)
    picked = f"torch.full((), {chosen.code}, device=self.zero.device)"
    if chosen.axes:
        picked = align(chosen, (*lead, *time) if own else lead, head).code
    aligned = align(value, (*lead, *time))
    code = called("at_sites" if own else "at", f"{picked}, {aligned.code}", lead)
    return Value(code, (*lead, *time), shape, draws=draws)


def _before(code: str, head: int) -> str:
    """The axis of a bank's networks, which comes out next to the last, ahead of the `head` axes before it."""
    return _moved(code, -2, -2 - head) if head else code


def _moved(code: str, source: int, target: int) -> str:
    return f"{code}.movedim({source}, {target})"
