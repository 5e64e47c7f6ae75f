"""What sampling and decoding are told on the command line: conditioning inputs of a file, and single values.

--given pairs.tsv       the given variables of each record, read as the data section says
--given y=positive      one value for all rows, of a variable without sites: a label of the data, or a number
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lvspec.errors import UsageError
from lvspec.train.data.batches import collate
from lvspec.train.data.dataset import encoded
from lvspec.train.data.encoders import Encoder
from lvspec.train.data.layout import BatchLayout, Field
from lvspec.train.data.readers import Record, read
from lvspec.train.data.values import symbols
from lvspec.train.evaluation.draws import Conditions, given_fields
from lvspec.train.settings import DataSettings


@dataclass(frozen=True)
class Told:
    """conditions: of `n` rows. left_out: what a file holds that has no row, in words. file, records: where the rows come from, and which
    of its records they are."""

    n: int
    conditions: Conditions
    left_out: str = ""
    file: Path | None = None
    records: tuple[int, ...] = ()


def told(
    texts: Sequence[str],
    n: int,
    layout: BatchLayout,
    encoders: Mapping[str, Encoder],
    data: Mapping[str, DataSettings],
) -> Told:
    """What `--given` says, all of its uses together; n: how many rows where no file says it."""
    names = {f.name for f in (*layout.fields, *layout.hidden)}
    values = dict(_assigned(t) for t in texts if t.partition("=")[0].strip() in names and "=" in t)
    files = [t for t in texts if t.partition("=")[0].strip() not in names or "=" not in t]
    if len(files) > 1:
        raise UsageError(f"--given: one file, and not {' and '.join(files)}")
    start = Told(n, Conditions({}, {}))
    if files:
        start = of_file(Path(files[0]), layout, encoders, data)
    found, n = start.conditions, start.n
    singles = {name: _one(name, text, layout, encoders, data, n) for name, text in values.items()}
    return replace(start, conditions=Conditions({**found.given, **singles}, found.lengths))


def _assigned(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip()


def of_file(path: Path, layout: BatchLayout, encoders: Mapping[str, Encoder], data: Mapping[str, DataSettings]) -> Told:
    """The given variables of each record, with their lengths."""
    fields = given_fields(layout)
    if not fields:
        raise UsageError(f"--given {path}: the model is given nothing; NAME=VALUE says what a latent or a label is")
    wanted = {f.name: data[f.name] for f in fields}
    part = _alone(fields, layout)
    dataset = encoded(read(path, wanted, "test"), part, encoders, wanted)
    if not len(dataset):
        raise UsageError(f"--given {path}: no record there that has what is given")
    batch = collate(dataset, range(len(dataset)))
    plates = {p.name for f in fields for _, p in layout.ragged(f)}
    given = {f.name: batch[f.name] for f in fields}
    start = Conditions(given, {p: batch[p] for p in plates})
    left_out = dataset.left_out if dataset.dropped else ""
    return Told(len(dataset), start, left_out, path, tuple(e.index for e in dataset.examples))


def references(start: Told, field: Field, settings: DataSettings) -> list[str]:
    """What the file itself has of a variable, for each of its rows: its symbols with blanks between them."""
    if start.file is None:
        raise UsageError("--figures compares with what a file has beside what is given: --given FILE names it")
    found = [record[field.name] for record in read(start.file, {field.name: settings}, "test")]
    if any(found[i] is None for i in start.records):
        raise UsageError(f"--figures: {start.file} lacks {field.name} of some records")
    return [" ".join(symbols(found[i], field, settings)) for i in start.records]


def _alone(fields: Sequence[Field], layout: BatchLayout) -> BatchLayout:
    """The layout of a file that holds these alone."""
    plates = {name for f in fields for name in f.plates}
    return replace(layout, fields=tuple(fields), plates=tuple(p for p in layout.plates if p.name in plates), hidden=())


def _one(name: str, text: str, layout: BatchLayout, encoders, data, n: int) -> Tensor:
    """A single value in every row."""
    field = next(f for f in (*layout.fields, *layout.hidden) if f.name == name)
    if field.plates:
        raise UsageError(
            f"--given {name}={text}: {name} has sites along {', '.join(field.plates)}; a file says what they hold"
        )
    if name in encoders:
        part = _alone([replace(field, required=True)], layout)
        dataset = encoded([Record({name: text})], part, encoders, {name: data[name]})
        value = collate(dataset, [0])[name]
    else:
        value = torch.tensor(_numbers(name, text, field))
        value = value.unsqueeze(0) if field.event else value.reshape(1)
    return value.expand(n, *value.shape[1:])


def _numbers(name: str, text: str, field: Field) -> list[float] | list[int]:
    """Of a latent that no data label: `c=2`, `z=0.5,-1`."""
    kind = int if field.kind in ("symbol", "binary", "count") else float
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        wanted = "a whole number" if kind is int else "numbers"
        raise UsageError(f"--given {name}={text}: {name} is {wanted}") from None
