"""The dependency graph: for each random variable, each way in which its factor reaches its parents.

    hmm     z → z (t: lag 1)     z → x (t: here)

Let variables are looked through, so the graph is that of the random variables. Strategies are selected from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from lvspec.ir.components import strongly_connected
from lvspec.ir.reads import LAG, Read, reader_of
from lvspec.ir.spec import Spec, Variable

RANDOM = ("latent", "observed")


@dataclass(frozen=True)
class DependencyGraph:
    """reads: how each variable's factor reaches the sites of its parents; nothing of what is given."""

    reads: dict[str, tuple[Read, ...]]

    @cached_property
    def _readers(self) -> dict[str, list[tuple[str, Read]]]:
        found: dict[str, list[tuple[str, Read]]] = {}
        for child, reads in self.reads.items():
            for read in reads:
                found.setdefault(read.name, []).append((child, read))
        return found

    def readers(self, name: str) -> list[tuple[str, Read]]:
        """Variables whose factor reads `name`, once for each way."""
        return self._readers.get(name, [])


def dependency_graph(spec: Spec) -> DependencyGraph:
    reader = reader_of(spec, spec.guide)
    variables = [v for v in spec.variables if v.role != "let"]
    return DependencyGraph({v.name: reader.of_variable(v) if v.role in RANDOM else () for v in variables})


def guide_reads(spec: Spec) -> dict[str, tuple[Read, ...]]:
    """What each written q-factor reads, by the latent's name."""
    reader = reader_of(spec, spec.guide)
    return {v.name: reader.of_variable(v) for v in spec.guide if v.role == "guide"}


def reads_of(graph: DependencyGraph, name: str) -> list[Read]:
    """How a variable's factor reaches its parents, parent by parent."""
    reads = graph.reads.get(name, ())
    return [read for parent in dict.fromkeys(r.name for r in reads) for read in reads if read.name == parent]


def readers_of(graph: DependencyGraph, spec: Spec, name: str) -> list[tuple[Variable, Read]]:
    """Variables whose factor reads `name`, once for each way."""
    return [(spec.variable(child), read) for child, read in graph.readers(name)]


def connected(graph: DependencyGraph, names: list[str]) -> list[tuple[str, ...]]:
    """The latents of `names` in groups that factors connect, given all other variables (moralised, then split)."""
    place = {name: i for i, name in enumerate(names)}
    neighbours: dict[str, list[str]] = {name: [] for name in names}
    for child, reads in graph.reads.items():
        parents = {read.name for read in reads}
        scope = sorted((parents | {child}) & set(place), key=place.__getitem__)
        for a, b in zip(scope, scope[1:], strict=False):
            neighbours[a].append(b)
            neighbours[b].append(a)
    groups = strongly_connected(neighbours)  # every edge leads both ways
    return sorted((tuple(sorted(g, key=place.__getitem__)) for g in groups), key=lambda group: place[group[0]])


def lagged_plates(graph: DependencyGraph, name: str) -> list[str]:
    """The ordered plates along which some factor reads an earlier site of `name`."""
    reads = [read for _, read in graph.readers(name)]
    return list(dict.fromkeys(plate for read in reads for plate, way, _ in read.ways if way == LAG))
