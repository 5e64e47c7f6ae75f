"""What a model without latent structure would reach on the same numbers, fitted on training data alone.

Words: add-one unigram. Binary features: each independent of the others. Real ones: an independent Gaussian each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lvspec.train.data.dataset import Dataset
from lvspec.train.data.encoders import Encoder, Numbers, Symbols
from lvspec.train.data.layout import Field

SMALLEST_VARIANCE = 1e-4  # a feature that never varies in training still gets a finite density


@dataclass(frozen=True)
class BaselineLikelihood:
    """log_likelihood: nats, all observed entries of one variable over the data set. entries: how many there were."""

    name: str
    log_likelihood: float
    entries: int


def entries(dataset: Dataset, field: Field):
    """The observed entries of a field, example after example: sites x features, within the lengths."""
    for example in dataset.examples:
        value = example.values.get(field.name)
        if value is None:
            continue
        mask = np.ones(value.shape[: len(field.plates)], dtype=bool)
        for axis, plate in dataset.layout.ragged(field):
            mask &= _within(example.lengths[plate.name], axis, value.shape[: len(field.plates)])
        if field.name in example.observed:
            mask &= example.observed[field.name]
        yield value[mask] if field.plates else value[None] if mask else value[None][:0]


def _within(lengths: np.ndarray, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    """Which sites are before the end, for a plate's lengths () or (D,)."""
    places = np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    if lengths.ndim:
        lengths = lengths.reshape([-1 if a == 0 else 1 for a in range(len(shape))])
    return np.broadcast_to(places < lengths, shape)


def unigram(dataset: Dataset, field: Field, table: Symbols) -> BaselineLikelihood:
    counts = np.array(table.counts, dtype=np.float64) + 1.0
    log_probs = np.log(counts / counts.sum())
    total, number = 0.0, 0
    for value in entries(dataset, field):
        total, number = total + float(log_probs[value].sum()), number + value.size
    return BaselineLikelihood("unigram (add-one)", total, number)


def independent(dataset: Dataset, field: Field, numbers: Numbers, training: int) -> BaselineLikelihood:
    """Features independent of each other: Bernoulli with add-one counts, or Gaussian."""
    mean, variance = np.array(numbers.mean), np.maximum(np.array(numbers.variance), SMALLEST_VARIANCE)
    total, number = 0.0, 0
    p = (mean * training + 1.0) / (training + 2.0)
    for value in entries(dataset, field):
        value = value.reshape(-1, len(mean)).astype(np.float64)
        number += value.size
        if numbers.kind == "binary":
            total += float((value * np.log(p) + (1 - value) * np.log1p(-p)).sum())
        else:
            total += float((-0.5 * ((value - mean) ** 2 / variance + np.log(2 * math.pi * variance))).sum())
    name = "independent pixels" if numbers.kind == "binary" else "independent Gaussians"
    return BaselineLikelihood(name, total, number)


def baselines(dataset: Dataset, encoders: Mapping[str, Encoder], training: int) -> dict[str, BaselineLikelihood]:
    """One for each variable that the model must explain."""
    found = {}
    for field in dataset.layout.fields:
        encoder = encoders[field.name]
        if not field.modelled:
            continue
        if isinstance(encoder, Symbols):
            found[field.name] = unigram(dataset, field, encoder)
        elif isinstance(encoder, Numbers) and encoder.kind in ("binary", "real"):
            found[field.name] = independent(dataset, field, encoder, training)
    return found
