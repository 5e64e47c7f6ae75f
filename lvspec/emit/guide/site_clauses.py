"""Clauses as they read at one site of a loop: what reads no draw of the loop is computed before it, for all sites.

softplus(scale(combine(concat(z[t-1], reader(x[>=t])))))      reader(x[>=t]) becomes a tensor over t, read at its site
"""

from __future__ import annotations

from dataclasses import replace

from lvspec.emit.lowering.value import Value, axis_to_event, select
from lvspec.ir.expr import (  # fmt: skip
    Apply,
    Binding,
    Call,
    Dist,
    Expr,
    Index,
    LocalRef,
    Number,
    ParamRef,
    Part,
    PlateIndex,
    SiteOf,
    SizeRef,
    Stretch,
    VariableRef,
    walk,
)
from lvspec.ir.guides import GuideStep, distance
from lvspec.ir.spec import Clause

SMALL = (Number, SizeRef, ParamRef)


class SiteClauses:
    """outer: what is computed for all sites, by the local name that clauses read it under. read: the draws of the
    loop that they read, by local name: (variable, sites back, fixed plates read as a whole). reach: how far back."""

    def __init__(self, low, scope, step: GuideStep):
        self.low, self.scope, self.step, self.plate = low, scope, step, step.plate
        self.outer: dict[str, Value] = {}
        self.read: dict[str, tuple[str, int, tuple[str, ...]]] = {}
        self.reach: dict[str, int] = {}

    def at_site(self, clause: Clause, name: str) -> Clause:
        """The clause of the variable `name` with local names for all that comes from elsewhere."""
        saved = dict(self.low.locals)
        inside: set[str] = set()  # names of `where` that depend on draws of the loop
        apart: dict[str, str] = {}  # the others, and the names of their values over all sites
        label = f"reads_{name}"

        def here(expr: Expr) -> Expr:
            return self.site(expr, clause, inside, apart, label)

        bindings = []
        for b in clause.bindings:
            if clause.initial is not None or self.depends(b.value, inside):
                bindings.append(Binding(b.names, here(b.value)))
                inside.update(b.names)
                continue
            self.low.bind(b)
            apart |= {n: self.known(self.low.locals[n]) for n in b.names}
        body = clause.body
        if isinstance(body, Dist):
            body = replace(body, arguments=tuple((n, here(e)) for n, e in body.arguments))
        else:
            body = here(clause.value)
        self.low.locals = saved
        return replace(clause, bindings=tuple(bindings), body=body)

    def depends(self, expr: Expr, inside: set[str]) -> bool:
        """Whether an expression reads a draw of the loop."""
        return any(
            isinstance(e, VariableRef) and e.name in self.step.names or isinstance(e, LocalRef) and e.name in inside
            for e in walk(expr)
        )

    def site(self, expr: Expr, clause: Clause, inside: set[str], apart: dict[str, str], label: str) -> Expr:
        """The expression at one site. For a first site's own clause nothing but what it names is computed everywhere."""

        def local(value: Value) -> LocalRef:
            return LocalRef(self.known(value), type=expr.type, span=expr.span)

        if isinstance(expr, LocalRef):
            return replace(expr, name=apart.get(expr.name, expr.name))
        if isinstance(expr, PlateIndex) and expr.plate == self.plate:
            return local(Value(self.plate, integer=True))
        if isinstance(expr, ParamRef) and expr.name in self.low.rows_of_their_own:
            return local(self.low.lower(expr))
        if isinstance(expr, SMALL) or isinstance(expr, PlateIndex):
            return expr
        if isinstance(expr, VariableRef) and expr.name in self.step.names:
            return LocalRef(self.draw(expr), type=expr.type, span=expr.span)
        if isinstance(expr, VariableRef):
            return expr if expr.name in self.low.summed else local(self.whole(expr, label))
        if not self.depends(expr, inside) and (clause.initial is None or self.of_all_sites(expr)):
            return local(self.whole(expr, label))
        return self.rebuilt(expr, lambda e: self.site(e, clause, inside, apart, label))

    def of_all_sites(self, expr: Expr) -> bool:
        """Whether it reads all sites of the plate, or all up to one, whichever site it stands at: Σ_t u[t], reader(x)."""
        if not isinstance(expr, Call | Apply):
            return False
        reaches = (a.type.reach for a in expr.args)
        return isinstance(expr, Call) and expr.over == self.plate or any(r and r.plate == self.plate for r in reaches)

    def whole(self, expr: Expr, label: str) -> Value:
        """The expression over all sites, under a name."""
        return self.scope.named(f"{expr.network}_{label}" if isinstance(expr, Apply) else label, self.low.lower(expr))

    def rebuilt(self, expr: Expr, change) -> Expr:
        """The expression with its parts changed."""
        if isinstance(expr, Call):
            return replace(expr, args=tuple(map(change, expr.args)))
        if isinstance(expr, Index):
            return replace(expr, base=change(expr.base), indices=tuple(map(change, expr.indices)))
        if isinstance(expr, Apply):
            return replace(expr, bank=tuple(map(change, expr.bank)), args=tuple(map(change, expr.args)))
        assert isinstance(expr, SiteOf | Part)
        return replace(expr, base=change(expr.base))

    def known(self, value: Value) -> str:
        name = f"outer {len(self.outer)}"
        self.outer[name] = value
        return name

    def draw(self, expr: VariableRef) -> str:
        """The local name of a draw of this loop, at this site or at an earlier one."""
        by, whole = 0, []
        for plate, site in zip(self.low.plates_of(expr.name), expr.at, strict=True):
            if plate == self.plate:
                by = abs(distance(site))
            elif isinstance(site, Stretch):
                whole.append(plate)
        name = " ".join((expr.name, str(by), *whole))
        self.read[name] = (expr.name, by, tuple(whole))
        self.reach[expr.name] = max(by, self.reach.get(expr.name, 0))
        return name

    def names(self, members: dict) -> dict[str, Value]:
        """What the clauses read, at this site."""
        found = {n: select(v, self.plate, self.plate) if self.plate in v.axes else v for n, v in self.outer.items()}
        for local, (name, by, whole) in self.read.items():
            m = members[name]
            earlier = f"{name}_{'after' if self.step.backwards else 'sites'}[-{by}]"
            shape = m.factor.type.shape
            value = Value(earlier if by else m.here, m.axes, shape, integer=m.factor.type.support.discrete)
            for plate in reversed(whole):
                value = axis_to_event(value, plate, self.low.spec.plate(plate).size)
            found[local] = value
        return found
