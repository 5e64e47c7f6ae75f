"""Encoders from training data, and the sizes of the model that follow from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from lvspec.errors import TrainingError, UsageError
from lvspec.train.data.dataset import Raw, no_value, place_of, raw_value
from lvspec.train.data.encoders import NULL, Encoder, Numbers, Symbols
from lvspec.train.data.layout import BatchLayout, Field
from lvspec.train.data.tree_labels import TreeLabels
from lvspec.train.data.values import leaves, numbers, symbols
from lvspec.train.settings import DataSettings


def fitted(
    records: Sequence[Raw],
    layout: BatchLayout,
    data: Mapping[str, DataSettings],
    notify: Callable[[str], None] = lambda text: None,
) -> dict[str, Encoder]:
    """An encoder for each field; fields with a common vocabulary share one, counted over all of them. told: hears of words
    for which the spec's number has no room."""
    if not records:
        raise TrainingError("the training data hold no example")
    encoders: dict[str, Encoder] = {}
    for f in layout.fields:
        if not f.batched:
            raise UsageError(f"{f.name} is given outside the batch plate; such values come from a loop of your own")
        if f.tree:
            encoders[f.name] = TreeLabels(f.tree)
        elif f.kind == "symbol":
            sharing = [g for g in layout.fields if g.kind == "symbol" and g.vocabulary == f.vocabulary]
            encoders[f.name] = next(
                (encoders[g.name] for g in sharing if g.name in encoders),
                None,
            ) or _symbols(records, f, sharing, layout, data, notify)
        else:
            encoders[f.name] = _numbers(records, f, layout.nested(f), data.get(f.name, DataSettings()))
    return encoders


def _read(records: Sequence[Raw], f: Field, decoded: Callable[[object], object]) -> list:
    """The values of a field that are there; what does not fit is told with its place."""
    found = []
    for index, record in enumerate(records):
        raw = raw_value(record, f)
        try:
            found += [] if raw is None else [decoded(raw)]
        except (UsageError, TrainingError) as error:
            raise type(error)(f"{place_of(record, index)}: {error}") from error
    if not found and f.required:
        raise no_value(records[0], f.name)
    return found


def _symbols(records, f: Field, sharing: list[Field], layout: BatchLayout, data, notify) -> Symbols:
    counted: Counter = Counter()
    sequences = 0
    spelt = [g for g in sharing if not f.categories or g.required]  # a latent has no label where a sequence ends
    end = next((e for g in spelt if (e := layout.end(g))), None)
    null = NULL if any(layout.null(g) for g in spelt) else None
    for g in sharing:
        settings = data.get(g.name, DataSettings())
        values = _read(records, g, partial(symbols, f=g, settings=settings))
        sequences += len(values)
        for value in values:
            counted.update(leaves(value))
    counted.pop(None, None)
    settings = data.get(f.vocabulary, data.get(f.name, DataSettings()))
    size = f.size if end is None and null is None else None
    if settings.labels is not None:
        table = Symbols.of_labels(settings.labels, counted, sequences, end, null)
    elif size is not None and all(s.isdecimal() and int(s) < size for s in counted):  # the file holds ids already
        table = Symbols.of_labels(tuple(str(i) for i in range(size)), counted)
    elif f.categories or not (f.plates or f.event):  # a label: all of them count, none is unknown
        table = Symbols.of_labels(tuple(sorted(counted, key=_label_order)), counted, sequences, end, null)
    else:
        fit = partial(Symbols.fit, counted, sequences, unknown=True, end=end, null=null, min_count=settings.min_count)
        table = wanted = fit(max_size=settings.max_size)
        if f.size is not None and wanted.size > f.size:
            table = fit(max_size=f.size)
            notify(_no_room(f, wanted, table, sum(counted.values())))
    if f.size is not None and table.size > f.size:
        raise TrainingError(
            f"{f.name}: the data have {table.size} categories, the spec {f.size}: {', '.join(table.symbols[:40])}"
        )
    return table


def _no_room(f: Field, wanted: Symbols, table: Symbols, tokens: int) -> str:
    """What became of the words that the spec's number does not admit."""
    lost, hidden = wanted.size - table.size, table.counts[0] - wanted.counts[0]
    return (
        f"warning: {f.name}: with <unk> the training data have {wanted.size} symbols, the spec {f.size}: the {lost} rarest, "
        f"{hidden} of {tokens} tokens, are read as <unk>; `max_size: {f.size}` in the data section says that they should be"
    )


def _label_order(label: str) -> tuple[float, str]:
    """Numbers by size, then words by the alphabet."""
    return (float(label) if label.isdecimal() else float("inf"), label)


def _numbers(records, f: Field, nested: bool, settings: DataSettings) -> Numbers:
    """Scale and threshold from the data section; mean and variance per feature for the baselines."""
    blocks = [b for b in _read(records, f, partial(numbers, f=f, nested=nested)) if not np.isnan(b).all()]
    if not blocks:
        raise TrainingError(f"{f.name}: the training data hold no value")
    event = blocks[0].shape[len(f.plates) :]
    different = next((b.shape for b in blocks if b.shape[len(f.plates) :] != event), None)
    if different is not None:
        raise TrainingError(f"{f.name}: records of {event} and of {different[len(f.plates) :]} features in one file")
    expected = tuple(f.event)
    if any(e is not None and e != n for e, n in zip(expected, event, strict=True)):
        raise TrainingError(f"{f.name}: the data have {event} features, the spec {expected}")
    threshold = None
    if settings.binarize is not None:
        largest = max(float(np.nanmax(b)) for b in blocks)
        threshold = settings.binarize * (largest * settings.scale + settings.shift)
    encoder = Numbers(f.kind, tuple(int(n) for n in event), settings.scale, settings.shift, threshold)
    mean, variance = _moments(blocks, encoder, int(np.prod(event, dtype=int)))
    return Numbers(f.kind, encoder.event, settings.scale, settings.shift, threshold, mean, variance)


def _moments(blocks, encoder: Numbers, features: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    total, squares, count = np.zeros(features), np.zeros(features), np.zeros(features)
    for block in blocks:
        value = encoder.transformed(block).reshape(-1, features)
        seen = ~np.isnan(value)
        value = np.where(seen, value, 0.0)
        total, squares, count = total + value.sum(0), squares + (value**2).sum(0), count + seen.sum(0)
    mean = total / np.maximum(count, 1)
    return tuple(mean.tolist()), tuple(np.maximum(squares / np.maximum(count, 1) - mean**2, 0.0).tolist())


def widened(layout: BatchLayout, encoders: Mapping[str, Encoder], wanted: Mapping[str, int]) -> dict[str, Encoder]:
    """The encoders, with tables as large as somebody asks for: values that no training data have."""
    found = dict(encoders)
    for name, _, of in layout.sizes:
        table = encoders.get(of)
        if isinstance(table, Symbols) and wanted.get(name, 0) > table.size:
            found |= {f: table.of_size(wanted[name]) for f, e in encoders.items() if e is table}
    return found


def sizes_from_data(
    layout: BatchLayout, encoders: Mapping[str, Encoder], wanted: Mapping[str, int] | None = None
) -> dict[str, int]:
    """`V: vocabulary(x)`, `C: categories(y)`, `P: features(x)` as numbers, which agree with those that somebody wants."""
    sizes = {}
    for name, source, of in layout.sizes:
        encoder = encoders.get(of)
        if encoder is None:
            raise UsageError(
                f"size {name}: {of} is not read from data; `--set sizes.{name}=...` says how many there are, or `data: {{{of}: ...}}` where it stands"
            )
        if isinstance(encoder, Symbols):
            sizes[name] = encoder.size
        elif source == "features" and isinstance(encoder, Numbers):
            sizes[name] = int(np.prod(encoder.event, dtype=int))
        else:
            raise UsageError(f"size {name}: {source}({of}) asks for symbols, but {of} holds numbers")
        asked = (wanted or {}).get(name, sizes[name])
        if asked != sizes[name]:
            raise UsageError(f"sizes.{name} is {asked}, but the training data have {sizes[name]} ({source} of {of})")
        if not sizes[name]:
            raise UsageError(
                f"size {name}: no record has a value of {of}, so nothing says how many there are: "
                f"`--set sizes.{name}=...` does, or `labels:` in the data section"
            )
    return sizes
