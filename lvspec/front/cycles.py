"""Whether what is drawn can be drawn in some order: no site of a variable may depend on itself.

    z[t] reads h[t], h[t] reads z[t-1]                       along t each reading is of this site or of an earlier one
    g reads h[t] over t, h[t] reads x[<t], x[t] reads g      g has no t along which h would be earlier: a cycle
    c reads x[0], x[t] reads c and x[t-1]                    the first site has a clause of its own, which does not read c

Clauses that read each other in a circle are fine if all of them stand on a plate along which every such reading is of this site or
of earlier ones, and if they are fine without the latter (Karp, Miller & Winograd 1967).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from lvspec.front.context import Declarations
from lvspec.front.dependence import Edge, components, how, loop, whole
from lvspec.front.problems import Problems
from lvspec.ir.expr import At, Call, Choice, Dist, Expr, Here, Lag, Number, Stretch, VariableRef
from lvspec.ir.spec import Clause, Variable


@dataclass(frozen=True)
class ClauseReading:
    """A clause, `z` or `z[0]`, reads another. earlier, present: along which of their common plates it is of earlier sites, or of
    earlier ones or the site itself. first: along which of them it is of a first site that has a clause of its own."""

    reader: str
    source: str
    earlier: frozenset[str]
    present: frozenset[str]
    first: frozenset[str]
    edge: Edge

    @property
    def of_variables(self) -> ClauseReading:
        """The same between variables, whose first sites are ahead of all others."""
        earlier, present = self.earlier | self.first, self.present | self.first
        return replace(self, reader=self.edge.reader, source=self.edge.source, earlier=earlier, present=present)


def check_cycles(variables: Mapping[str, Variable], declared: Declarations, problems: Problems) -> None:
    found = [r for v in variables.values() for c in v.clauses for r in readings(v, c, variables)]
    found += [r for v in variables.values() for r in _lengths(v, variables, declared)]
    nodes = [_node(v.name, c.initial) for v in variables.values() for c in v.clauses]
    plates = {_node(v.name, c.initial): frozenset(v.plates) for v in variables.values() for c in v.clauses}
    closed = list(_stuck(nodes, list(dict.fromkeys(found)), plates))
    for stuck in closed:
        tell_cycle(loop([r.edge for r in stuck]) or (), problems)
    if not closed:
        _check_between(variables, found, problems)


def _check_between(variables: Mapping[str, Variable], found: list[ClauseReading], problems: Problems) -> None:
    """What is drawn from a first site, and read at later ones, has no place in a walk along the sites."""
    plates = {n: frozenset(v.plates) for n, v in variables.items()}
    for stuck in _stuck(variables, list(dict.fromkeys(r.of_variables for r in found)), plates):
        drawn = [r for r in stuck if variables[r.reader].role in ("latent", "observed")]
        everywhere = frozenset().union(*(plates[r.reader] for r in drawn))
        apart = next((r for r in drawn if plates[r.reader] != everywhere), None)
        if apart is not None:
            problems.error(
                "drawn-between",
                apart.edge.span,
                f"`{apart.reader}` is drawn behind the first site of a plate and ahead of others: no engine yet",
                help="give the first site a name of its own, as a variable without the plate",
            )


def _node(name: str, initial: int | None) -> str:
    return name if initial is None else f"{name}[{initial}]"


def _stuck(
    nodes: Iterable[str], among: list[ClauseReading], plates: Mapping[str, frozenset[str]]
) -> Iterator[list[ClauseReading]]:
    """Readings in a circle that no order of sites opens."""
    part_of = {n: i for i, part in enumerate(components(nodes, [_named(r) for r in among])) for n in part}
    parts: dict[int, list[ClauseReading]] = {}
    for r in among:
        if part_of[r.reader] == part_of[r.source]:
            parts.setdefault(part_of[r.reader], []).append(r)
    for inside in parts.values():
        ordered = frozenset.intersection(*(r.present for r in inside), *(plates[r.reader] for r in inside))
        rest = [r for r in inside if not r.earlier & ordered]
        if len(rest) == len(inside):
            yield inside
        else:
            yield from _stuck(dict.fromkeys(n for r in rest for n in (r.reader, r.source)), rest, plates)


def _named(r: ClauseReading) -> Edge:
    return Edge(r.reader, r.source, r.edge.how, r.edge.span)


# ---------------------------------------------------------------- what a clause reads
def readings(variable: Variable, clause: Clause, variables: Mapping[str, Variable]) -> Iterator[ClauseReading]:
    reader = _node(variable.name, clause.initial)
    structure = clause.body.over if isinstance(clause.body, Dist) else None
    for ref, over in _references(clause):
        source = variables.get(ref.name)
        if source is None or len(ref.at) != len(source.plates):
            continue
        own = "whole" if whole(clause, ref) else "any" if any(p in over for p in source.plates) else how(ref)
        edge = Edge(variable.name, ref.name, own, ref.span)
        sites = dict(zip(source.plates, ref.at, strict=True))
        ways = {p: _way(s) for p, s in sites.items() if p in variable.plates and p not in over and p != structure}
        earlier = frozenset(p for p, w in ways.items() if w == "earlier")
        present = frozenset(p for p, w in ways.items() if w)
        targets, named = _targets(source, sites)
        first = frozenset(p for p in ways if p == source.along) if named else frozenset()
        for target in targets:
            yield ClauseReading(reader, target, earlier, present, first, edge)
        for segment in (s.inside for s in ref.at if isinstance(s, Stretch) and s.inside and s.inside in variables):
            here = frozenset(p for p in variable.plates if p in variables[segment].plates)
            yield ClauseReading(
                reader, segment, frozenset(), here, frozenset(), Edge(variable.name, segment, "same", ref.span)
            )


def _targets(source: Variable, sites: Mapping[str, object]) -> tuple[list[str], bool]:
    """The clauses that say what stands at the sites that are read; whether it is one, for the site that is named."""
    first = sites.get(source.along) if source.along else None
    named = first.index.value if isinstance(first, At) and isinstance(first.index, Number) else None
    own = [_node(source.name, c.initial) for c in source.clauses if c.initial is not None and c.initial == named]
    return own or [_node(source.name, c.initial) for c in source.clauses], bool(own)


def _references(clause: Clause) -> Iterator[tuple[VariableRef, frozenset[str]]]:
    """Every variable that a clause names, with the plates over which it is reduced there."""
    stack: list[tuple[Expr | Dist | Choice, frozenset[str]]] = []
    stack += [(b.value, frozenset()) for b in clause.bindings]
    stack += [(clause.body, frozenset())] if isinstance(clause.body, Expr | Dist | Choice) else []
    stack.reverse()
    while stack:
        node, over = stack.pop()
        if isinstance(node, VariableRef):
            yield node, over
        if isinstance(node, Call) and node.over:
            over = over | {node.over}
        stack += [(child, over) for child in reversed(node.children())]


def _way(site: object) -> str:
    """Which sites are read along a plate, seen from the one that reads: earlier, present (or earlier), or "" for any."""
    match site:
        case Here():
            return "present"
        case Lag(_, k):
            return "earlier" if k > 0 else ""
        case Stretch(_, reach, _):
            return {"before": "earlier", "through": "present"}.get(reach, "")
        case At(_, Number(0)):
            return "present"
    return ""


def _lengths(variable: Variable, variables: Mapping[str, Variable], declared: Declarations) -> Iterator[ClauseReading]:
    """What stands on a plate whose length is a variable is drawn behind it."""
    for plate in (declared.plates[p] for p in variable.plates if p in declared.plates):
        if plate.length is not None and plate.length in variables:
            edge = Edge(variable.name, plate.length, "same", variable.span)
            for clause in variable.clauses:
                yield ClauseReading(
                    _node(variable.name, clause.initial), plate.length, frozenset(), frozenset(), frozenset(), edge
                )


# ---------------------------------------------------------------- what is said
def tell_cycle(closed: tuple[Edge, ...], problems: Problems) -> None:
    """`x` depends on itself: x → h → x."""
    first = closed[0]
    way = (
        ": " + " → ".join((*(e.reader for e in closed), first.reader)) + ", each from the next"
        if len(closed) > 1
        else ""
    )
    kinds = {e.how: e for e in closed}
    problems.error(
        "cycle",
        first.span,
        f"`{first.reader}` depends on itself{way}",
        help=mend(kinds),
    )


def mend(kinds: dict[str, Edge]) -> str:
    """How the cycle may be broken, by how its variables are read."""
    if "whole" in kinds:
        return f"`{kinds['whole'].reader}` is one variable for all sites: what it reads may not depend on it at any of them"
    return (
        "read a prefix, `[<t]`, instead of the whole" if "any" in kinds else "read an earlier site, `[t-1]` or `[<t]`"
    )
