"""Networks that begin anew in each segment: computed for every site at which one might begin.

x[<t in z]         previous(windows(x, ...), ...)     (B, T, L): what precedes site t + i since a segment began at t
h[t]: writer(...)  self.writer(...)                   one run from each t: every segment from t on is a stretch of it

The sites of a window have an axis of their own, named "t in z". What does not depend on where segments begin is computed
at its own site first, and read at t + i. Where z is drawn, each site's value is taken out of the window of its segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from lvspec.emit.lowering.value import ALL, ATOM, Value, permute, widen_draws
from lvspec.ir.dims import Dim
from lvspec.ir.expr import Apply, Expr, LocalRef, walk
from lvspec.ir.reads import Read, reader_of
from lvspec.ir.spec import Spec, Variable
from lvspec.ir.structured import has_segments, longest_segment, window_axis


@dataclass(frozen=True)
class Window:
    """The sites of a segment of `latent` that begins at a site of `plate`: `size` at most."""

    plate: str
    latent: str
    size: Dim

    @property
    def axis(self) -> str:
        return window_axis(self.plate, self.latent)


def windows_of(spec: Spec) -> tuple[Window, ...]:
    """One for each latent that has segments."""
    every = (v for v in spec.of_role("latent") if has_segments(v))
    return tuple(Window(v.general.dist.plate, v.name, longest_segment(v)) for v in every)


class Windows:
    """The part of a lowering that knows where segments might begin. current: the window whose sites are being computed."""

    def __init__(self, low, spec: Spec):
        self.low = low
        self.reader = reader_of(spec, low.plan.guide)
        self.known = {w.latent: w for w in windows_of(spec)}
        self.current: Window | None = None

    def read_by(self, variable: Variable) -> Window | None:
        """The window within which a variable's factor is to be computed, or None."""
        inside = next((r.inside for r in self.reads(variable) if r.inside), None)
        return self.known.get(inside) if inside else None

    def reads(self, variable: Variable) -> tuple[Read, ...]:
        return self.reader.of_variable(variable)

    @cached_property
    def told_borders(self) -> frozenset[str]:
        """The latents in whose segments something begins anew."""
        return frozenset(r.inside for v in self.low.spec.variables for r in self.reads(v) if r.inside)

    @contextmanager
    def within(self, window: Window | None) -> Iterator[None]:
        outer, self.current = self.current, window
        try:
            yield
        finally:
            self.current = outer

    def begins_anew(self, expr: Expr) -> bool:
        """Whether the value depends on where its segment began."""
        if any(r.inside for r in self.reader.of(expr, frozenset())):
            return True
        local = [self.low.locals[e.name] for e in walk(expr) if isinstance(e, LocalRef)]
        return any(self.current is not None and self.current.axis in v.axes for v in local)

    def lower(self, expr: Expr) -> Value | None:
        """An expression that is not lowered as it stands: None for all others."""
        if self.current is not None and not self.begins_anew(expr):
            window = self.current
            with self.within(None):
                value = self.low.lower(expr)
            return self.windowed(value, window)
        if self.current is None and isinstance(expr, Apply):
            inside = next((a.type.reach.inside for a in expr.args if a.type.reach is not None), None)
            if inside is not None and expr.type.reach is None:
                return self.at_own_sites(expr, self.known[inside])
        return None

    def windowed(self, value: Value, window: Window) -> Value:
        """The value at the sites of each window, the last site past the end; a value that is the same at all sites as it is."""
        if window.plate not in value.axes or window.axis in value.axes:
            return value
        low = self.low
        key = ("windows", value.code, window.axis)
        if key not in low.lets:
            at = value.axes.index(window.plate)
            code = f"{low.scope.use('windows')}({value.code}, dim={at}, size={low.size(window.size)})"
            axes = (*value.axes[: at + 1], window.axis, *value.axes[at + 1 :])
            base = f"{value.code}_windows" if value.is_name and "." not in value.code else "window"
            read = widen_draws(value, window.plate, ALL)
            low.lets[key] = low.scope.assign(base, read.with_(code=code, axes=axes, binds=ATOM))
        return low.lets[key]

    def at_own_sites(self, expr: Expr, window: Window) -> Value:
        """A network's value at each site, where the latent is drawn: from the window of the site's own segment."""
        low = self.low
        with self.within(window):
            value = low.lower(expr)
        rest = tuple(a for a in value.axes if a not in (window.plate, window.axis))
        value = permute(value, (*rest, window.plate, window.axis))
        begins = low.begins[window.latent]
        code = f"{low.scope.use('own_sites')}({value.code}, {begins.code}, {len(value.shape)})"
        return value.with_(code=code, axes=(*rest, window.plate), binds=ATOM)

    def axis_along(self, reach) -> str:
        """The axis along which a network reads a stretch."""
        return window_axis(reach.plate, reach.inside) if reach.inside else reach.plate
