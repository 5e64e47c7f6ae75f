"""Predictions held against labels: latents that data label, inferred while the labels are hidden from the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lvspec.train.data.dataset import Dataset, known, real_sites
from lvspec.train.data.encoders import Encoder, Symbols
from lvspec.train.data.layout import BatchLayout
from lvspec.train.evaluation.posteriors import Inferred


@dataclass(frozen=True)
class Accuracy:
    """How many labels the mode has right, and in how many examples it has all of them right."""

    labels: int = 0
    right: int = 0
    examples: int = 0
    whole: int = 0


def labelled(layout: BatchLayout) -> tuple[str, ...]:
    """The latents with a place in the data."""
    return tuple(f.name for f in layout.fields if not f.required)


def accuracy(inferred: Iterable[Inferred], name: str, dataset: Dataset, encoder: Encoder, by: str = "mode") -> Accuracy:
    """The joint mode of latent `name` (by="mode"), or each site's most probable value (by="marginals"), against its labels in
    `dataset`. Missing labels count nowhere; one that training never saw (<unk>) is never right."""
    labels = right = examples = whole = 0
    for one in inferred:
        gold, seen = gold_labels(dataset, one.row, name)
        best = one.mode[name] if by == "mode" else one.marginals[name].argmax(-1)
        hits = (best == gold) & (gold != _unknown(encoder))
        labels, right = labels + int(seen.sum()), right + int((hits & seen).sum())
        examples, whole = examples + bool(seen.any()), whole + bool(seen.any() and hits[seen].all())
    return Accuracy(labels, right, examples, whole)


def gold_labels(dataset: Dataset, row: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(labels, where there is one) of an example; none where the whole value is missing."""
    example, layout = dataset.examples[row], dataset.layout
    if name not in example.values:
        return np.zeros((), dtype=np.int64), np.zeros((), dtype=bool)
    return example.values[name], known(example, name) & real_sites(example, layout.field(name), layout)


def most_frequent(name: str, dataset: Dataset, encoder: Symbols) -> tuple[str, Accuracy]:
    """The training data's most frequent label, and what predicting it everywhere has right."""
    best = int(np.argmax(encoder.counts))
    everywhere = (Inferred(row, {name: np.array(best)}, {}, {}, {}) for row in range(len(dataset)))
    return encoder.symbols[best], accuracy(everywhere, name, dataset, encoder)


def _unknown(encoder: Encoder) -> int | None:
    """The number of <unk>, where the table has it."""
    return 0 if isinstance(encoder, Symbols) and encoder.unknown else None
