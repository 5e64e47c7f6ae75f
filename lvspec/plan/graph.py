"""The dependency graph: for each random variable, each way in which its factor reaches its parents.

    hmm     z → z (t: lag 1)     z → x (t: here)

Let variables are looked through, so the graph is that of the random variables. Strategies are selected from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

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

    @property
    def scopes(self) -> Iterator[tuple[str, ...]]:
        """The variables that each factor speaks of."""
        return ((child, *(r.name for r in reads)) for child, reads in self.reads.items())

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


def lagged_plates(graph: DependencyGraph, name: str) -> list[str]:
    """The ordered plates along which some factor reads an earlier site of `name`."""
    reads = [read for _, read in graph.readers(name)]
    return list(dict.fromkeys(plate for read in reads for plate, way, _ in read.ways if way == LAG))
