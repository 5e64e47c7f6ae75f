"""Arguments of structured distributions: their axes agree with one another as the table of structures says.

PCFG: root [N], rules [N, N + P, N + P], terminals [P, V]
"""

from __future__ import annotations

from lvspec.front import supports
from lvspec.front.context import Context, unknown
from lvspec.ir.dims import Dim
from lvspec.ir.expr import Expr
from lvspec.ir.structures import STRUCTURES

SITES = "T"  # the letter of the sites that the structure runs over
Arguments = tuple[tuple[str, Expr], ...]


def check_axes(family: str, arguments: Arguments, ctx: Context, over: str | None) -> None:
    """Notes each argument whose axes are of another number or size than the table has."""
    letters: dict[str, Dim] = {SITES: ctx.extent(over)} if over in ctx.declared.plates else {}
    known = [(n, v) for n, v in arguments if not unknown(v) and not v.type.reach]
    for name, value in sorted(known, key=lambda row: _compound(family, row[0])):
        axes = STRUCTURES[family].axes_of(name)
        if len(value.type.shape) != len(axes):
            _refuse(family, name, value, letters, ctx, f"takes {len(axes)} ax{'i' if len(axes) == 1 else 'e'}s")
            continue
        for axis, found in zip(axes, value.type.shape, strict=True):
            wanted = _size(axis, letters)
            if wanted is None and axis.isalpha():
                letters[axis] = found
            elif wanted is not None and wanted != found:
                _refuse(family, name, value, letters, ctx, f"takes an axis of {wanted} where this has {found}")
                break


def _compound(family: str, name: str) -> bool:
    """Whether an argument has axes that are sums of others': it is looked at last."""
    return any("+" in axis for axis in STRUCTURES[family].axes_of(name))


def _size(axis: str, letters: dict[str, Dim]) -> Dim | None:
    """`N + P` as a size, once its letters are known."""
    total = Dim.of(0)
    for part in axis.split(" + "):
        if not part.isdigit() and part not in letters:
            return None
        total = total + (Dim.of(int(part)) if part.isdigit() else letters[part])
    return total


def _refuse(family: str, name: str, value: Expr, letters: dict[str, Dim], ctx: Context, what: str) -> None:
    structure = STRUCTURES[family]
    usage = ", ".join(f"{n}: [{', '.join(axes)}]" for n, axes in structure.axes)
    if structure.state == SITES:
        usage += ", where T are the sites again: `... over j` with `j: copy(t)` under `plates:`"
    ctx.problems.error(
        "shape-mismatch",
        value.span,
        f"`{name}` of {family} {what}",
        label=supports.show(value.type),
        help=f"the arguments are {usage}",
    )


def state_size(family: str, arguments: dict[str, Expr]) -> Dim | None:
    """How many values the variable has at a site."""
    structure = STRUCTURES[family]
    for name, axes in structure.axes:
        shape = arguments[name].type.shape if name in arguments else ()
        if structure.state in axes and len(shape) == len(axes):
            return shape[axes.index(structure.state)]
    return None
