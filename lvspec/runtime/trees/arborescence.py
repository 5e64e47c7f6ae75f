"""The best tree from a root, by Chu and Liu (1965) and Edmonds (1967): take each word's best head; where heads form a
cycle, contract it to one word, whose best head breaks it where that costs least."""

from __future__ import annotations

from math import inf


def best_heads(scores: list[list[float]]) -> list[int] | None:
    """Of scores [head][modifier] over the root 0 and the words 1 ..: each word's head, None where there is no tree."""
    n = len(scores)
    heads = [0] + [
        max((h for h in range(n) if h != m), key=[row[m] for row in scores].__getitem__) for m in range(1, n)
    ]
    if any(scores[heads[m]][m] == -inf for m in range(1, n)):
        return None
    cycle = cycle_of(heads)
    if not cycle:
        return heads[1:]
    others = [v for v in range(n) if v not in cycle]
    leaving = [max(cycle, key=[row[m] for row in scores].__getitem__) for m in others]
    gains = {v: scores[heads[v]][v] for v in cycle}
    gained = [{v: scores[h][v] - gains[v] for v in cycle} for h in others]
    entering = [max(cycle, key=of.__getitem__) for of in gained]
    smaller = [
        [scores[h][m] for m in others] + [scores[h][entered] - gains[entered]]
        for h, entered in zip(others, entering, strict=True)
    ]
    smaller.append([scores[u][m] for u, m in zip(leaving, others, strict=True)] + [-inf])
    found = best_heads(smaller)
    if found is None:
        return None
    *of_others, of_cycle = found
    for m, u, h in zip(others[1:], leaving[1:], of_others, strict=True):
        heads[m] = u if h == len(others) else others[h]
    heads[entering[of_cycle]] = others[of_cycle]
    return heads[1:]


def cycle_of(heads: list[int]) -> list[int]:
    """The words of a cycle, none where every word descends from 0."""
    settled = {0}
    for start in range(1, len(heads)):
        path, v = [], start
        while v not in settled and v not in path:
            path.append(v)
            v = heads[v]
        if v in path:
            return path[path.index(v) :]
        settled.update(path)
    return []
