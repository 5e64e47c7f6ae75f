"""Trees over a sentence as a label for each word, which names a word: how they are read from data and shown.

heads   the word's head, the word itself at the root; in CoNLL-U heads count from 1, and 0 is the root
ends    the last word of the largest constituent that begins at the word; from bracketed trees, whose constituents of
        more than two parts are taken as branching to the right: (a b c d) is (a (b (c d)))
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lvspec.errors import UsageError
from lvspec.train.data.brackets import Span, gold_tree
from lvspec.train.data.values import plain, shown, symbol


@dataclass(frozen=True)
class TreeLabels:
    """labels: heads | ends."""

    labels: str

    def read(self, raw: Any) -> list[int | None]:
        """The label of each word; None where it is not known."""
        if self.labels == "ends":
            tree = gold_tree(str(raw))
            return list(ends_of(tree.spans, tree.words))
        found = raw.split() if isinstance(raw, str) else plain(raw)
        if not isinstance(found, list):
            raise UsageError(f"expected a list of heads, found {shown(found)}")
        return [_head(symbol(head), word, len(found)) for word, head in enumerate(found)]

    def show(self, labels: np.ndarray) -> list[int]:
        """Heads as CoNLL-U counts them; ends as they are."""
        if self.labels == "ends":
            return labels.tolist()
        return heads_of(labels)

    def to_json(self) -> dict:
        return {"kind": "trees", **asdict(self)}


def _head(head: str | None, word: int, words: int) -> int | None:
    if head is None:
        return None
    if not head.isdecimal() or int(head) > words:
        raise UsageError(f"{head[:40]!r} is no head: heads are numbers of words, 0 for the root")
    return word if int(head) == 0 else int(head) - 1


def heads_of(labels: np.ndarray) -> list[int]:
    """Each word's head, counted from 1, and 0 for the root."""
    return [0 if head == word else int(head) + 1 for word, head in enumerate(labels)]


def ends_of(spans: Iterable[Span], words: int) -> list[int]:
    """The last word of the largest constituent from each word on, of the tree with these spans (i, j), words i .. j - 1.

    A word that is not the first of the smallest span around it begins a right part, which runs to that span's end.
    """
    around = sorted(spans, key=lambda span: span[1] - span[0])
    return [next((j for i, j in around if i < word < j), words) - 1 for word in range(words)]


def spans_of_ends(ends: np.ndarray) -> list[Span]:
    """The spans (i, j), words i .. j - 1, of two words or more, of a binary tree by its labels."""
    found = {(0, len(ends))} if len(ends) else set()
    for word in range(1, len(ends)):
        first = max((i for i in range(word) if ends[i] >= ends[word]), default=0)
        found |= {(word, int(ends[word]) + 1), (first, word), (first, int(ends[word]) + 1)}
    return sorted(((i, j) for i, j in found if j - i > 1), key=lambda span: (span[0], -span[1]))
