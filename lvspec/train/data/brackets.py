"""Constituency trees as sets of spans, and F1 between them: unlabelled, without spans that every tree has.

A span (i, j) holds the words i .. j - 1. Single words and the whole sentence are trivial and never count.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import accumulate
from math import comb

from lvspec.errors import UsageError

Span = tuple[int, int]
EMPTY = "-NONE-"  # the tag of what has no word
RANDOM = "random binary trees, expected"
_TOKEN = re.compile(r"[()]|[^\s()]+")


@dataclass(frozen=True)
class Gold:
    """A sentence's tree: how many words it has, its spans without the trivial ones, and the words' tags."""

    words: int
    spans: frozenset[Span]
    tags: tuple[str, ...]


def gold_tree(text: str) -> Gold:
    """A bracketed tree, `(S (NP (DT the) (NN cat)) (VP (VBD sat)))`; labels and empty elements are passed over."""
    tags: list[str] = []
    spans, starts = set(), []
    tokens = _TOKEN.findall(text)
    if not balanced(tokens):
        raise UsageError(f"no bracketed tree: {text[:60]!r}")
    for i, token in enumerate(tokens):
        if token == "(":
            starts.append(len(tags))
        elif token == ")":
            spans.add((starts.pop(), len(tags)))
        elif tokens[i - 2] == "(" and tokens[i - 1] not in ("(", ")") and tokens[i - 1] != EMPTY:
            tags.append(tokens[i - 1])
    return Gold(len(tags), nontrivial(spans, len(tags)), tuple(tags))


def balanced(tokens: list[str]) -> bool:
    """One bracket around everything, and every bracket closed."""
    depth = list(accumulate((t == "(") - (t == ")") for t in tokens))
    return bool(depth) and depth[-1] == 0 and all(d > 0 for d in depth[:-1])


def nontrivial(spans: Iterable[Span], words: int) -> frozenset[Span]:
    return frozenset((i, j) for i, j in spans if j - i > 1 and (i, j) != (0, words))


def left_out(spans: Iterable[Span], kept: Collection[bool]) -> tuple[frozenset[Span], int]:
    """(spans, words) of a tree when some of its words are taken away: kept[i] says whether word i stays."""
    before = [0]
    for keep in kept:
        before.append(before[-1] + bool(keep))
    return nontrivial(((before[i], before[j]) for i, j in spans), before[-1]), before[-1]


# ---------------------------------------------------------------- trees without a model
def right_branching(words: int) -> frozenset[Span]:
    """(a (b (c d)))"""
    return nontrivial(((i, words) for i in range(words)), words)


def left_branching(words: int) -> frozenset[Span]:
    """(((a b) c) d)"""
    return nontrivial(((0, j) for j in range(words + 1)), words)


def catalan(n: int) -> int:
    """How many binary trees n + 1 words have."""
    return comb(2 * n, n) // (n + 1)


def share_of_trees(span: Span, words: int) -> float:
    """The share of all binary trees over the words that have a span: those inside it times those around it."""
    width = span[1] - span[0]
    return catalan(width - 1) * catalan(words - width) / catalan(words - 1)


# ---------------------------------------------------------------- agreement
@dataclass
class F1:
    """Sentence F1: the mean over sentences of 2 hits / (found + gold), 1 where both have no span that counts;
    sentences of one word are passed over (Kim, Dyer & Rush 2019). Corpus F1: the same of all spans together."""

    sentences: int = 0
    total: float = 0.0
    hits: float = 0.0
    spans: int = 0

    def add(self, hits: float, found: int, gold: int, words: int) -> None:
        if words > 1:
            self.sentences += 1
            self.total += 2 * hits / (found + gold) if found + gold else 1.0
            self.hits += hits
            self.spans += found + gold

    @property
    def sentence(self) -> float:
        return self.total / self.sentences if self.sentences else 0.0

    @property
    def corpus(self) -> float:
        return 2 * self.hits / self.spans if self.spans else 0.0


def bracketing(pairs: Iterable[tuple[frozenset[Span], frozenset[Span], int]]) -> dict[str, F1]:
    """Of (found, gold, words) of each sentence: F1 of what was found, and of trees without a model on the same words.

    RANDOM is the expectation over all binary trees, each as likely as the others: F1 is linear in the hits, as
    every binary tree has words - 2 spans that count.
    """
    scores = {"found": F1(), "right-branching": F1(), "left-branching": F1(), RANDOM: F1()}
    for found, gold, words in pairs:
        for name, spans in (
            ("found", found),
            ("right-branching", right_branching(words)),
            ("left-branching", left_branching(words)),
        ):
            scores[name].add(len(spans & gold), len(spans), len(gold), words)
        chance = sum(share_of_trees(span, words) for span in gold)
        scores[RANDOM].add(chance, max(0, words - 2), len(gold), words)
    return scores


def shown(words: list[str], spans: Iterable[Span]) -> str:
    """Words with the brackets of a tree: `((the cat) (sat down))`. Spans of one word get none."""
    opened, closed = [0] * (len(words) + 1), [0] * (len(words) + 1)
    for i, j in {(i, j) for i, j in spans if j - i > 1} | {(0, len(words))}:
        opened[i] += 1
        closed[j] += 1
    return " ".join("(" * opened[i] + word + ")" * closed[i + 1] for i, word in enumerate(words)) or "()"
