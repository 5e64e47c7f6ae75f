"""Every binary tree over a sentence."""

from __future__ import annotations

from collections.abc import Iterator

Part = tuple[str, tuple[int, ...]]


def structures(length: int, largest: bool = False) -> Iterator[list[Part]]:
    """Parts spans[i, j], the words i .. j; a sentence without words has one tree, which is empty. largest: with parts
    largest[i, j], of spans that no wider one begins with."""
    if length == 0:
        yield []
        return
    for tree in over(0, length - 1):
        ends = {i: max(j for _, (first, j) in tree if first == i) for i in range(length)}
        yield tree + [("largest", (i, j)) for i, j in ends.items()] if largest else tree


def over(i: int, j: int) -> Iterator[list[Part]]:
    """The trees over the words i .. j."""
    if i == j:
        yield [("spans", (i, i))]
    for k in range(i, j):
        for left in over(i, k):
            for right in over(k + 1, j):
                yield [("spans", (i, j)), *left, *right]
