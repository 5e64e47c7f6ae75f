"""Gold labels beside a data set, and how a discrete latent's mode agrees with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lvspec.errors import UsageError
from lvspec.train.data.dataset import Dataset
from lvspec.train.data.values import plain, symbol
from lvspec.train.evaluation.agreement import Agreement, agreement
from lvspec.train.evaluation.posteriors import Inferred, Latent
from lvspec.train.settings import DataSettings

GOLD = "gold labels"  # the name that labels are read under; no variable can be called so


class GoldLabels(NamedTuple):
    """What a record has as labels, None where it has none, and where it stands."""

    labels: Any
    place: str

    @contextmanager
    def at(self) -> Iterator[None]:
        """What is wrong with the labels is told with their place."""
        try:
            yield
        except UsageError as error:
            raise UsageError(f"{self.place}: {error}") from error


def gold_settings(column: str, like: DataSettings) -> DataSettings:
    """The labels' column, field or array, in the same file as the data."""
    place = int(column) if column.isdigit() else column
    return replace(DataSettings(), format=like.format, header=like.header, column=place, field=column, array=column)


def compare(
    inferred: Iterable[Inferred], latent: Latent, dataset: Dataset, gold: Sequence[GoldLabels], limit: int | None = None
) -> Agreement:
    """Mode against label: per site where the labels are lists, else per example.

    gold[i]: of record i of the file. limit: the longest sequence that the model was given (data.x.max_length).
    """
    clusters: list[object] = []
    labels: list[str] = []
    for one in inferred:
        example = dataset.examples[one.row]
        right, mode = gold[example.index], one.mode[latent.name]
        with right.at():
            _add(clusters, labels, mode, plain(right.labels), latent, limit)
    return agreement(clusters, labels)


def _add(clusters: list, labels: list[str], mode: np.ndarray, label: object, latent: Latent, limit: int | None) -> None:
    """The labels of one example, one a site or one in all."""
    if isinstance(label, list):
        _add_sites(clusters, labels, mode, label, latent, limit)
        return
    found = symbol(label)
    if found is not None and latent.ragged:
        raise UsageError(f"the gold labels are one an example, but {latent.name} is one a site")
    if found is not None:
        clusters.append(_key(mode))
        labels.append(found)


def _add_sites(
    clusters: list, labels: list[str], mode: np.ndarray, label: list, latent: Latent, limit: int | None
) -> None:
    """Site by site; an end symbol has no label, an unlabelled site is passed over, and so is what a length limit cut off."""
    if mode.ndim == 0:
        raise UsageError(f"the gold labels are one a site, but {latent.name} is one an example")
    label = label[:limit]
    if len(label) - len(mode) not in (0, -1):
        raise UsageError(f"{len(label)} gold labels for {len(mode)} sites of {latent.name}")
    for state, found in zip(mode, map(symbol, label), strict=False):
        if found is not None:
            clusters.append(_key(state))
            labels.append(found)


def _key(mode: np.ndarray) -> object:
    """A cluster: the value, or the combination of values where a latent has several."""
    return int(mode) if np.ndim(mode) == 0 else tuple(np.ravel(mode).tolist())
