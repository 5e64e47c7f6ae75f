"""In which order a guide is drawn: factor by factor, or several together, site by site along an ordered plate.

q(z[t] | z[t-1], x)                             z alone, forwards along t
q(z[t] | z[t+1], x)                             z alone, backwards
q(c[t] | z[t-1]), q(z[t] | z[t-1], c[t])        c and z together, c first; let variables between them, too
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from sys import maxsize

from lvspec.ir.components import strongly_connected
from lvspec.ir.expr import Call, Here, Lag, Stretch, VariableRef
from lvspec.ir.reads import bodies
from lvspec.ir.spec import Spec, Variable

WIDE = maxsize  # other sites than those at a fixed distance


@dataclass(frozen=True)
class GuideStep:
    """Factors, and let variables between them, that are drawn together. names: in the order at one site.

    plate: along which sites are drawn one after the other (None: all at once). backwards: from the last to the first.
    """

    names: tuple[str, ...]
    plate: str | None = None
    backwards: bool = False


@dataclass(frozen=True)
class _Edge:
    """`reader` reads `source`, `by` sites back along `plate` (0: its own site, WIDE: elsewhere)."""

    reader: str
    source: str
    plate: str | None = None
    by: int = 0


def members(spec: Spec, guide: tuple[Variable, ...]) -> dict[str, Variable]:
    """What the order is of: the factors of the guide, and every let variable."""
    lets = {v.name: v for v in (*spec.variables, *guide) if v.role == "let"}
    return {**lets, **{v.name: v for v in guide if v.role == "guide"}}


class GuideOrder:
    """steps: those in which the factors of a guide are drawn, sources before their readers."""

    def __init__(self, spec: Spec, guide: tuple[Variable, ...]):
        self.nodes = members(spec, guide)
        self.edges: dict[str, list[_Edge]] = {n: [] for n in self.nodes}  # by what reads
        for edge in _edges(spec, self.nodes):
            self.edges[edge.reader].append(edge)
        factors = [v.name for v in guide if v.role == "guide"]
        sources = {n: [e.source for e in self.edges[n]] for n in dict.fromkeys([*factors, *self.nodes])}
        self.place = {n: i for i, n in enumerate(self.nodes)}
        parts = (sorted(part, key=self.place.__getitem__) for part in strongly_connected(sources))
        found = (self._step(part) for part in parts)
        self.steps = tuple(s for s in found if any(self.nodes[n].role == "guide" for n in s.names))
        self._of = {n: s for s in self.steps for n in s.names}

    def _inside(self, names: Sequence[str]) -> list[_Edge]:
        together = set(names)
        return [e for n in sorted(names, key=self.place.__getitem__) for e in self.edges[n] if e.source in together]

    def _step(self, together: list[str]) -> GuideStep:
        inside = self._inside(together)
        if not inside:
            return GuideStep((together[0],))
        close = [e for e in inside if e.by == 0]
        lagged = next((e for e in inside if e.by not in (0, WIDE)), None)
        backwards = lagged is not None and lagged.by < 0
        return GuideStep(_in_order(together, close), lagged.plate if lagged else None, backwards)

    def step_of(self, name: str) -> GuideStep:
        """The step in which a factor is drawn."""
        return self._of.get(name, GuideStep((name,)))

    def reason(self, step: GuideStep) -> str | None:
        """Why the factors of a step cannot be drawn site by site, or None."""
        nodes = self.nodes
        for e in self._inside(step.names):
            q = f"q({e.reader})" if nodes[e.reader].role == "guide" else e.reader
            if e.by == WIDE:
                return f"{q} reads a whole stretch of {e.source}, which is drawn site by site: read `{e.source}[t-1]`"
            if e.by != 0 and e.plate != step.plate:
                return f"{q} reads other sites of {e.source} along {e.plate} as well as along {step.plate}"
        discrete = [n for n in step.names if step.backwards and nodes[n].type.support.discrete]
        if discrete:
            return f"q reads a later site of {discrete[0]}, and beyond the last one no discrete value stands: run it forwards"
        apart = [n for n in step.names if step.plate is not None and step.plate not in nodes[n].plates]
        if apart:
            return f"{apart[0]} has no sites along {step.plate}, and what it is drawn with has"
        first = next((n for n in step.names if nodes[n].along not in (None, step.plate)), None)
        if step.plate is not None and first is not None:
            return f"{first} has clauses for first sites along {nodes[first].along}, and is drawn site by site along {step.plate}"
        return None


def distance(site) -> int:
    """How many sites back a reference reads along one plate."""
    if isinstance(site, Here):
        return 0
    return site.k if isinstance(site, Lag) else WIDE


def _edges(spec: Spec, nodes: dict[str, Variable]) -> list[_Edge]:
    fixed = {p.name for p in spec.plates if not p.ragged}
    return [e for v in nodes.values() for c in v.clauses for b in bodies(c) for e in _of(v.name, b, nodes, fixed)]


def _of(reader: str, node, nodes: dict[str, Variable], fixed: set[str], over: frozenset[str] = frozenset()):
    """The edges of an expression. All sites of a fixed plate may be read together: they are drawn together."""
    if isinstance(node, Call) and node.over:
        over = over | {node.over}
    if isinstance(node, VariableRef) and node.name in nodes:
        sites = tuple(zip(nodes[node.name].plates, node.at, strict=True))
        apart = [(p, WIDE if p in over else distance(s)) for p, s in sites]
        together = {p for p, s in sites if isinstance(s, Stretch) or p in over} & fixed
        moved = [_Edge(reader, node.name, p, by) for p, by in apart if by != 0 and p not in together]
        yield from moved or [_Edge(reader, node.name)]
    for child in node.children():
        yield from _of(reader, child, nodes, fixed, over)


def _in_order(names: list[str], close: list[_Edge]) -> tuple[str, ...]:
    """Sources before readers at one site; what lies on a circle there keeps its place."""
    order: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        for e in close:
            if e.reader == name and e.source not in order and e.source not in path:
                visit(e.source, (*path, e.source))
        if name not in order:
            order.append(name)

    for name in names:
        visit(name, (name,))
    return tuple(order)
