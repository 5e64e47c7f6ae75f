"""Every binary tree over a sentence."""

from __future__ import annotations

from collections.abc import Iterator

Part = tuple[str, tuple[int, ...]]


def structures(length: int) -> Iterator[list[Part]]:
    """Parts spans[i, j], the words i .. j; a sentence without words has one tree, which is empty."""
    if length == 0:
        yield []
    else:
        yield from over(0, length - 1)


def over(i: int, j: int) -> Iterator[list[Part]]:
    """The trees over the words i .. j."""
    if i == j:
        yield [("spans", (i, i))]
    for k in range(i, j):
        for left in over(i, k):
            for right in over(k + 1, j):
                yield [("spans", (i, j)), *left, *right]
