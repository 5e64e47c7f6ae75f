"""Every derivation of a sentence by the dependency model with valence."""

from __future__ import annotations

from collections.abc import Iterator

from tests.runtime.enumerated.dependencies import trees

Part = tuple[str, tuple[int, ...]]


def structures(length: int, valences: int = 2) -> Iterator[list[Part]]:
    """Parts root[word]; stop[head, side, v, decision]; attach[head, modifier, v], or v = 0 where valences = 1."""
    for heads in trees(length, projective=True, single_root=True):
        parts: list[Part] = [("root", (heads.index(0),))] if heads else []
        for head in range(length):
            below = [word for word, h in enumerate(heads) if h == head + 1]
            parts += generated(head, 0, [m for m in reversed(below) if m < head], valences)
            parts += generated(head, 1, [m for m in below if m > head], valences)
        yield parts


def generated(head: int, side: int, modifiers: list[int], valences: int) -> list[Part]:
    """What a head does on one side; modifiers from the nearest outwards."""
    parts: list[Part] = []
    for i, m in enumerate(modifiers):
        v = min(i, 1)
        parts += [("stop", (head, side, v, 0)), ("attach", (head, m, min(v, valences - 1)))]
    return [*parts, ("stop", (head, side, min(len(modifiers), 1), 1))]
