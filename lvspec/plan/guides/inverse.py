"""A minimal faithful inverse of a model's graph: what each factor of q has to read so that q can be the posterior.

    p: z1 → z2 → x                           q(z2 | x) q(z1 | z2)
    p: z[t-1] → z[t] → x[t]                  q(z[t] | z[t-1], x[>=t])
    p: a → x ← b                             q(b | x) q(a | b, x)

q draws latents one after the other; each reads its Markov boundary among the data and what is drawn before it: the smallest set
given which it is independent of the rest, one edge less and q could not be the posterior. What no path of dependence reaches
is not read. The order: what lies on fewer plates first, since given it the sites of a plate may be independent; among these
what is deeper in the model first, so that the model's roots are eliminated first (Webb et al. 2018, algorithm 1); along an
ordered plate from the first site to the last one. Independence is d-separation on the graph of an
unrolled instance with some sites of each plate; a boundary is lifted to the plates by how far away it lies.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from lvspec.ir.dims import ragged_plate
from lvspec.ir.reads import HERE, LAG, Read, reader_of
from lvspec.ir.spec import Spec, Variable

if TYPE_CHECKING:  # a tenth of a second, which specs that ask for no inverse need not wait for
    import networkx as nx

Node = tuple[str, tuple[int, ...]]  # a variable's site

SITES, UNORDERED = 7, 2  # of each plate in the unrolled instance
HERE_ONLY, BEFORE, THROUGH, FROM, WHOLE = "here", "before", "through", "from", "whole"


@dataclass(frozen=True)
class Reading:
    """A factor reads `name`: along each plate of it here, some sites before, a stretch, or all sites.

    back: which sites before. both: this site beside those. partial: a faithful factor would read more of its own sites than
    can be written.
    """

    name: str
    ways: tuple[tuple[str, str], ...]  # (plate, way), of every plate of what is read
    both: bool = False
    partial: bool = False
    back: tuple[int, ...] = (1,)


def boundary(graph: nx.DiGraph, node: Node, before: Iterable[Node]) -> list[Node]:
    """The Markov boundary of a node among others: those that it depends on given all the rest of them.

    They are where paths of the moral graph of all their ancestors end that lead from it through none of them: one walk.
    """
    others, found = set(before), set()
    family = _with_ancestors(graph, {node, *others})
    reached, married, left = {node}, set[Node](), [node]
    while left:
        here = left.pop()
        beside = set(graph.predecessors(here))
        for child in family.intersection(graph.successors(here)) - married:
            married.add(child)
            beside |= {child, *graph.predecessors(child)}
        found |= beside & others
        left += beside - others - reached
        reached |= beside
    return [n for n in before if n in found]


def _with_ancestors(graph: nx.DiGraph, nodes: set[Node]) -> set[Node]:
    found, left = set(nodes), list(nodes)
    while left:
        new = set(graph.predecessors(left.pop())) - found
        found |= new
        left += new
    return found


# ---------------------------------------------------------------- plates
def unrolled(spec: Spec) -> nx.DiGraph:
    """The model with a few sites of every plate."""
    import networkx as nx

    reader = reader_of(spec)
    graph: nx.DiGraph = nx.DiGraph()
    known = [v for v in spec.variables if v.role in ("latent", "observed", "given")]
    for v in known:
        graph.add_nodes_from((v.name, at) for at in _sites(spec, v))
    for v in known:
        for read in reader.of_variable(v) if v.role != "given" else ():
            source = spec.variable(read.name)
            for at in _sites(spec, v):
                graph.add_edges_from(((source.name, s), (v.name, at)) for s in _reached(spec, v, at, source, read))
    return graph


def _extent(spec: Spec, plate: str) -> int:
    return SITES if spec.plate(plate).ordered else UNORDERED


def _sites(spec: Spec, v: Variable) -> list[tuple[int, ...]]:
    return list(product(*(range(_extent(spec, p)) for p in v.plates)))


def _reached(spec: Spec, v: Variable, at: tuple[int, ...], source: Variable, read: Read) -> list[tuple[int, ...]]:
    """The sites of what is read, seen from one site."""
    here, places = dict(zip(v.plates, at, strict=True)), []
    for plate in source.plates:
        way, k = read.way(plate)
        every = range(_extent(spec, plate))
        if way == HERE and plate in here:
            places.append([here[plate]])
        elif way == LAG and plate in here:
            places.append([i for i in (here[plate] - k,) if i in every])
        elif plate in here and spec.plate(plate).ordered and source.role != "given":
            places.append(list(range(here[plate])))  # x[<t]
        else:
            places.append(list(every))
    return [s for s in product(*places) if (source.name, s) != (v.name, at)]


# ---------------------------------------------------------------- the inverse on plates
def draw_order(spec: Spec, latents: list[str]) -> list[tuple[str, ...]]:
    """Latents in the order in which q draws them, those of one chain together: what is deeper in the model comes first."""
    import networkx as nx

    reader = reader_of(spec)
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_nodes_from(latents)
    for name in latents:
        for read in reader.of_variable(spec.variable(name)):
            if read.name in latents:
                graph.add_edge(read.name, name)
    rank = {n: i for i, n in enumerate(latents)}
    groups = nx.condensation(graph)
    members = {g: tuple(sorted(groups.nodes[g]["members"], key=lambda n: -rank[n])) for g in groups}
    order = list(nx.lexicographical_topological_sort(groups, key=lambda g: rank[members[g][-1]]))
    deepest = [members[g] for g in reversed(order)]
    return sorted(deepest, key=lambda group: max(len(spec.variable(n).plates) for n in group))


def inverse(spec: Spec, latents: list[str]) -> dict[str, list[Reading]]:
    """What each factor of a minimal faithful inverse reads; latents that are not named are summed out of the model."""
    graph = unrolled(spec)
    before = [n for n in graph if spec.variable(n[0]).role != "latent"]
    found = {}
    for group in draw_order(spec, latents):
        ordered = [(n, at) for n in group for at in _sites(spec, spec.variable(n))]
        ordered.sort(key=lambda node: (_along(spec, node), group.index(node[0]), node[1]))
        for i, node in enumerate(ordered):
            middle = tuple(_extent(spec, p) // 2 for p in spec.variable(node[0]).plates)
            if node[1] == middle:
                found[node[0]] = _lifted(spec, node, boundary(graph, node, [*before, *ordered[:i]]), group)
        before += ordered
    return {n: found[n] for group in draw_order(spec, latents) for n in group}


def _along(spec: Spec, node: Node) -> tuple[int, ...]:
    """Where a site lies along its ordered plates."""
    return tuple(i for p, i in zip(spec.variable(node[0]).plates, node[1], strict=True) if spec.plate(p).ordered)


def _lifted(spec: Spec, node: Node, nodes: list[Node], group: tuple[str, ...]) -> list[Reading]:
    """A boundary as readings: the smallest stretch of each plate that holds it."""
    reader, found = spec.variable(node[0]), []
    here = dict(zip(reader.plates, node[1], strict=True))
    for name in dict.fromkeys(n for n, _ in nodes):
        plates = spec.variable(name).plates
        ways: list[tuple[str, str]] = []
        both, partial = False, False
        back: tuple[int, ...] = (1,)
        for i, plate in enumerate(plates):
            steps = {at[i] - here[plate] for n, at in nodes if n == name} if plate in here else set()
            way, ordered = _way(steps, spec.plate(plate).ordered), spec.plate(plate).ordered
            if name in group and steps != {0}:
                way, both = BEFORE if ordered else HERE_ONLY, 0 in steps and name != reader.name
                # as far back as the instance goes: perhaps all of them
                endless = not ordered or min(steps) < -1 and min(steps) == -here[plate]
                back = back if endless else tuple(sorted(-s for s in steps if s < 0))
                partial |= endless
            ways.append((plate, way))
        found.append(Reading(name, tuple(ways), both, partial, back))
    return found


def _way(steps: set[int], ordered: bool) -> str:
    """steps: none where the plate is not the reader's."""
    if not steps or not ordered and steps != {0}:
        return WHOLE
    if steps == {0}:
        return HERE_ONLY
    return FROM if min(steps) >= 0 else THROUGH if max(steps) <= 0 else WHOLE


def is_read(v: Variable) -> bool:
    """Whether it is data that a network can read: places, the sites of another plate, have no vectors of their own."""
    values = v.type.support.cardinality
    return v.role in ("observed", "given") and not v.outside_batch and (values is None or ragged_plate(values) is None)


def datum(v: Variable, shared: Container[str]) -> Reading:
    """How data are read, by the fixed plates that they share with what reads them."""
    return Reading(v.name, tuple((p, HERE_ONLY if p in shared else WHOLE) for p in v.plates))


def structured(spec: Spec, latents: list[str]) -> dict[str, list[Reading]]:
    """q that follows the model: each latent reads the latents that it reads under p, and all data."""
    reader = reader_of(spec)
    found: dict[str, list[Reading]] = {}
    seen: dict[tuple[str, ...], list[Reading]] = {}  # how the data are read, by the fixed plates of what reads them
    data = [v for v in spec.variables if is_read(v)]
    drawn = set(latents)
    for name in latents:
        shared = tuple(p for p in spec.variable(name).plates if not spec.plate(p).ragged)
        own = seen.get(shared)
        if own is None:
            own = seen[shared] = [datum(v, shared) for v in data]
        back: dict[tuple, set[int]] = {}  # by what is read, and how: which sites before
        for read in reader.of_variable(spec.variable(name)):
            if read.name in drawn:
                back_ways = tuple((p, {HERE: HERE_ONLY, LAG: BEFORE}.get(w, WHOLE)) for p, w, _ in read.ways)
                back.setdefault((read.name, back_ways), set()).update(k for _, w, k in read.ways if w == LAG)
        found[name] = [*own, *(Reading(n, ways, back=tuple(sorted(k)) or (1,)) for (n, ways), k in back.items())]
    return found


def mean_field(spec: Spec, latents: list[str]) -> dict[str, list[Reading]]:
    """q that reads the data, and no other latent."""
    drawn = {v.name for v in spec.of_role("latent")}
    return {n: [r for r in found if r.name not in drawn] for n, found in structured(spec, latents).items()}


FAMILIES = {"mean_field": mean_field, "structured": structured, "inverse": inverse}
