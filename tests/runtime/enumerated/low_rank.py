"""Every derivation of a sentence by a grammar whose rules are sums over ranks, with the rank of each rule."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tests.runtime.enumerated import pcfg

Part = tuple[str, tuple[int, ...]]


def structures(length: int, nonterminals: int, preterminals: int, ranks: int) -> Iterator[list[Part]]:
    """Parts root[a]; head[a, q], left[q, l] and right[q, r] of each rule; terminals[t, p]."""
    for parts in pcfg.structures(length, nonterminals, preterminals):
        rules = [index for name, index in parts if name == "rules"]
        others = [part for part in parts if part[0] != "rules"]
        for chosen in product(range(ranks), repeat=len(rules)):
            yield others + [
                part
                for (a, left, right), q in zip(rules, chosen, strict=True)
                for part in (("head", (a, q)), ("left", (q, left)), ("right", (q, right)))
            ]
