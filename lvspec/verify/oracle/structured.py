"""log p of a whole sequence under a distribution over structures, structure by structure.

Every structure is named; its score is the sum of its parts' scores, read off the arguments as the family defines them.
`rows`: the arguments as they are at each site (those that do not vary are the same in each).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, reduce
from itertools import product
from operator import add

import torch
from torch import Tensor

Rows = list[dict[str, Tensor]]
Known = list[int | None] | None


def structure_score(family: str, values: list[int], rows: Rows, borders: list[int] | None) -> Tensor:
    """log p of the values but for `log_normaliser`. borders: of segments, whether one begins at each site but the
    first; None: summed."""
    if family == "SemiMarkov":
        if borders is not None:
            return _segments_score(values, rows, borders)
        every = product((0, 1), repeat=len(rows) - 1)
        return torch.logsumexp(torch.stack([_segments_score(values, rows, list(cut)) for cut in every]), 0)
    return FAMILIES[family](values, rows)


def log_normaliser(family: str, rows: Rows, known: Known = None) -> Tensor:
    """log Σ of exp score over everything that the values could be, given those that are known; 0 where scores are
    log-probabilities."""
    scores = scored_labellings(family, rows, known or [None] * len(rows))
    return torch.logsumexp(torch.stack(scores), 0) if scores else torch.zeros((), dtype=torch.float64)


def expected_log_probability(family: str, rows: Rows, known: Known) -> Tensor:
    """Σ_z p(z) log p(z), of labels that say which structure it is."""
    scores = torch.stack(scored_labellings(family, rows, known))
    log_p = (scores - torch.logsumexp(scores, 0))[scores > -torch.inf]
    return (log_p.exp() * log_p).sum()


def scored_labellings(family: str, rows: Rows, given: Known) -> list[Tensor]:
    """The score of every labelling that has the given values, of every segmentation where there are several."""
    known = given or [None] * len(rows)
    if family == "LinearChain":
        labels_of = range(len(rows[0]["unary"]))
        every = product(*[labels_of if k is None else [k] for k in known])
        return [_labels_score(labels, rows) for labels in every]
    if family == "SemiMarkov":
        states, longest = rows[0]["length"].shape
        return [
            _segment_scores(labels, lengths, rows)
            for lengths in segmentations(len(rows), longest)
            for labels in product(range(states), repeat=len(lengths))
            if _agrees([k for k, n in zip(labels, lengths, strict=True) for _ in range(n)], known)
        ]
    if family in TREES:
        trees = [parts for labels, parts in labelled_trees(family, len(rows)) if _agrees(labels, known)]
        return [_parts_score(family, rows, parts) for parts in trees]
    return []


def _agrees(labels: list[int], known: list[int | None]) -> bool:
    return all(k is None or k == label for label, k in zip(labels, known, strict=True))


def _labels_score(labels, rows: Rows) -> Tensor:
    unary = sum(row["unary"][k] for row, k in zip(rows, labels, strict=True))
    return unary + _entries(rows[0]["pairwise"], labels[:-1], labels[1:])


def _entries(table: Tensor, i: Sequence[int], j: Sequence[int]) -> Tensor:
    """Σ table[i, j] over pairs: one operation, since each that a score takes has a gradient of its own to pay for."""
    return table[torch.tensor(i, dtype=torch.long), torch.tensor(j, dtype=torch.long)].sum()


def segmentations(length: int, longest: int) -> list[list[int]]:
    """The lengths of segments that add up to `length`, each at most `longest`."""
    if length == 0:
        return [[]]
    return [[n, *rest] for n in range(1, min(length, longest) + 1) for rest in segmentations(length - n, longest)]


def _segment_scores(labels, lengths: list[int], rows: Rows) -> Tensor:
    start, transition, length = (rows[0][n] for n in ("start", "transition", "length"))
    total = start[labels[0]] + _entries(length, labels, [n - 1 for n in lengths])
    return total + _entries(transition, labels[:-1], labels[1:]) if len(labels) > 1 else total


def _segments_score(values: list[int], rows: Rows, borders: list[int]) -> Tensor:
    """States of sites with the borders of their segments; -inf where a segment has two states or is too long."""
    first = [0, *(i for i, border in enumerate(borders, start=1) if border)]
    lengths = [b - a for a, b in zip(first, [*first[1:], len(rows)], strict=True)]
    labels = [values[i] for i in first]
    told = [k for k, n in zip(labels, lengths, strict=True) for _ in range(n)]
    if told != values or max(lengths) > rows[0]["length"].shape[1]:
        return torch.tensor(-torch.inf, dtype=torch.float64)
    return _segment_scores(labels, lengths, rows)


# ---------------------------------------------------------------- yields
def binary_trees(first: int, after: int) -> list[tuple[tuple[int, int, int], ...]]:
    """Every binary tree over the words first .. after - 1, as its inner nodes, the root first."""
    if after - first == 1:
        return [()]
    return [
        ((first, after, split), *left, *right)
        for split in range(first + 1, after)
        for left in binary_trees(first, split)
        for right in binary_trees(split, after)
    ]


def _pcfg(values: list[int], rows: Rows) -> Tensor:
    """Σ over trees and over symbols at their nodes of the product of the rules."""
    root = torch.log_softmax(rows[0]["root"], 0)
    rules = rows[0]["rules"]
    rules = torch.log_softmax(rules.reshape(len(root), -1), 1).reshape(rules.shape)
    return _derivations(values, root, rules, torch.log_softmax(rows[0]["terminals"], 1))


def _low_rank_pcfg(values: list[int], rows: Rows) -> Tensor:
    """The same of rules p(a -> l r) = Σ_q p(q | a) p(l | q) p(r | q)."""
    head, left, right = (torch.softmax(rows[0][n], 1) for n in ("head", "left", "right"))
    rules = torch.stack([torch.stack([torch.outer(a, b) for a, b in zip(left, right, strict=True)])] * len(head))
    rules = (head[:, :, None, None] * rules).sum(1).log()
    return _derivations(
        values, torch.log_softmax(rows[0]["root"], 0), rules, torch.log_softmax(rows[0]["terminals"], 1)
    )


def _derivations(values: list[int], root: Tensor, rules: Tensor, terminals: Tensor) -> Tensor:
    """log Σ over trees, and symbols of all of their nodes: a tree's table has an axis for each node, so that every labelling
    stands in it once."""
    N, scores = len(root), []
    for tree in binary_trees(0, len(values)):
        if not tree:
            continue
        nodes = [(a, b) for a, b, _ in tree] + [(i, i + 1) for i in range(len(values))]
        score = _along(nodes, root, tree[0][:2])
        for a, b, m in tree:
            left, right = (slice(N) if j - i > 1 else slice(N, None) for i, j in ((a, m), (m, b)))
            score = score + _along(nodes, rules[:, left, right], (a, b), (a, m), (m, b))
        for i, x in enumerate(values):
            score = score + _along(nodes, terminals[:, x], (i, i + 1))
        scores.append(score.flatten())
    return torch.logsumexp(torch.cat(scores), 0) if scores else torch.tensor(-torch.inf, dtype=torch.float64)


def _along(nodes: list[tuple[int, int]], part: Tensor, *read: tuple[int, int]) -> Tensor:
    """A part of the score, its axes at the places of the nodes whose symbols it reads."""
    places = [nodes.index(node) for node in read]
    shape = [1] * len(nodes)
    for place, size in zip(places, part.shape, strict=True):
        shape[place] = size
    return part.permute(sorted(range(len(read)), key=places.__getitem__)).reshape(shape)


def single_root_heads(length: int) -> list[tuple[int, ...]]:
    """Every tree with one root: the head of each word, -1 of the root."""
    every = [heads for heads in product(range(-1, length), repeat=length) if heads.count(-1) == 1]
    return [heads for heads in every if all(_reaches(heads, m, heads.index(-1)) for m in range(length))]


def projective_heads(length: int) -> list[tuple[int, ...]]:
    """Every projective tree with one root: the head of each word, -1 of the root."""

    def dominated(heads, word: int, head: int) -> bool:
        while word != head and word >= 0:
            word = heads[word]
        return word == head

    def is_tree(heads) -> bool:
        if heads.count(-1) != 1 or any(h == m for m, h in enumerate(heads)):
            return False
        root = heads.index(-1)
        return all(_reaches(heads, m, root) for m in range(length)) and all(
            dominated(heads, between, h)
            for m, h in enumerate(heads)
            if h >= 0
            for between in range(min(h, m) + 1, max(h, m))
        )

    return [heads for heads in product(range(-1, length), repeat=length) if is_tree(heads)]


def _reaches(heads, word: int, root: int) -> bool:
    for _ in heads:
        word = word if word == root else heads[word]
    return word == root


def _dmv(values: list[int], rows: Rows) -> Tensor:
    """Σ over trees: each head goes on and attaches, from the nearest modifier outwards, and stops, on both sides."""
    root = torch.log_softmax(rows[0]["root"], 0)
    stop, attach = (torch.log_softmax(rows[0][n], -1) for n in ("stop", "attach"))
    scores = []
    for heads in projective_heads(len(values)):
        score = root[values[heads.index(-1)]]
        for head, tag in enumerate(values):
            left = [m for m in reversed(range(head)) if heads[m] == head]
            right = [m for m in range(head + 1, len(values)) if heads[m] == head]
            for side, modifiers in enumerate((left, right)):
                for i, m in enumerate(modifiers):
                    score = score + stop[tag, side, min(i, 1), 0] + attach[tag, side, values[m]]
                score = score + stop[tag, side, min(len(modifiers), 1), 1]
        scores.append(score)
    return torch.logsumexp(torch.stack(scores), 0)


def _ctc(values: list[int], rows: Rows) -> Tensor:
    """Σ over what the frames name, of all that spells the values: repeats merged, then blanks left out."""
    frames, blank = rows[0]["logits"], rows[0]["logits"].shape[-1]
    table = torch.log_softmax(torch.cat([frames, rows[0]["blank"].unsqueeze(-1)], -1), -1)
    scores, none = [], torch.zeros((), dtype=torch.float64)
    for named in product(range(blank + 1), repeat=len(frames)):
        merged = [k for i, k in enumerate(named) if i == 0 or k != named[i - 1]]
        if [k for k in merged if k != blank] == values:
            scores.append(sum((table[t, k] for t, k in enumerate(named)), start=none))
    return torch.logsumexp(torch.stack(scores), 0) if scores else torch.tensor(-torch.inf, dtype=torch.float64)


# ---------------------------------------------------------------- trees by labels of their words
@cache
def labelled_trees(family: str, length: int) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Every tree over so many words: their labels, and the parts whose scores it adds up, (word, entry of its scores)."""
    if family == "TreeCRF":
        return [_brackets(tree, length) for tree in binary_trees(0, length)]
    every = projective_heads(length) if family == "DependencyCRF" else single_root_heads(length)
    labels = [[m if h < 0 else h for m, h in enumerate(heads)] for heads in every]
    return [(found, list(enumerate(found))) for found in labels]


def _brackets(tree, length: int) -> tuple[list[int], list[tuple[int, int]]]:
    """The end of the widest constituent from each word on; all constituents."""
    spans = [(a, b - 1) for a, b, _ in tree] + [(i, i) for i in range(length)]
    return [max(b for a, b in spans if a == i) for i in range(length)], spans


@cache
def _parts_of(family: str, length: int) -> dict[tuple[int, ...], list[tuple[int, int]]]:
    """The parts of the tree that has these labels; labels that are not here have none."""
    return {tuple(labels): parts for labels, parts in labelled_trees(family, length)}


def _parts_score(family: str, rows: Rows, parts: list[tuple[int, int]]) -> Tensor:
    return reduce(add, (rows[t]["spans" if family == "TreeCRF" else "arcs"][k] for t, k in parts))


def _tree_score(family: str):
    def score(values: list[int], rows: Rows) -> Tensor:
        parts = _parts_of(family, len(rows)).get(tuple(values))
        impossible = torch.tensor(-torch.inf, dtype=torch.float64)
        return impossible if parts is None else _parts_score(family, rows, parts)

    return score


TREES = ("DependencyCRF", "NonProjectiveCRF", "TreeCRF")
FAMILIES = {name: _tree_score(name) for name in TREES}
FAMILIES |= {"LinearChain": _labels_score, "PCFG": _pcfg, "LowRankPCFG": _low_rank_pcfg, "DMV": _dmv, "CTC": _ctc}
