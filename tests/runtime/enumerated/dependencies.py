"""Every dependency tree over a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

Part = tuple[str, tuple[int, ...]]


def structures(length: int, projective: bool, single_root: bool) -> Iterator[list[Part]]:
    """Parts arcs[head, modifier] over the words 1 .. length; head 0 is the root."""
    for heads in trees(length, projective, single_root):
        yield [("arcs", (head, word)) for word, head in enumerate(heads, 1)]


def trees(length: int, projective: bool, single_root: bool) -> Iterator[tuple[int, ...]]:
    """Heads of the words 1 .. length."""
    for heads in product(range(length + 1), repeat=length):
        if single_root and length and heads.count(0) != 1:
            continue
        if all(reaches_root(word, heads) for word in range(1, length + 1)) and not (projective and crosses(heads)):
            yield heads


def reaches_root(word: int, heads: tuple[int, ...]) -> bool:
    for _ in heads:
        word = heads[word - 1] if word else 0
    return word == 0


def crosses(heads: tuple[int, ...]) -> bool:
    spans = [(min(head, word), max(head, word)) for word, head in enumerate(heads, 1)]
    return any(a < c < b < d for a, b in spans for c, d in spans)
