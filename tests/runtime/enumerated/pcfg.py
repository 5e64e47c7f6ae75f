"""Every derivation of a sentence by a grammar whose nonterminals are rewritten as two symbols, preterminals as a word."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

Part = tuple[str, tuple[int, ...]]


def structures(length: int, nonterminals: int, preterminals: int) -> Iterator[list[Part]]:
    """Parts root[a]; rules[a, l, r], symbols counted from the nonterminals on; terminals[t, p]. Nothing derives a
    single word from the root, and a row without words counts as one derivation, which is empty."""
    if length == 0:
        yield []
        return
    for a in range(nonterminals):
        for rest in below(a, 0, length - 1, nonterminals, preterminals):
            yield [("root", (a,)), *rest]


def below(symbol: int, i: int, j: int, N: int, P: int) -> Iterator[list[Part]]:
    """The derivations of the words i .. j from a symbol."""
    if symbol >= N:
        if i == j:
            yield [("terminals", (i, symbol - N))]
        return
    for k in range(i, j):
        for l, r in product(range(N + P), repeat=2):
            for left in below(l, i, k, N, P):
                for right in below(r, k + 1, j, N, P):
                    yield [("rules", (symbol, l, r)), *left, *right]
