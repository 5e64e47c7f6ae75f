"""Arguments of functions that have no value, or no slope, at 0: kept away from there where nothing counts.

    b * log(n[t])        beyond an example's last site n holds 0: log 0 is left out of the sum, but the gradient of b is 0 times it
    b * log(x[t-1])      the same at the first site, where another clause counts
    b / length(x)        the same in an example without a site, where it stands in a clause for sites

There the argument is 1, or, before the first site, what the first site holds. Where a site counts nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lvspec.emit.lowering.value import Value
from lvspec.ir.expr import Call, Expr, Lag, Number, Stretch, VariableRef, walk
from lvspec.ir.reads import bodies

_INNER = ("positive", "unit")  # what stands for values of these that are not there lies inside


class Edges:
    """standing: the plates of the variable whose clause is being written. near: whether it is such an argument that is."""

    def __init__(self, low):
        self.low = low
        self.standing: tuple[str, ...] = ()
        self.near = False

    @contextmanager
    def clause_on(self, plates: tuple[str, ...]) -> Iterator[None]:
        """What is written inside is said of the sites of these plates."""
        outer = self.standing, self.near
        self.standing, self.near = plates, False
        yield
        self.standing, self.near = outer

    def before(self, site: Lag, begin: str) -> str:
        """What fills in for an earlier site that is not there: it belongs to the clauses of first sites, and is never used."""
        return "None" if self.near and site.k > 0 and begin == "0" else begin

    def arguments(self, call: Call) -> list[Value]:
        """The arguments of a function, lowered."""
        edge = _edge_of(call)
        return [self._away(a) if i == edge else self.low.lower(a) for i, a in enumerate(call.args)]

    def _away(self, expr: Expr) -> Value:
        """The expression, 1 at sites that do not count."""
        low, outer = self.low, self.near
        self.near = True
        value = low.lower(expr)
        self.near = outer
        summed_up = self._runs_over(expr)
        if value.number or expr.type.support.kind in _INNER and not summed_up:
            return value
        inner = [low.spec.plate(a) for a in value.axes if a in low.order.plates and low.spec.plate(a).ragged]
        for plate in inner:
            if not any(p.within == plate.name for p in inner):
                value = self._one_elsewhere(value, Value(low.mask(plate.name), low.plate_axes(plate.name)))
        for plate in summed_up & set(self.standing) - set(value.axes):
            examples = low.plate_axes(plate)[:-1] if low.spec.plate(plate).ragged else ()
            if examples and set(examples) <= set(value.axes):
                some = Value(f"({low.lengths(plate, examples)} > 0)", examples)
                value = self._one_elsewhere(value, some)
        return value

    def _one_elsewhere(self, value: Value, counts: Value) -> Value:
        low = self.low
        axes, _, (x, real) = low.broadcast(low.real(low.concrete(value)), counts)
        return x.with_(code=f"{low.scope.use('one_elsewhere')}({x.code}, {real.code})", axes=axes)

    def _runs_over(self, expr: Expr) -> set[str]:
        """The plates along which an expression, let variables looked through, is summed, measured or the like."""
        found, left, seen = set(), [expr], set()
        while left:
            for e in walk(left.pop()):
                if isinstance(e, Call) and e.over:
                    found.add(e.over)
                if isinstance(e, VariableRef):
                    found |= {s.plate for s in e.at if isinstance(s, Stretch)}
                    if e.name in self.low.definitions and e.name not in seen:
                        seen.add(e.name)
                        left += [b for c in self.low.definitions[e.name].clauses for b in bodies(c)]
        return found


def _edge_of(call: Call) -> int | None:
    """Which argument of a function has to keep away from 0, if any."""
    if call.function in ("log", "sqrt"):
        return 0
    if call.function == "divide":
        return 1
    exponent = call.args[1] if call.function == "power" else None
    whole = isinstance(exponent, Number) and isinstance(exponent.value, int) and exponent.value >= 0
    return None if exponent is None or whole else 0
