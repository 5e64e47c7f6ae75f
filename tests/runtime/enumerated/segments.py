"""Every segmentation of a sequence into segments with a state each."""

from __future__ import annotations

from collections.abc import Iterator

Part = tuple[str, tuple[int, ...]]


def structures(length: int, longest: int, states: int) -> Iterator[list[Part]]:
    """Segments of 1 .. longest sites: parts segment[t, l, k] of one that starts at t, has l + 1 sites and state k;
    start[k] of the first one; transition[j, k] between neighbours."""
    yield from after(0, None, length, longest, states)


def after(begin: int, state: int | None, length: int, longest: int, states: int) -> Iterator[list[Part]]:
    """What may follow a segment of `state` that ends before `begin`."""
    if begin == length:
        yield []
    for size in range(1, min(longest, length - begin) + 1):
        for k in range(states):
            link: Part = ("start", (k,)) if state is None else ("transition", (state, k))
            for rest in after(begin + size, k, length, longest, states):
                yield [link, ("segment", (begin, size - 1, k)), *rest]
