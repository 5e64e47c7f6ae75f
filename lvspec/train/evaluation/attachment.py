"""Dependency trees as the head of each word (1 for the first, 0 for the root), and how many heads are right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass
class Attachment:
    """directed: words whose head is right. undirected: words joined to their head by an arc of the gold tree,
    whichever way it points. words: how many were looked at."""

    words: int = 0
    directed: int = 0
    undirected: int = 0

    def add(self, found: Sequence[int], gold: Sequence[int | None], counted: Sequence[bool]) -> None:
        for word, (head, right) in enumerate(zip(found, gold, strict=True), start=1):
            if counted[word - 1]:
                self.words += 1
                self.directed += head == right
                self.undirected += head == right or (head > 0 and gold[head - 1] == word)


def right_branching(words: int) -> list[int]:
    """The word before is the head."""
    return list(range(words))


def left_branching(words: int) -> list[int]:
    """The word after is the head."""
    return [*range(2, words + 1), 0][:words]


def attachment(
    sentences: Iterable[tuple[Sequence[int], Sequence[int | None], Sequence[bool]]],
) -> dict[str, Attachment]:
    """Of (found heads, gold heads, which words count) of each sentence, and of trees without a model."""
    scores = {"found": Attachment(), "right-branching": Attachment(), "left-branching": Attachment()}
    for found, gold, counted in sentences:
        scores["found"].add(found, gold, counted)
        scores["right-branching"].add(right_branching(len(gold)), gold, counted)
        scores["left-branching"].add(left_branching(len(gold)), gold, counted)
    return scores
