"""The dependency graph: an edge parent → child for each way in which the child's factor reaches the parent.

    hmm     z → z (t: lag 1)     z → x (t: here)

Let variables are looked through, so the graph is that of the random variables. Strategies are selected from it.
"""

from __future__ import annotations

import networkx as nx

from lvspec.ir.reads import LAG, Read, Reader
from lvspec.ir.spec import Spec, Variable

RANDOM = ("latent", "observed")


def dependency_graph(spec: Spec) -> nx.MultiDiGraph:
    """Nodes: variable names with their `role`. Edges: `read`, how the child reaches the parent's sites."""
    graph = nx.MultiDiGraph()
    reader = Reader(spec, spec.guide)
    for variable in spec.variables:
        if variable.role != "let":
            graph.add_node(variable.name, role=variable.role)
    for variable in spec.variables:
        if variable.role in RANDOM:
            for read in reader.of_variable(variable):
                graph.add_edge(read.name, variable.name, read=read)
    return graph


def guide_reads(spec: Spec) -> dict[str, tuple[Read, ...]]:
    """What each written q-factor reads, by the latent's name."""
    reader = Reader(spec, spec.guide)
    return {v.name: reader.of_variable(v) for v in spec.guide if v.role == "guide"}


def reads_of(graph: nx.MultiDiGraph, name: str) -> list[Read]:
    """How a variable's factor reaches its parents."""
    return [read for _, _, read in graph.in_edges(name, data="read")]


def readers_of(graph: nx.MultiDiGraph, spec: Spec, name: str) -> list[tuple[Variable, Read]]:
    """Variables whose factor reads `name`, once for each way."""
    return [(spec.variable(child), read) for _, child, read in graph.out_edges(name, data="read")]


def connected(graph: nx.MultiDiGraph, names: list[str]) -> list[tuple[str, ...]]:
    """The latents of `names` in groups that factors connect, given all other variables (moralised, then split)."""
    moral = nx.Graph()
    moral.add_nodes_from(names)
    for child in graph:
        scope = [n for n in names if n == child or graph.has_edge(n, child)]
        moral.add_edges_from(zip(scope, scope[1:], strict=False))
    return [tuple(n for n in names if n in group) for group in nx.connected_components(moral)]


def lagged_plates(graph: nx.MultiDiGraph, name: str) -> list[str]:
    """The ordered plates along which some factor reads an earlier site of `name`."""
    reads = [read for _, _, read in graph.out_edges(name, data="read")]
    return list(dict.fromkeys(plate for read in reads for plate, way, _ in read.ways if way == LAG))
