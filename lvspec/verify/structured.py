"""log p of a whole sequence under a distribution over structures, structure by structure.

Every structure is named; its score is the sum of its parts' scores, read off the arguments as the family defines them.
`rows`: the arguments as they are at each site (those that do not vary are the same in each).
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

Rows = list[dict[str, Tensor]]


def structure_log_prob(family: str, values: list[int], rows: Rows) -> Tensor:
    return FAMILIES[family](values, rows)


def _linear_chain(values: list[int], rows: Rows) -> Tensor:
    """score(z) - log Σ_z' exp score(z'): all labellings."""

    def score(labels) -> Tensor:
        unary = sum(row["unary"][k] for row, k in zip(rows, labels, strict=True))
        return unary + sum(rows[0]["pairwise"][a, b] for a, b in zip(labels, labels[1:], strict=False))

    states = len(rows[0]["unary"])
    every = [score(labels) for labels in product(range(states), repeat=len(rows))]
    return score(values) - torch.logsumexp(torch.stack(every), 0)


def segmentations(length: int, longest: int) -> list[list[int]]:
    """The lengths of segments that add up to `length`, each at most `longest`."""
    if length == 0:
        return [[]]
    return [[n, *rest] for n in range(1, min(length, longest) + 1) for rest in segmentations(length - n, longest)]


def _semi_markov(values: list[int], rows: Rows) -> Tensor:
    """Labels of sites: the sum over all segmentations that give them, over that of all segmentations."""
    start, transition, length = (rows[0][n] for n in ("start", "transition", "length"))
    states, longest = length.shape
    consistent, every = [], []
    for lengths in segmentations(len(rows), longest):
        for labels in product(range(states), repeat=len(lengths)):
            score = start[labels[0]] + sum(length[k, n - 1] for k, n in zip(labels, lengths, strict=True))
            score = score + sum(transition[a, b] for a, b in zip(labels, labels[1:], strict=False))
            every.append(score)
            if [k for k, n in zip(labels, lengths, strict=True) for _ in range(n)] == values:
                consistent.append(score)
    joint = torch.logsumexp(torch.stack(every), 0)
    if not consistent:
        return torch.full_like(joint, -torch.inf)
    return torch.logsumexp(torch.stack(consistent), 0) - joint


FAMILIES = {"LinearChain": _linear_chain, "SemiMarkov": _semi_markov}
