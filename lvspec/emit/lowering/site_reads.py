"""A value at other sites of a plate than its own: further on, at all of them, under another name, at a number."""

from __future__ import annotations

from lvspec.emit.lowering.indexing import indexed
from lvspec.emit.lowering.value import ALL, ATOM, Value, as_tensor, permute, widen_draws
from lvspec.ir.dims import Dim


def following(low, value: Value, plate: str, k: int, begin: str) -> Value:
    """Sites further on; `begin` behind the last one of each example, not of the longest."""
    axes, _, (x, real) = low.broadcast(value, Value(low.mask(plate), low.plate_axes(plate)))
    extra = f", k={k}" if k != 1 else ""
    function = low.scope.use("following")
    code = f"{function}({x.code}, {real.code}, dim={axes.index(plate)}, begin={begin}{extra})"
    return x.with_(code=code, axes=axes, binds=ATOM)


def at_all_sites(low, value: Value, plate: str) -> Value:
    """What is the same at all sites of a fixed plate, at each of them."""
    value, count, rank = as_tensor(value), len(value.axes), len(value.shape)
    sizes = ["-1"] * count + [low.size(low.spec.plate(plate).extent)] + ["-1"] * rank
    code = f"{value.at(ATOM)}[{', '.join([':'] * count + ['None'])}].expand({', '.join(sizes)})"
    return value.with_(code=code, axes=(*value.axes, plate), binds=ATOM)


def again(value: Value, plate: str, copy: str) -> Value:
    """The same sites under another name: nothing moves."""
    axes = tuple(copy if a == plate else a for a in value.axes)
    return widen_draws(value, plate, ALL).with_(axes=axes)


def site_at(low, value: Value, plate: str, index: Value) -> Value:
    """The site of `plate` with the number `index`; they may all be the same."""
    if plate not in value.axes:
        return value
    rest = tuple(a for a in value.axes if a != plate)
    moved = permute(value, (*rest, plate)).with_(axes=rest, shape=(Dim.of("|m|"), *value.shape))
    return indexed(low, moved, index)
