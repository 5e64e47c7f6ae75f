"""CSV: columns between commas, with quoting."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from lvspec.train.data.readers.files import FileReader, lines
from lvspec.train.data.readers.tables import TableRow, rows, value
from lvspec.train.settings import DataSettings

csv.field_size_limit(16 * 1024 * 1024)


def records(path: Path, settings: DataSettings, part: str) -> Iterator[TableRow]:
    reader = csv.reader(line + "\n" for _, line in lines(path))
    return rows(((reader.line_num, row) for row in reader if row), path, settings)


READER = FileReader(records, value)
