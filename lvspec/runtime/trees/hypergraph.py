"""The k best derivations of a hypergraph, one after another and no more of them than are asked for.

Algorithm 3 of Huang & Chiang 2005, Better k-best parsing: a node's next derivation is the best of the candidates; where
it is given, those that take the next derivation of one of its parts become candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any

Edge = tuple[float, tuple[Hashable, ...]]  # what it adds to a score, and the nodes that it joins


@dataclass(frozen=True, order=True)
class Derivation:
    """By an edge into a node: which, and what it adds. loss: minus the score. parts: the nodes that it joins, each with
    how many derivations of it are better."""

    loss: float
    edge: int
    parts: tuple[tuple[Hashable, int], ...] = field(compare=False)
    weight: float = field(compare=False)


@dataclass
class HypergraphNode:
    """given: derivations in order, the best first. last: the one whose successors are not among the candidates yet."""

    given: list[Derivation]
    candidates: list[Derivation]
    seen: set[tuple]
    last: Derivation | None = None

    def complete(self) -> bool:
        return not self.candidates and self.last is None


@dataclass
class Forest:
    """edges(node): its k best, none of a leaf and none of score -inf. best(node): the score of its best derivation."""

    edges: Callable[[Any], Iterable[Edge]]
    best: Callable[[Any], float]
    nodes: dict[Hashable, HypergraphNode] = field(default_factory=dict)

    def derivations(self, name: Hashable, k: int) -> list[Derivation]:
        """The k best of a node, or as many as there are."""
        waiting = [(name, k)]  # a list and no recursion: derivations may be deeper than Python's stack
        while waiting:
            wanted, count = waiting[-1]
            node = self.node(wanted)
            if len(node.given) >= count or node.complete():
                waiting.pop()
            elif node.last is None:
                node.last = heappop(node.candidates)
                node.given.append(node.last)
            elif unknown := [(p, r + 2) for p, r in node.last.parts if not self.known(p, r + 1)]:
                waiting.extend(unknown)
            else:
                self.succeed(node)
        return self.node(name).given[:k]

    def node(self, name: Hashable) -> HypergraphNode:
        if name not in self.nodes:
            edges = enumerate(self.edges(name))
            firsts = [self.derivation(edge, tuple((p, 0) for p in parts), weight) for edge, (weight, parts) in edges]
            heapify(firsts)
            self.nodes[name] = HypergraphNode([], firsts, {(d.edge, d.parts) for d in firsts})
        return self.nodes[name]

    def known(self, name: Hashable, rank: int) -> bool:
        """Whether it is settled what the derivation of that rank is, or that there is none."""
        node = self.node(name)
        return len(node.given) > rank or node.complete()

    def succeed(self, node: HypergraphNode) -> None:
        """The candidates that follow the last derivation given: the next one of each of its parts in turn."""
        last, node.last = node.last, None
        assert last is not None
        for i, (name, rank) in enumerate(last.parts):
            parts = (*last.parts[:i], (name, rank + 1), *last.parts[i + 1 :])
            if len(self.node(name).given) > rank + 1 and (last.edge, parts) not in node.seen:
                node.seen.add((last.edge, parts))
                heappush(node.candidates, self.derivation(last.edge, parts, last.weight))

    def derivation(self, edge: int, parts: tuple[tuple[Hashable, int], ...], weight: float) -> Derivation:
        return Derivation(-weight - sum(self.score(*p) for p in parts), edge, parts, weight)

    def score(self, name: Hashable, rank: int) -> float:
        return self.best(name) if rank == 0 else -self.node(name).given[rank].loss
