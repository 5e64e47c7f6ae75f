"""The words that belong to each value of a discrete latent: p(w | z = k) against p(w), under the posterior."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lvspec.train.data.dataset import Dataset, Example, inside, known, real_sites
from lvspec.train.data.encoders import Symbols
from lvspec.train.data.layout import BatchLayout, Field
from lvspec.train.evaluation.posteriors import Inferred, Latent


def expected_counts(
    inferred: Iterable[Inferred], latent: Latent, dataset: Dataset, field: Field, table: Symbols
) -> np.ndarray:
    """E[count of (z = k, word w)] under p(z | x): (K, V). A latent of the whole example counts all of its words;
    one with further plates (several variables, several chains) is counted over all of them. Missing words count nowhere."""
    assert latent.states is not None
    counts = np.zeros((latent.states, table.size))
    for one in inferred:
        marginals, example = one.marginals.get(latent.name), dataset.examples[one.row]
        words = example.values.get(field.name)
        if marginals is None or words is None:
            continue
        weights = _at_words(marginals, latent, example, field, dataset.layout)
        there = real_sites(example, field, dataset.layout) & known(example, field.name)
        weights = np.broadcast_to(
            weights.reshape(weights.shape[:-1] + (1,) * len(field.event) + (latent.states,)),
            (*words.shape, latent.states),
        )
        np.add.at(counts.T, words[there], weights[there])
    return counts


def _at_words(marginals: np.ndarray, latent: Latent, example: Example, field: Field, layout: BatchLayout) -> np.ndarray:
    """p(z = k | x) at the plates of the words, 1 site where z stands on none of them: the mean along z's other plates."""
    ragged = [(axis, plate) for axis, plate in enumerate(layout.along(latent.plates)) if plate.ragged]
    share = inside(marginals.shape[:-1], ragged, example.lengths)[..., None]
    others = tuple(axis for axis, name in enumerate(latent.plates) if name not in field.plates)
    total = (marginals * share).sum(others) / np.maximum(share.sum(others), 1)
    return np.expand_dims(total, tuple(axis for axis, name in enumerate(field.plates) if name not in latent.plates))


def top_words(counts: np.ndarray, table: Symbols, n: int = 10) -> list[tuple[int, float, list[str]]]:
    """(value k, its share, words) for each value, the most used first.

    Words are ranked by p(w|k) log p(w|k)/p(w): frequent under k, and more than elsewhere.
    """
    total = counts.sum()
    overall = counts.sum(0) / max(total, 1e-12)
    shares = counts.sum(1) / max(total, 1e-12)
    rows = []
    for k in np.argsort(-shares, kind="stable"):
        given = counts[k] / max(counts[k].sum(), 1e-12)
        gain = np.where(given > 0, given * np.log(np.maximum(given, 1e-300) / np.maximum(overall, 1e-300)), 0.0)
        ranked = [w for w in np.argsort(-gain, kind="stable") if counts[k][w] > 0.5 and table.symbols[w] != "<unk>"]
        rows.append((int(k), float(shares[k]), [table.symbols[w] for w in ranked[:n]]))
    return rows
