"""Sites of a fixed plate that are written out one by one, because latents that are summed live there and are read together.

dot(z, v), z[l] summed        stack([self.sites_z_0, self.sites_z_1], -1)        each z[l] is an axis of its own
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from lvspec.emit.lowering.value import Value, join_draws, select
from lvspec.ir.axes import axis_of, latent_of, sites_of
from lvspec.ir.dims import Dim
from lvspec.ir.expr import Here, Stretch, VariableRef
from lvspec.ir.reads import is_named, number_of


class WrittenOut:
    """The part of a lowering that goes through the sites of unrolled plates; `low.bound` says at which one it is."""

    def __init__(self, low):
        self.low = low

    def sites_of(self, name: str) -> tuple[int, ...]:
        """At which sites of unrolled plates a variable is being written."""
        return tuple(self.low.bound[p] for p in self.low.plates_of(name) if p in self.low.bound)

    def at_bound(self, value: Value) -> Value:
        """A value at the sites that are being written. Where it differs over the values of latents that live there, they
        are those of the site's own latent."""
        for axis in value.axes:
            if axis in self.low.bound:
                value = select(value, axis, str(self.low.bound[axis]))
        own = {a: axis_of(a, self.sites_of(a)) for a in value.axes if a in self.low.summed}
        return value.with_(axes=tuple(own.get(a, a) for a in value.axes)) if own else value

    def along(self, plates: Sequence[str], values: Mapping[tuple[int, ...], Value]) -> Value:
        """What stands at the sites of plates, along axes of these; the values of each site's own latents are one axis again."""
        if not plates:
            (value,) = values.values()
            return value.with_(axes=tuple(latent_of(a) if sites_of(a) else a for a in value.axes))
        inner: dict[int, dict[tuple[int, ...], Value]] = {}
        for (first, *others), value in values.items():
            inner.setdefault(first, {})[tuple(others)] = value
        parts = [self.along(plates[1:], found) for found in inner.values()]
        axes, rank, aligned = self.low.broadcast(*parts)
        axes = self.low.order.sort({*axes, plates[0]})
        code = f"{self.low.scope.use('stack')}([{', '.join(v.code for v in aligned)}], {axes.index(plates[0])})"
        return Value(code, axes, parts[0].shape, draws=join_draws(*parts))

    @contextmanager
    def at_no_site(self, plates: set[str]) -> Iterator[None]:
        """No site of these plates is the one that is being written."""
        outer = self.low.bound
        self.low.bound = {p: i for p, i in outer.items() if p not in plates}
        yield
        self.low.bound = outer

    def at_each_site(self, plate: str, lower: Callable[[], Value]) -> list[Value]:
        """What is lowered at each site of a plate."""
        outer, sites = self.low.bound, []
        for i in range(self.low.spec.plate(plate).extent.evaluate(self.low.sizes)):
            self.low.bound = {**outer, plate: i}
            sites.append(lower())
        self.low.bound = outer
        return sites

    def whole(self, expr: VariableRef, begin: str) -> Value | None:
        """A variable at all sites of a plate, where summed latents that live there make each site another value."""
        at = next((s for s in expr.at if isinstance(s, Stretch) and self._differs(expr, s.plate)), None)
        if at is None:
            return None
        place, here = expr.at.index(at), Here(at.plate)
        site = replace(expr, at=(*expr.at[:place], here, *expr.at[place + 1 :]))
        values = self.at_each_site(at.plate, lambda: self.low.variable(site, begin))
        plates = self.low.spec.plate
        before = sum(isinstance(s, Stretch) and not plates(s.plate).ragged for s in expr.at[:place])
        return self.side_by_side(values, plates(at.plate).size, before)

    def named(self, expr: VariableRef, begin: str) -> Value | None:
        """A variable at a site of a plate that is written as a number, `z[0, t]`, where each site is another value."""
        at = next((s for s in expr.at if is_named(s) and self._differs(expr, s.plate)), None)
        number = number_of(at) if at else None
        if at is None or number is None:
            return None
        here = replace(expr, at=tuple(Here(s.plate) if s is at else s for s in expr.at))
        outer = self.low.bound
        self.low.bound = {**outer, at.plate: number}
        value = self.low.variable(here, begin)
        self.low.bound = outer
        return value

    def _differs(self, expr: VariableRef, plate: str) -> bool:
        if plate not in self.low.unrolled:
            return False
        read = {r.name for r in self.low.windows.reader.of(expr, frozenset())} & self.low.summed
        return any(plate in self.low.spec.variable(n).plates for n in read)

    def side_by_side(self, values: list[Value], size: Dim, before: int = 0) -> Value:
        """The sites of a plate along an event axis, behind the first `before` ones."""
        axes, rank, aligned = self.low.broadcast(*values)
        shape = max((v.shape for v in values), key=len)
        items = ", ".join(v.code for v in aligned)
        code = f"{self.low.scope.use('stack')}([{items}], {before - rank - 1})"
        event, integer = (*shape[:before], size, *shape[before:]), all(v.integer for v in values)
        return Value(code, axes, event, integer=integer, draws=join_draws(*values))
