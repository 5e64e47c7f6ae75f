"""The words that belong to each value of a discrete latent: p(w | z = k) against p(w), under the posterior."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lvspec.train.data.dataset import Dataset
from lvspec.train.data.encoders import Symbols
from lvspec.train.data.layout import Field
from lvspec.train.evaluation.posteriors import Inferred, Latent


def expected_counts(
    inferred: Iterable[Inferred], latent: Latent, dataset: Dataset, field: Field, table: Symbols
) -> np.ndarray:
    """E[count of (z = k, word w)] under p(z | x): (K, V). A latent of the whole example counts all of its words;
    one with further plates (several variables, several chains) is counted over all of them."""
    assert latent.states is not None
    counts = np.zeros((latent.states, table.size))
    for one in inferred:
        marginals = one.marginals.get(latent.name)
        words = dataset.examples[one.row].values.get(field.name)
        if marginals is None or words is None:
            continue
        per_site = bool(latent.ragged) and len(marginals) == len(words)
        if per_site:
            weights = marginals.reshape(len(words), -1, latent.states).mean(1)
        else:
            weights = np.broadcast_to(marginals.reshape(-1, latent.states).mean(0), (words.size, latent.states))
        np.add.at(counts.T, words.reshape(-1), weights)
    return counts


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
