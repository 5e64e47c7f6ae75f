"""How long axes are, as Python, and arguments of a draw repeated over the axes that none of them varies over."""

from __future__ import annotations

from itertools import takewhile

from lvspec.emit.lowering.distribution import distribution
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.value import ATOM, Value, align, as_tensor
from lvspec.ir.axes import latent_of
from lvspec.ir.chosen import Chosen
from lvspec.ir.dims import Dim, Shape
from lvspec.ir.distributions import FAMILIES, argument_rank, event_axes
from lvspec.ir.expr import Dist


def full_arguments(
    program: Program, arguments: list[Value], axes: tuple[str, ...], event: Shape, *ranks: int
) -> list[Value]:
    """Arguments aligned to all axes of the draw but S; the first is repeated where none varies over an axis.

    event: the first event axes, which all arguments share. ranks: event axes of each argument, or one number for all (one
    more than one draw has for a categorical's logits).
    """
    low, scope = program.low, program.scope
    inner = tuple(a for a in axes if a != "S" or any("S" in v.axes for v in arguments))
    missing = [a for a in inner if not any(a in v.axes for v in arguments)]
    ranks = ranks if len(ranks) == len(arguments) else ranks * len(arguments)
    pairs = list(zip(arguments, ranks, strict=True))
    aligned = [align(v, inner, rank if v.axes or v.shape else len(v.shape)) for v, rank in pairs]
    narrow = all(len(v.shape) < rank for v, rank in pairs)
    if missing or narrow:
        extents = [extent_code(program, a) if a in missing else "1" for a in inner]
        sizes = [low.size(d) for d in event] if narrow else []
        extents += [*sizes, *["1"] * (ranks[0] - len(sizes))]
        if any(e != "1" for e in extents):
            shape = f"({', '.join(extents)}{',' if len(extents) == 1 else ''})"
            code = f"{scope.use('spread')}({aligned[0].code}, {shape}, self.zero)"
            aligned[0] = aligned[0].with_(code=code, binds=ATOM, axes=inner, number=False)
    return [as_tensor(a) for a in aligned]


def sampled(program: Program, dist: Dist, arguments: list[Value], axes: tuple[str, ...], event: Shape) -> str:
    """`Categorical(self.start).sample((n,))`: a draw of shape `event` along all axes."""
    code, lead = distribution_along(program, dist, arguments, axes, event)
    return f"{code}.sample({lead})"


def distribution_along(
    program: Program, dist: Dist, arguments: list[Value], axes: tuple[str, ...], event: Shape
) -> tuple[str, str]:
    """The distribution of a draw of shape `event` along all axes, and what its `sample` is asked for: axes in front over which no
    argument varies, and sizes of the event where no argument has an axis at all; others are spread."""
    low, ranks, copies = program.low, argument_ranks(dist, event), copies_of(dist, event)
    front = tuple(takewhile(lambda a: not any(a in v.axes for v in arguments), axes))
    rest = axes[len(front) :]
    lead = [extent_code(program, a) for a in front]
    if not rest:
        each = ranks if len(ranks) == len(arguments) else ranks * len(arguments)
        absent = min((rank - len(v.shape) for v, rank in zip(arguments, each, strict=True)), default=0)
        lead += [low.size(d) for d in copies[:absent]]
        full = [as_tensor(v) for v in arguments]
    else:
        full = full_arguments(program, arguments, rest, copies, *ranks)
    if dist.family == "Normal" and arguments[1].number and not full[0].integer:  # a scale may be a plain number
        full[1] = arguments[1]
    shape = f"({', '.join(lead)}{',' if len(lead) == 1 else ''})" if lead else ""
    return distribution(program.scope, dist.family, (a.code for a in full)), shape


def copies_of(dist: Dist, event: Shape) -> Shape:
    """The sizes of the independent copies in a draw of shape `event`."""
    return event[: len(event) - event_axes(dist.family)]


def argument_ranks(dist: Dist, event: Shape) -> list[int]:
    """Event axes of each argument of a draw of shape `event`."""
    if dist.family == "Categorical":
        return [len(event) + 1]
    if FAMILIES[dist.family].event == "vector":
        return [argument_rank(dist.family, a, len(event)) for a, _ in dist.arguments]
    return [len(event)]


def noise_shape(family: str, event: Shape) -> Shape:
    """Event axes of the base noise of a draw (runtime/families/student_t.py, runtime/families/von_mises_fisher.py)."""
    if family == "StudentT":
        return (*event, Dim.of(2))
    return (*event[:-1], event[-1] + 1) if family == "VonMisesFisher" else event


def chosen_mask(program: Program, ways: tuple[Chosen, ...], mask: Value, axes: tuple[str, ...]) -> str:
    """Where a variable is seen by the sites that numbers choose: `mask[:, None] & chosen(g, 5)[...]`, along axes."""
    low, codes = program.low, [align(mask, axes, 0).code]
    for way in ways:
        index = low.concrete(low.lower(way.index))
        if index.number:
            index = index.with_(code=f"torch.tensor({index.code}, device=self.zero.device)", number=False, binds=ATOM)
        code = f"{program.scope.use('chosen')}({index.code}, {extent_code(program, way.plate)})"
        codes.append(align(Value(code, (*index.axes, way.plate)), axes, 0).code)
    return " & ".join(codes)


def extent_code(program: Program, axis: str) -> str:
    """The length of an axis as Python."""
    low = program.low
    if axis == "B" and program.rows:
        return program.rows
    if axis == "B":
        return f"{program.scope.use('batch_rows')}(batch)"
    if axis == "S":
        return "samples"
    if low.order.is_enumerated(axis):
        return low.size(low.spec.variable(latent_of(axis)).type.support.values)
    size = low.spec.plate(axis).size
    return f"{low.mask(axis)}.shape[-1]" if size is None else low.size(size)
