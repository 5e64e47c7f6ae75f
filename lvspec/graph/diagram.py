"""Plan → what is to be drawn: nodes, edges, and the plates as nested boxes.

    z[t]: Categorical(logits=transition[z[t-1]])

becomes the node z inside the boxes *examples* ⊃ *t*, an edge transition → z, and a dashed edge z → z marked `t−1`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from lvspec.ir.estimators import OF_STRUCTURES
from lvspec.ir.expr import Expr, Lag, ParamRef, Stretch, VariableRef, walk
from lvspec.ir.plan import Plan, Summed
from lvspec.ir.spec import Plate, Spec, Variable
from lvspec.ir.structured import structure_of

BATCH = ""  # the implied plate of the examples

_REACH = {"before": "<{}", "through": "≤{}", "after": ">{}", "from": "≥{}"}


@dataclass(frozen=True)
class DiagramNode:
    """role: latent | observed | let | given | param. strategy: of a latent. story: the tooltip."""

    name: str
    role: str
    strategy: str | None
    plates: tuple[str, ...]
    story: str


@dataclass(frozen=True)
class DiagramEdge:
    """label: which site is read, where it is not this one. dashed: it crosses from one site to a later one.
    field: of two sites that a structure scores together, neither before the other. guide: q of the target reads the source.
    """

    source: str
    target: str
    label: str = ""
    dashed: bool = False
    field: bool = False
    guide: bool = False

    @property
    def apart(self) -> bool:
        """Whether the edge says nothing of which node stands below which."""
        return self.guide


@dataclass(frozen=True)
class Box:
    """A plate with what stands in it, nodes by name. The root has no plate."""

    plate: str | None
    label: str
    nodes: tuple[str, ...]
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Diagram:
    name: str
    objective: str
    nodes: tuple[DiagramNode, ...]
    edges: tuple[DiagramEdge, ...]
    root: Box

    @cached_property
    def _nodes(self) -> dict[str, DiagramNode]:
        return {n.name: n for n in self.nodes}

    def node(self, name: str) -> DiagramNode:
        return self._nodes[name]


def diagram(plan: Plan, guide: bool = False) -> Diagram:
    """guide: with what q reads, and the variables that only q computes."""
    spec = plan.spec
    strategies = {p.name: p.strategy for p in plan.latents}
    hidden = [(s.part, s) for s in plan.structures if s.part]
    edges = (*_edges(spec.variables), *_fields(spec), *(DiagramEdge(part, s.name) for part, s in hidden))
    computed = tuple(v for v in plan.guide if v.role == "let") if guide else ()
    if guide:
        factors = tuple(v for v in plan.guide if v.role == "guide")
        edges += (*_edges(computed), *(replace(e, guide=True) for e in _edges(factors)))
    drawn = {e.source for e in edges}
    params = [DiagramNode(p.name, "param", None, (), f"parameter {p.name}") for p in spec.params if p.name in drawn]
    variables = [
        DiagramNode(v.name, v.role, strategies.get(v.name), _plates(v), _story(v)) for v in (*spec.variables, *computed)
    ]
    nodes = (*params, *variables, *(_part(part, s, spec) for part, s in hidden))
    objective = {
        "log_marginal": "log marginal likelihood",
        "elbo": "evidence lower bound",
        "log_joint": "log p at point estimates",
    }.get(plan.objective, "")
    return Diagram(spec.name, objective, nodes, edges, _boxes(nodes, spec, dict(plan.sizes)))


def _part(part: str, summed: Summed, spec: Spec) -> DiagramNode:
    """The hidden part of a structure, `tree`: one for what the structure runs over."""
    variable = spec.variable(summed.name)
    plates = tuple(p for p in _plates(variable) if p != variable.general.dist.over)
    return DiagramNode(part, "latent", OF_STRUCTURES.name, plates, f"latent: {part} of {summed.family}")


def _plates(v: Variable) -> tuple[str, ...]:
    return v.plates if v.outside_batch else (BATCH, *v.plates)


def _story(v: Variable) -> str:
    family = getattr(v.general.body, "family", "") if v.clauses else ""
    site = v.at(v.plates)
    return f"{v.role}: {site} ~ {family}" if family else f"{v.role}: {site}"


# ---------------------------------------------------------------- edges
def _edges(variables: Iterable[Variable]) -> tuple[DiagramEdge, ...]:
    found: dict[DiagramEdge, None] = {}
    for v in variables:
        for clause in v.clauses:
            bodies = [b.value for b in clause.bindings] + ([clause.body] if clause.body is not None else [])
            for body in bodies:
                for e in walk(body):
                    found.update(dict.fromkeys(_edge(e, v.name)))
    return tuple(found)


def _fields(spec: Spec) -> list[DiagramEdge]:
    """Labels of neighbouring sites are scored together; those of trees, wherever the sites are."""
    labelled = [(v, s) for v in spec.variables if (s := structure_of(v)) is not None and s.value == "labels"]
    marks = [(v.name, v.general.dist.plate, "T" in s.state) for v, s in labelled]
    return [
        DiagramEdge(name, name, over if anywhere else f"{over}−1", True, field=True) for name, over, anywhere in marks
    ]


def _edge(e: Expr, target: str) -> tuple[DiagramEdge, ...]:
    if isinstance(e, ParamRef):
        return (DiagramEdge(e.name, target),)
    if not isinstance(e, VariableRef):
        return ()
    lags = [s for s in e.at if isinstance(s, Lag)]
    stretches = [s for s in e.at if isinstance(s, Stretch) and s.reach in _REACH]
    marks = [f"{s.plate}−{s.k}" if s.k > 0 else f"{s.plate}+{-s.k}" for s in lags]
    marks += [_REACH[s.reach].format(s.plate) for s in stretches]
    crosses = bool(lags) or any(s.reach in ("before", "after") for s in stretches)
    return (DiagramEdge(e.name, target, ", ".join(marks), crosses or e.name == target),)


# ---------------------------------------------------------------- plates
def _boxes(nodes: tuple[DiagramNode, ...], spec: Spec, sizes: dict[str, int]) -> Box:
    """Plates as a tree: a plate with more members is outside of one with fewer. Where two plates cross
    without nesting, the smaller one is drawn as several boxes of the same name."""
    order = [BATCH, *(p.name for p in spec.plates)]
    members = {plate: sum(plate in n.plates for n in nodes) for plate in order}
    within = {p.name: p.within for p in spec.plates}
    rank = {p: (-members[p], within.get(p) is not None, i) for i, p in enumerate(order)}
    paths = {n.name: tuple(sorted(n.plates, key=rank.__getitem__)) for n in nodes}
    labels = {BATCH: "examples", **{p.name: _label(p, sizes) for p in spec.plates}}
    return _box(None, "", paths, labels)


def _box(plate: str | None, label: str, paths: dict[str, tuple[str, ...]], labels: dict[str, str]) -> Box:
    inner = dict.fromkeys(path[0] for path in paths.values() if path)
    boxes = []
    for first in inner:
        below = {name: path[1:] for name, path in paths.items() if path and path[0] == first}
        boxes.append(_box(first, labels[first], below, labels))
    return Box(plate, label, tuple(name for name, path in paths.items() if not path), tuple(boxes))


def _label(plate: Plate, sizes: dict[str, int]) -> str:
    """`t: sequence`, `l: L = 3`, `i: l + 1 of M = 6`."""
    if plate.size is None:
        return f"{plate.name}: {plate.kind.replace('_', ' ')}"
    known = plate.size.constant is None and all(name in sizes for name in plate.size.names)
    more = dict(plate.options).get("more")
    count = f"{plate.length}{f' + {more}' if more else ''} of " if plate.length else ""
    return f"{plate.name}: {count}{plate.size}" + (f" = {plate.size.evaluate(sizes)}" if known else "")
