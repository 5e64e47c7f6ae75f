"""TSV: columns between tabs, without quoting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lvspec.train.data.readers.files import FileReader, lines
from lvspec.train.data.readers.tables import TableRow, rows, value
from lvspec.train.settings import DataSettings


def records(path: Path, settings: DataSettings, part: str) -> Iterator[TableRow]:
    return rows(((number, line.split("\t")) for number, line in lines(path) if line), path, settings)


READER = FileReader(records, value)
