"""In which order variables are summed out of a product of factors, so that few of them meet at a time.

    Σ_abcd f(a, b) g(b, c) h(c, d)        a, b, c, d: two axes meet in each step, however long the path

A step multiplies the factors that speak of one variable and sums it out; what it makes speaks of the others that met.
The best order is hard to find (its widest step is the graph's treewidth plus one): of the story's own order, its reverse,
and two greedy ones the one with the least work is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, prod

WIDE = 16  # neighbours beyond which a greedy order does not count the pairs that a step would join


@dataclass(frozen=True)
class SumStep:
    """`axis` is summed out where it meets the others of `clique`, which it is one of."""

    axis: str
    clique: frozenset[str]


def elimination_steps(
    scopes: Iterable[Iterable[str]], summed: Sequence[str], length: Callable[[str], float]
) -> tuple[SumStep, ...]:
    """The steps that sum `summed`, in the order of the story, out of factors over these axes; other axes stay.

    O(n²) comparisons of numbers for n axes. length: how many values an axis has.
    """
    cliques = [frozenset(s) for s in scopes]
    axes = dict.fromkeys([*summed, *(a for s in cliques for a in sorted(s))])
    lengths = {a: float(length(a)) for a in axes}
    beside: dict[str, set[str]] = {a: set() for a in axes}
    for clique in cliques:
        for axis in clique:
            beside[axis] |= clique - {axis}
    greedy = [_greedy(summed, _copy(beside), lengths, fewest) for fewest in (False, True)]
    best = min(greedy, key=lambda steps: work(steps, lengths.__getitem__))
    for order in (summed[::-1], summed):
        best = _along(order, _copy(beside), lengths, work(best, lengths.__getitem__)) or best
    return best


def work(steps: Iterable[SumStep], length: Callable[[str], float]) -> float:
    """Multiply-adds of the steps: the sizes of their cliques."""
    return sum(prod(length(a) for a in step.clique) for step in steps)


def meeting_order(scopes: Sequence[frozenset[str]], entries: Callable[[frozenset[str]], float]) -> list[int]:
    """In which order the factors of a step are multiplied: the two of the smallest product first, then what widens it least.
    entries: of a table with these axes."""
    rest = list(range(len(scopes)))
    pairs = combinations(rest, 2)
    order = list(min(pairs, key=lambda pair: entries(scopes[pair[0]] | scopes[pair[1]]), default=rest))
    together: frozenset[str] = frozenset().union(*(scopes[i] for i in order))
    while rest := [i for i in rest if i not in order]:
        order.append(min(rest, key=lambda i: entries(together | scopes[i])))
        together |= scopes[order[-1]]
    return order


def _copy(beside: dict[str, set[str]]) -> dict[str, set[str]]:
    return {a: set(others) for a, others in beside.items()}


def eliminated(axis: str, beside: dict[str, set[str]]) -> SumStep:
    """Sums an axis out of a graph: those beside it are beside one another from then on."""
    others = beside.pop(axis)
    for other in others:
        beside[other] |= others
        beside[other] -= {axis, other}
    return SumStep(axis, frozenset({axis, *others}))


def _along(
    order: Sequence[str], beside: dict[str, set[str]], lengths: dict[str, float], limit: float
) -> tuple[SumStep, ...] | None:
    """The steps in this order; None as soon as they are more work than the limit."""
    steps, done = [], 0.0
    for axis in order:
        done += lengths[axis] * prod(lengths[a] for a in beside[axis])
        if done > limit:
            return None
        steps.append(eliminated(axis, beside))
    return tuple(steps)


def _greedy(
    summed: Sequence[str], beside: dict[str, set[str]], lengths: dict[str, float], fewest: bool
) -> tuple[SumStep, ...]:
    """The smallest step first; with `fewest`, the one that joins the fewest pairs of others."""
    place = {a: i for i, a in enumerate(summed)}

    def score(axis: str) -> tuple[float, float, int]:
        size = lengths[axis] * prod(lengths[a] for a in beside[axis])
        joins = _joins(axis, beside)
        return (joins, size, place[axis]) if fewest else (size, joins, place[axis])

    scores = {a: score(a) for a in summed}
    steps = []
    while scores:
        axis = min(scores, key=scores.__getitem__)
        del scores[axis]
        steps.append(eliminated(axis, beside))
        scores |= {a: score(a) for a in steps[-1].clique if a in scores}
    return tuple(steps)


def _joins(axis: str, beside: dict[str, set[str]]) -> float:
    """How many pairs of neighbours are not beside one another yet."""
    others = beside[axis]
    if len(others) > WIDE:
        return comb(len(others), 2)
    joined = sum(len(beside[a] & others) for a in others)
    return comb(len(others), 2) - joined // 2
