"""Every labelling of a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

Part = tuple[str, tuple[int, ...]]


def structures(length: int, states: int, stepwise: bool = False) -> Iterator[list[Part]]:
    """z_0 .. z_{length-1}: parts unary[t, z_t] and pairwise[z_{t-1}, z_t], or pairwise[t-1, z_{t-1}, z_t] where each
    step has its own."""
    for labels in product(range(states), repeat=length):
        parts: list[Part] = [("unary", (t, label)) for t, label in enumerate(labels)]
        for t in range(1, length):
            pair = (labels[t - 1], labels[t])
            parts.append(("pairwise", (t - 1, *pair) if stepwise else pair))
        yield parts
