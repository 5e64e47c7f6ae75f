"""A data file as records, and a variable's raw value in a record, for each format.

Each row of ir/formats.py has a module of its name here, with its READER. Values are plain: a string, a number, or (nested)
lists of them; None where missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from lvspec.errors import UsageError
from lvspec.ir.formats import FORMATS, SUFFIXES
from lvspec.train.data.readers.files import FileReader
from lvspec.train.settings import DataSettings


class Record(dict):
    """Raw values by variable. place: of the file, for messages. names: what stands in a record that lacks a value, where it has
    names; fields: under which of them each variable is looked for."""

    place: str = ""
    names: tuple[str, ...] = ()
    fields: Mapping[str, str] = {}


def reader_of(name: str) -> FileReader:
    """The reader of a format."""
    return import_module(f"{__name__}.{name}").READER


def format_of(path: Path) -> str:
    """The format that a file's name tells: `dev.jsonl.gz` is jsonl."""
    suffixes = [s for s in path.suffixes if s != ".gz"]
    found = SUFFIXES.get(suffixes[-1].lower()) if suffixes else None
    if found is None:
        raise UsageError(f"{path}: cannot tell the format from the name; say --format {' | '.join(FORMATS)}")
    return found


def read(path: Path, wanted: Mapping[str, DataSettings], part: str = "train") -> Iterator[Record]:
    """Raw values by variable, record after record. `part` picks the split inside an npz."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    named = {s.format for s in wanted.values() if s.format is not None}
    if len(named) > 1:
        raise UsageError(f"{path}: one file has one format, but the data section names {', '.join(sorted(named))}")
    format = named.pop() if named else format_of(path)
    if format not in FORMATS:
        raise UsageError(f"there is no format {format!r}; there are {', '.join(FORMATS)}")
    kind = reader_of(format)
    settings = located(path, wanted, kind)
    if not settings:
        raise UsageError("nothing to read: the model has no observed variable")
    reader = merged([s for _, s in settings])
    fields = [name for name, s in settings if s.field]
    if FORMATS[format].single and fields and len(settings) > 1:
        raise UsageError(
            f"{path}: a line of text is one value, and {' and '.join(n for n, _ in settings)} are read from the data: "
            f"{' and '.join(fields)} by a `field:`, which a jsonl file has"
        )
    looked_for = {name: str(s.field or s.column or s.array or name) for name, s in settings}
    for number, record in enumerate(kind.records(path, reader, part), 1):
        found = Record((name, kind.value(record, s, name)) for name, s in settings)
        found.place = f"{path}: record {number}"
        if any(v is None for v in found.values()):
            found.names, found.fields = kind.names(record), looked_for
        yield found


def located(path: Path, wanted: Mapping[str, DataSettings], kind: FileReader) -> tuple[tuple[str, DataSettings], ...]:
    """The variables, with the places that a file tells."""
    alone = sum(s.array is None for s in wanted.values()) == 1
    return tuple((name, kind.located(path, s, name, alone)) for name, s in wanted.items())


def merged(settings: list[DataSettings]) -> DataSettings:
    """File-level options of all variables together: a header named by one holds for the file."""
    header = next((s.header for s in settings if s.header is not None), None)
    if header is None:
        header = any(isinstance(s.column, str) and not s.column.isdigit() for s in settings)
    arrays_named = ",".join(dict.fromkeys(s.array for s in settings if s.array))
    return replace(settings[0], header=header, array=arrays_named or None)
