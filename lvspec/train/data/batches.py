"""Examples to batches: padded tensors of alike lengths, in an order that depends on (seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lvspec.train.data.dataset import Dataset, Example
from lvspec.train.settings import TrainSettings

POOL = 64  # batches sorted by length together: little padding, and still another mix each epoch

Batch = dict[str, torch.Tensor]


def epoch_order(dataset: Dataset, settings: TrainSettings, epoch: int) -> list[np.ndarray]:
    """The batches of an epoch as rows of the data set: shuffle, sort inside pools, cut, shuffle the batches."""
    random = np.random.default_rng([settings.seed, epoch])
    sizes = dataset.sizes()
    rows = random.permutation(len(dataset))
    pool = POOL * (settings.batch_size if settings.batch_tokens is None else max(1, settings.batch_tokens // 8))
    batches = []
    for start in range(0, len(rows), pool):
        some = rows[start : start + pool]
        batches.extend(_cut(some[np.argsort(sizes[some], kind="stable")], sizes, settings))
    return [batches[i] for i in random.permutation(len(batches))]


def sorted_order(dataset: Dataset, settings: TrainSettings) -> list[np.ndarray]:
    """Batches for evaluation: by length, nothing random."""
    sizes = dataset.sizes()
    return _cut(np.argsort(sizes, kind="stable"), sizes, settings)


def _cut(rows: np.ndarray, sizes: np.ndarray, settings: TrainSettings) -> list[np.ndarray]:
    if settings.batch_tokens is None:
        return [rows[i : i + settings.batch_size] for i in range(0, len(rows), settings.batch_size)]
    batches, start = [], 0
    for i in range(1, len(rows) + 1):
        longest = max(1, int(sizes[rows[start : i + 1]].max())) if i < len(rows) else 0
        if i == len(rows) or (i + 1 - start) * longest > settings.batch_tokens:
            batches.append(rows[start:i])
            start = i
    return batches


def collate(dataset: Dataset, rows: Sequence[int] | np.ndarray) -> Batch:
    """The mapping of the module's contract: names -> (B, sites, event), plates -> lengths, `y_observed`, `index`."""
    examples: list[Example] = [dataset.examples[row] for row in rows]
    batch: Batch = {}
    layout = dataset.layout
    for f in layout.fields:
        present = [e.values.get(f.name) for e in examples]
        shown = next((v for v in present if v is not None), None)
        if shown is None:  # nobody in this batch has it: any value of the right shape will do
            shown = _like(f.name, dataset)
        batch[f.name] = torch.from_numpy(_padded(present, shown, examples, f, layout))
        if f.name in dataset.partial:
            batch[f"{f.name}_observed"] = torch.from_numpy(_observed(present, examples, f, batch[f.name]))
    for plate in dict.fromkeys(p for f in layout.fields for _, p in layout.ragged(f)):
        batch[plate.name] = torch.from_numpy(_stack([e.lengths.get(plate.name, np.array(0)) for e in examples]))
    batch["index"] = torch.as_tensor(np.asarray(rows, dtype=np.int64))
    return batch


def _like(name: str, dataset: Dataset) -> np.ndarray:
    """A value of a field from any example; zeros where none has one."""
    found = next((e.values[name] for e in dataset.examples if name in e.values), None)
    if found is not None:
        return found
    field = dataset.layout.field(name)
    shape = (*[1] * len(field.plates), *(n or 1 for n in field.event))
    return np.zeros(shape, dtype=np.float32 if field.kind == "real" else np.int64)


def _padded(present, shown: np.ndarray, examples, f, layout) -> np.ndarray:
    """One block of the largest extents; zeros beyond an example's own."""
    extents = list(shown.shape)
    for axis in range(shown.ndim):
        extents[axis] = max((v.shape[axis] for v in present if v is not None), default=extents[axis])
    for axis, plate in layout.ragged(f):  # a value that is missing as a whole still has its plate's extent
        longest = max(
            (int(np.max(e.lengths[plate.name], initial=0)) for e in examples if plate.name in e.lengths), default=0
        )
        extents[axis] = max(extents[axis], longest) if any(v is not None for v in present) else longest
    block = np.zeros((len(present), *extents), dtype=shown.dtype)
    for row, value in enumerate(present):
        if value is not None:
            place: tuple[Any, ...] = (row, *(slice(n) for n in value.shape))
            block[place] = value
    return block


def _observed(present, examples, f, block: torch.Tensor) -> np.ndarray:
    mask = np.zeros(tuple(block.shape[: 1 + len(f.plates)]), dtype=bool)
    for row, (value, example) in enumerate(zip(present, examples, strict=True)):
        if value is None:
            continue
        seen = example.observed.get(f.name, np.ones(value.shape[: len(f.plates)], dtype=bool))
        place: tuple[Any, ...] = (row, *(slice(n) for n in seen.shape))
        mask[place] = seen
    return mask


def _stack(lengths: list[np.ndarray]) -> np.ndarray:
    if lengths[0].ndim == 0:
        return np.array([int(n) for n in lengths], dtype=np.int64)
    width = max(len(n) for n in lengths)
    return np.stack([np.pad(n, (0, width - len(n))) for n in lengths]).astype(np.int64)


def batches(dataset: Dataset, order: Sequence[np.ndarray]) -> Iterator[Batch]:
    """The batches of an order, one after the other."""
    for rows in order:
        yield collate(dataset, rows)


def on_device(batch: Mapping[str, torch.Tensor], device: torch.device) -> Batch:
    return {n: v.to(device, non_blocking=True) if isinstance(v, torch.Tensor) else v for n, v in batch.items()}
