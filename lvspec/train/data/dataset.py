"""Raw records to examples: arrays of numbers, with lengths for ragged plates and marks for what is missing."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lvspec.errors import TrainingError, UsageError
from lvspec.ir.spec import Plate
from lvspec.train.data.encoders import MISSING, Encoder, Numbers, Symbols
from lvspec.train.data.layout import BatchLayout, Field
from lvspec.train.data.tree_labels import TreeLabels
from lvspec.train.data.values import extents, numbers, symbols
from lvspec.train.settings import DataSettings

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Example:
    """values: name -> sites x event. lengths: ragged plate -> (), or (D,) for one nested in plate d.
    observed: name -> bool per site, only where something is missing. index: the record's number in its file."""

    values: dict[str, np.ndarray]
    lengths: dict[str, np.ndarray]
    observed: dict[str, np.ndarray]
    index: int


@dataclass(frozen=True)
class Dataset:
    """Examples of one part. dropped: records left out because a plate had no site, or a length is not wanted. partial: names with missing values."""

    examples: tuple[Example, ...]
    layout: BatchLayout
    dropped: int = 0
    partial: frozenset[str] = field(default_factory=frozenset)

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def left_out(self) -> str:
        """How many records are left out, and why; nothing where none is."""
        several = self.dropped > 1
        return (
            f"{self.dropped} record{'s' * several} without a site, or of a length that is not wanted, {'are' if several else 'is'} left out"
            if self.dropped
            else ""
        )

    def hiding(self, names: Collection[str]) -> Dataset:
        """The same examples with these variables missing; the plates that they stand on keep their lengths."""
        missing = {name: np.zeros((), dtype=bool) for name in names}
        examples = (
            replace(
                e, values={n: v for n, v in e.values.items() if n not in missing}, observed={**e.observed, **missing}
            )
            for e in self.examples
        )
        return replace(self, examples=tuple(examples), partial=self.partial | missing.keys())

    def sizes(self) -> np.ndarray:
        """The longest sequence of each example: what a batch pads to."""
        return np.array(
            [max((int(np.max(n, initial=0)) for n in e.lengths.values()), default=1) for e in self.examples]
        )


def partly_labelled(dataset: Dataset, digests: Sequence[bytes], data: Mapping[str, DataSettings]) -> Dataset:
    """The data set with the values of some latents in `known` examples only: those whose records' hashes come first, in
    turn from each value, so that every value is met as often as can be."""
    for name, settings in data.items():
        if settings.known is None:
            continue
        if name not in {f.name for f in dataset.layout.fields if not f.required}:
            raise UsageError(f"data.{name}.known: {name} is no latent, and always known")
        groups: dict[bytes, list[int]] = {}
        order = sorted(range(len(dataset)), key=lambda i: digests[dataset.examples[i].index])
        for i in order:
            if name in dataset.examples[i].values:
                groups.setdefault(dataset.examples[i].values[name].tobytes(), []).append(i)
        ranked = sorted(
            (rank, digests[dataset.examples[i].index], i) for g in groups.values() for rank, i in enumerate(g)
        )
        kept = {i for _, _, i in ranked[: settings.known]}
        hidden = dataset.hiding([name]).examples
        examples = tuple(e if i in kept else hidden[i] for i, e in enumerate(dataset.examples))
        dataset = replace(dataset, examples=examples, partial=dataset.partial | {name})
    return dataset


def known(example: Example, name: str) -> np.ndarray:
    """Which entries of a value of the example the data have."""
    value, observed = example.values[name], example.observed.get(name, np.ones((), dtype=bool))
    return np.broadcast_to(observed.reshape(observed.shape + (1,) * (value.ndim - observed.ndim)), value.shape)


def real_sites(example: Example, f: Field, layout: BatchLayout) -> np.ndarray:
    """Which sites of a value of the example are no padding."""
    return inside(example.values[f.name].shape, layout.ragged(f), example.lengths)


def inside(
    shape: tuple[int, ...], ragged: Iterable[tuple[int, Plate]], lengths: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Which sites of a block are no padding, by its (axis, plate); a nested plate's axis follows the one it is nested in."""
    real = np.ones(shape, dtype=bool)
    for axis, plate in ragged:
        there = np.arange(shape[axis]) < lengths[plate.name][..., None]
        real &= there.reshape(there.shape + (1,) * (len(shape) - axis - 1))
    return real


def encoded(
    records: Iterable[Raw],
    layout: BatchLayout,
    encoders: Mapping[str, Encoder],
    data: Mapping[str, DataSettings],
    unknown: Counter | None = None,
) -> Dataset:
    """Every record as an example; records without a site of a plate that is nested in no other are left out and counted.

    unknown: counts labels of latents that the training data do not have, (name, label), which are missing then; without it
    they are an error.
    """
    examples, dropped, absent = [], 0, {f.name for f in layout.fields if f.required}
    first: Raw | None = None
    for index, record in enumerate(records):
        first = record if first is None else first
        absent = {name for name in absent if lacks(record, name)}
        example = _example(record, index, layout, encoders, data, unknown)
        if example is None:
            dropped += 1
        else:
            examples.append(example)
    if first is not None and absent:
        raise no_value(first, min(absent))
    partial = frozenset(name for e in examples for name in e.observed)
    return Dataset(tuple(examples), layout, dropped, partial | {f.name for f in layout.fields if not f.required})


def raw_value(record: Raw, f: Field) -> Any:
    """What a record has of a field; an empty text is a missing value, and an empty sequence only where it has to be there."""
    raw = record.get(f.name)
    blank = isinstance(raw, str) and not raw.strip()
    return None if blank and not (f.required and f.plates) else raw


def place_of(record: Raw, index: int) -> str:
    """Where a record stands in its file; of one made in Python, which it is."""
    return getattr(record, "place", "") or f"record {index + 1}"


def holding(record: Raw, name: str) -> str:
    """What stands in a record that lacks a value of a variable, where it says so."""
    names = getattr(record, "names", ())
    there = f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
    fields = getattr(record, "fields", {})
    return f" (`{fields[name]}` is looked for, and it has {there})" if names else ""


def lacks(record: Raw, name: str) -> bool:
    """Whether a record that has keys (fields, arrays) has none of this one."""
    names, looked_for = getattr(record, "names", ()), getattr(record, "fields", {}).get(name, name)
    return record.get(name) is None and bool(names) and looked_for.split(".")[0] not in names


def no_value(first: Raw, name: str) -> TrainingError:
    """That no record has a value of a variable, by what the first one holds."""
    return TrainingError(f"no record has a value of {name}; {place_of(first, 0)} has none{holding(first, name)}")


def _example(record: Raw, index: int, layout: BatchLayout, encoders, data, unknown) -> Example | None:
    values: dict[str, np.ndarray] = {}
    lengths: dict[str, np.ndarray] = {}
    observed: dict[str, np.ndarray] = {}
    for f in layout.fields:
        settings = data.get(f.name, DataSettings())
        raw = raw_value(record, f)
        try:
            value, seen, found = _encode(raw, f, layout, encoders[f.name], settings, unknown)
        except (UsageError, TrainingError) as error:
            raise type(error)(f"{place_of(record, index)}: {error}") from error
        if f.required and not f.modelled and (value is None or not seen.all()):
            raise TrainingError(
                f"{place_of(record, index)}: {f.name} is given to the model, and a value of it is missing{holding(record, f.name)}"
            )
        if value is None:
            observed[f.name] = np.zeros((), dtype=bool)
            continue
        for along, wanted, there in zip(*_extents(f), value.shape, strict=False):
            if wanted is not None and there != wanted:
                shown = f"{there} value{'s' * (there != 1)} {along}"
                raise TrainingError(
                    f"{place_of(record, index)}: {f.name} has {shown}, and {wanted} are wanted; null stands for a missing one"
                )
        for plate, length in found.items():
            if plate in lengths and not np.array_equal(lengths[plate], length):
                raise TrainingError(
                    f"{place_of(record, index)}: {f.name} has {length} sites along {plate}, another variable {lengths[plate]}"
                )
            lengths[plate] = length
        if settings.lengths and not _admitted(found, settings.lengths):
            return None
        values[f.name] = value
        if not seen.all():
            observed[f.name] = seen
    if any(lengths[plate.name] == 0 for plate in layout.plates if plate.name in lengths and plate.within is None):
        return None
    _told_how_long(record, index, layout, values, lengths)
    return Example(values, lengths, observed, index)


def _extents(f: Field) -> tuple[list[str], list[int | None]]:
    """What each axis of a value is, and how many values there are along it; None where data alone know."""
    sites = f.sites or (None,) * len(f.plates)
    return [*(f"along {p}" for p in f.plates), *("in a vector" for _ in f.event)], [*sites, *f.event]


def _told_how_long(record: Raw, index: int, layout: BatchLayout, values: dict, lengths: dict) -> None:
    """TrainingError where a sequence is missing and nothing says how many sites it has."""
    for f in layout.fields:
        untold = [plate.name for _, plate in layout.ragged(f) if plate.name not in lengths]
        if f.name not in values and untold:
            raise TrainingError(
                f"{place_of(record, index)} has no {f.name}{holding(record, f.name)}, and nothing else says how long it is (how many sites plate "
                f"{untold[0]} has): leave the record out, or read another variable along {untold[0]} from the data"
            )


def _admitted(lengths: dict[str, np.ndarray], wanted: str) -> bool:
    """Whether every length lies within "2-20"."""
    least, _, most = wanted.partition("-")
    return all(
        int(least) <= np.min(n, initial=int(least)) <= np.max(n, initial=0) <= int(most or least)
        for n in lengths.values()
    )


def _encode(raw: Any, f: Field, layout: BatchLayout, encoder: Encoder, settings: DataSettings, unknown: Counter | None):
    """(array with fills, observed per site, lengths by plate); (None, None, {}) where the whole value is missing."""
    if raw is None:
        return None, None, {}
    if isinstance(encoder, Symbols):
        if unknown is not None and not f.required:
            raw = _without_unknown(raw, f, encoder, settings, unknown)
        return _encode_symbols(raw, f, layout, encoder, settings)
    if isinstance(encoder, TreeLabels):
        return _encode_tree(raw, f, layout, encoder, settings)
    return _encode_numbers(raw, f, layout, encoder, settings)


def _without_unknown(raw, f: Field, encoder: Symbols, settings: DataSettings, unknown: Counter) -> Any:
    """The raw labels, None where the table lacks them."""

    def known(value):
        if isinstance(value, list):
            return [known(v) for v in value]
        if value is None or encoder.unknown or value in encoder.symbols:
            return value
        unknown[f.name, value] += 1
        return None

    return known(symbols(raw, f, settings))


def _encode_symbols(raw, f: Field, layout: BatchLayout, encoder: Symbols, settings: DataSettings):
    depth = len(f.plates) + len(f.event)
    found = symbols(raw, f, settings)
    ragged = layout.ragged(f)
    if depth == 1:
        ids = np.array([encoder.id(s) for s in found[: settings.max_length]], dtype=np.int64)
        if ragged and ragged[0][1].end:
            ids = np.append(ids, encoder.end_id)
        if ragged and ragged[0][1].null:
            ids = np.append(encoder.null_id, ids)
        lengths = {ragged[0][1].name: np.array(len(ids))} if ragged else {}
    elif depth == 0:
        ids, lengths = np.array(encoder.id(found), dtype=np.int64), {}
    else:
        try:
            extents(found, f, layout.nested(f), f.event)
        except UsageError as error:
            raise UsageError(f"{f.name}: {error}") from error
        ids, lengths = _rectangle(found, ragged, encoder, settings, depth)
    seen = ids != MISSING
    whole = seen.all(axis=tuple(range(len(f.plates), seen.ndim))) if f.event else seen
    return np.where(seen, ids, 0), whole, lengths


def _encode_tree(raw, f: Field, layout: BatchLayout, encoder: TreeLabels, settings: DataSettings):
    labels = encoder.read(raw)
    if settings.max_length is not None and len(labels) > settings.max_length:
        raise UsageError(f"a tree of {len(labels)} words cannot be cut; leave it out: data.{f.name}.lengths: 1-40")
    ids = np.array([MISSING if label is None else label for label in labels], dtype=np.int64)
    seen = ids != MISSING
    return np.where(seen, ids, 0), seen, {plate.name: np.array(len(ids)) for _, plate in layout.ragged(f)}


def _rectangle(found: list, ragged, encoder: Symbols, settings: DataSettings, depth: int):
    """Nested lists padded to a block: a plate nested in another has a length for each of its sites."""
    plates = dict(ragged)

    def ids(value, axis: int):
        if axis == depth:
            return encoder.id(value)
        inner = [ids(v, axis + 1) for v in value[: settings.max_length if axis == depth - 1 else None]]
        plate = plates.get(axis)
        start = [encoder.null_id] if plate and plate.null else []
        return [*start, *inner, *([encoder.end_id] if plate and plate.end else [])]

    value = ids(found, 0)
    shape = [_extent(value, axis) for axis in range(depth)]
    block = np.zeros(shape, dtype=np.int64)
    for place in np.ndindex(*shape[:-1]):
        row = value
        for i in place:
            row = row[i] if i < len(row) else []
        block[place][: len(row)] = row
    return block, {plate.name: _lengths(value, axis, shape, plate, ragged) for axis, plate in ragged}


def _extent(value: list, axis: int) -> int:
    return len(value) if axis == 0 else max((_extent(v, axis - 1) for v in value), default=0)


def _lengths(value: list, axis: int, shape: list[int], plate, ragged) -> np.ndarray:
    if plate.within is None:
        while axis:
            value, axis = value[0] if value else [], axis - 1
        return np.array(len(value))
    counted = [len(v) for v in value]  # nested one deep: axis 1 inside axis 0
    return np.array(counted + [0] * (shape[0] - len(counted)))


def _encode_numbers(raw, f: Field, layout: BatchLayout, encoder: Numbers, settings: DataSettings):
    value = encoder.transformed(numbers(raw, f, layout.nested(f), encoder.event))
    ragged = layout.ragged(f)
    if layout.null(f):
        raise UsageError(f"{f.name} has numbers, and a site that stands for nothing (null=true) has a symbol")
    if ragged and settings.max_length is not None:
        value = np.moveaxis(np.moveaxis(value, ragged[-1][0], 0)[: settings.max_length], 0, ragged[-1][0])
    seen = ~np.isnan(value)
    if f.event:
        seen = seen.all(axis=tuple(range(len(f.plates), seen.ndim)))
    lengths = {plate.name: np.array(value.shape[axis]) for axis, plate in ragged}
    if layout.nested(f):
        own = np.array([min(len(r), value.shape[1]) for r in raw], dtype=np.int64)[: value.shape[0]]
        lengths[f.plates[1]] = own
        beyond = np.arange(value.shape[1]) >= own[:, None]
        seen = seen | beyond.reshape(*beyond.shape, *[1] * (seen.ndim - 2))
    _check_numbers(f, value)
    if encoder.event and value.shape[len(f.plates) :] != encoder.event and value.size:
        raise TrainingError(
            f"{f.name}: {value.shape[len(f.plates) :]} features, the training data have {encoder.event}"
        )
    value = np.nan_to_num(value, nan=0.0).astype(encoder.dtype)
    return value, seen, lengths


def _check_numbers(f: Field, value: np.ndarray) -> None:
    """TrainingError where counts have fractions, or truth values are others than 0 and 1."""
    if f.kind == "real":
        return
    value = value[~np.isnan(value)]
    wrong = value[(value < 0) | (value != np.round(value)) | ((f.kind == "binary") & (value > 1))]
    if wrong.size and f.kind == "binary":
        raise TrainingError(
            f"{f.name} is 0 or 1 in the spec, but the data hold {wrong[0]:g}; set data.{f.name}.binarize: 0.5"
        )
    if wrong.size:
        raise TrainingError(
            f"{f.name} is a count in the spec, a whole number from 0 on, but the data hold {wrong[0]:g}"
        )


def digest(record: Raw) -> bytes:
    """A hash of a record's raw values, the same on every machine: decides fixed splits.

    Gold labels that are read beside the data (their name has a blank, as no variable's has) do not count.
    """

    def plain(value: Any) -> Any:
        return value.tolist() if hasattr(value, "tolist") else str(value)

    return hashlib.sha256(
        json.dumps({k: v for k, v in record.items() if " " not in k}, sort_keys=True, default=plain).encode()
    ).digest()


def halves(records: Sequence[Raw]) -> tuple[list[Raw], list[Raw]]:
    """A fixed split in two, by the parity of each record's hash: (even, odd)."""
    parts: tuple[list[Raw], list[Raw]] = ([], [])
    for record in records:
        parts[digest(record)[0] % 2].append(record)
    return parts


def held_out(records: Sequence[Raw], tenths: int) -> tuple[list[Raw], list[list[Raw]]]:
    """(the rest, `tenths` parts of about a tenth each), fixed by hash."""
    kept: list[Raw] = []
    parts: list[list[Raw]] = [[] for _ in range(tenths)]
    for record in records:
        share = int.from_bytes(digest(record)[:4], "big") % 10
        (parts[share] if share < tenths else kept).append(record)
    return kept, parts
