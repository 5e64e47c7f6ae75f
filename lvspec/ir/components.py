"""Graphs of names, walked without recursion: strongly connected components (Tarjan 1972), connected ones, sources before readers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def strongly_connected(sources: Mapping[str, Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """Of a graph given by what each node reads: sources before their readers, in the order of the nodes where that leaves
    a choice."""
    names = tuple(sources)
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    found: list[tuple[str, ...]] = []
    for root in names:
        if root in number:
            continue
        work = [(root, iter(sources[root]))]
        number[root] = low[root] = len(number)
        path.append(root)
        on_path.add(root)
        while work:
            node, rest = work[-1]
            step = next((s for s in rest if s not in number or s in on_path), None)
            if step is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    cut = path.index(node)
                    found.append(tuple(path[cut:]))
                    on_path.difference_update(path[cut:])
                    del path[cut:]
            elif step in number:
                low[node] = min(low[node], number[step])
            else:
                number[step] = low[step] = len(number)
                path.append(step)
                on_path.add(step)
                work.append((step, iter(sources[step])))
    return tuple(found)


def connected(names: Iterable[str], scopes: Iterable[Iterable[str]]) -> list[tuple[str, ...]]:
    """The names in groups that scopes join, in their order; what else stands in a scope joins nothing."""
    place = {name: i for i, name in enumerate(names)}
    beside: dict[str, list[str]] = {name: [] for name in place}
    for scope in scopes:
        for a, b in pairwise(sorted(place.keys() & set(scope), key=place.__getitem__)):
            beside[a].append(b)
            beside[b].append(a)
    groups = (
        tuple(sorted(group, key=place.__getitem__)) for group in strongly_connected(beside)
    )  # edges lead both ways
    return sorted(groups, key=lambda group: place[group[0]])


def sources_first(
    root: Node, sources: Callable[[Node], Iterable[Node]], done: Callable[[Node], bool]
) -> Iterator[Node]:
    """What a node stands on and is not done, each behind what it reads; the node itself comes last."""
    seen, path = {root}, [(root, iter(sources(root)))]
    while path:
        name, rest = path[-1]
        following = next((s for s in rest if s not in seen and not done(s)), None)
        if following is None:
            path.pop()
            yield name
        else:
            seen.add(following)
            path.append((following, iter(sources(following))))
