"""Hidden structures held against gold trees: best trees of a trained model beside trees without a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lvspec.errors import UsageError
from lvspec.train.data.brackets import F1, Span, bracketing, gold_tree, left_out
from lvspec.train.data.dataset import Dataset
from lvspec.train.data.tree_labels import heads_of, spans_of_ends
from lvspec.train.evaluation.attachment import Attachment, attachment
from lvspec.train.evaluation.gold import GoldLabels
from lvspec.train.evaluation.posteriors import Inferred, Latent

PUNCTUATION = frozenset((",", ".", ":", "``", "''", "-LRB-", "-RRB-", "PUNCT"))  # tags: Penn Treebank's and universal


def spans_of(table: np.ndarray) -> list[Span]:
    """(i, j), the words i .. j - 1, of a table of spans [first, last]; wide ones first at each place."""
    found = ((int(i), int(j) + 1) for i, j in np.argwhere(table))
    return sorted(found, key=lambda span: (span[0], -span[1]))


def compare_spans(
    inferred: Iterable[Inferred], latent: Latent, dataset: Dataset, gold: Sequence[GoldLabels], punctuation: bool = True
) -> dict[str, F1]:
    """F1 of the best trees. gold[i]: the bracketed tree of record i. punctuation: whether such words are part of trees."""
    pairs = []
    for one in inferred:
        given = gold[dataset.examples[one.row].index]
        if given.labels is None:
            continue
        with given.at():
            right, found = gold_tree(str(given.labels)), _mode(one, latent)
            _same_length(right.words, len(found), latent.name)
        kept = [punctuation or tag not in PUNCTUATION for tag in right.tags]
        spans, words = left_out(spans_of_ends(found) if latent.tree else spans_of(found), kept)
        pairs.append((spans, left_out(right.spans, kept)[0], words))
    return bracketing(pairs)


def compare_heads(
    inferred: Iterable[Inferred],
    latent: Latent,
    dataset: Dataset,
    gold: Sequence[GoldLabels],
    tags: Sequence[GoldLabels] | None = None,
) -> dict[str, Attachment]:
    """Heads of the best trees. gold[i]: the heads of record i, as CoNLL-U numbers them; tags: of its words, where those
    that are punctuation do not count."""
    sentences = []
    for one in inferred:
        index = dataset.examples[one.row].index
        given = gold[index]
        if given.labels is None:
            continue
        with given.at():
            heads, found = [_number(head) for head in given.labels], _mode(one, latent)
            _same_length(len(heads), len(found), latent.name)
        counted = [head is not None for head in heads]
        if tags is not None:
            counted = [c and tag not in PUNCTUATION for c, tag in zip(counted, tags[index].labels, strict=True)]
        sentences.append((heads_of(found) if latent.tree else found.tolist(), heads, counted))
    return attachment(sentences)


def _mode(one: Inferred, latent: Latent) -> np.ndarray:
    if latent.name not in one.mode:
        raise UsageError(f"the posterior of this model says nothing of {latent.name}")
    return one.mode[latent.name]


def _number(head: Any) -> int | None:
    if head is not None and not str(head).isdigit():
        raise UsageError(f"{str(head)[:40]!r} is no head: heads are numbers of words, 0 for the root")
    return None if head is None else int(head)


def _same_length(gold: int, found: int, name: str) -> None:
    if gold != found:
        raise UsageError(f"a gold tree of {gold} words for {found} words of {name}")
