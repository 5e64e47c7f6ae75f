"""CSV: columns between commas, with quoting."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from lvspec.errors import UsageError
from lvspec.train.data.readers.files import FileReader, lines
from lvspec.train.data.readers.tables import TableRow, rows, value
from lvspec.train.settings import DataSettings

csv.field_size_limit(16 * 1024 * 1024)


def records(path: Path, settings: DataSettings, part: str) -> Iterator[TableRow]:
    return rows(_numbered(path), path, settings)


def _numbered(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows that hold something, with the first of a row's lines."""
    reader = csv.reader((line + "\n" for _, line in lines(path)), strict=True)
    while True:
        first = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            open_ended = "unexpected end" in str(error)
            raise UsageError(
                f"{path}:{first}: {'a quote opens that nothing closes' if open_ended else error}"
            ) from error
        if row:
            yield first, row


READER = FileReader(records, value)
