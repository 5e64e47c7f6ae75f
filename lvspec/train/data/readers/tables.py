"""Tables: columns are counted from 1 or named by the header."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lvspec.errors import UsageError
from lvspec.train.settings import DataSettings


@dataclass(frozen=True)
class TableRow:
    """A line of a table; `place` is file:line for messages."""

    cells: list[str]
    names: tuple[str, ...]
    place: str


def rows(numbered: Iterator[tuple[int, list[str]]], path: Path, settings: DataSettings) -> Iterator[TableRow]:
    """Of (number of its first line, cells). No row has more cells than the first one: what stands between two of them may have
    been torn apart, `1,5` for one and a half."""
    names: tuple[str, ...] = ()
    width: int | None = None
    for number, cells in numbered:
        width = len(cells) if width is None else width
        if len(cells) > width:
            first = "the header" if settings.header else "the first row"
            raise UsageError(f"{path}:{number}: {len(cells)} cells, {first} has {width}")
        if settings.header and not names:
            names = tuple(c.strip() for c in cells)
        else:
            yield TableRow(cells, names, f"{path}:{number}")


def value(record: TableRow, settings: DataSettings, name: str) -> object:
    """One cell, or with `columns: 1-64` (also `1-3,7`) the list of them; an empty cell is missing. Where no column is said, the
    only one, or under a header the one that is named as the variable."""
    if settings.columns is not None:
        return [_cell(record, place) for place in column_range(settings.columns)]
    if settings.column is None and name in record.names:
        return _cell(record, name)
    if settings.column is None and len(record.cells) > 1:
        header = "" if record.names else ", or `header: true` where the first line names the variables"
        raise UsageError(
            f"{record.place}: {len(record.cells)} columns; say which with `column:` in the data section{header}"
        )
    return _cell(record, 1 if settings.column is None else settings.column)


def column_range(text: object) -> list[int]:
    """`1-3,7` is 1, 2, 3, 7."""
    if isinstance(text, (list, tuple)):
        return [int(c) for c in text]
    places: list[int] = []
    for piece in str(text).replace(" ", "").split(","):
        found = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", piece)
        if found is None:
            raise UsageError(f"columns {text!r}: expected ranges such as 1-64 or 1-3,7")
        places.extend(range(int(found[1]), int(found[2] or found[1]) + 1))
    return places


def _cell(row: TableRow, column: int | str) -> str | None:
    if isinstance(column, str) and not column.isdigit():
        if column not in row.names:
            known = ", ".join(row.names) or "none: the file has no header"
            raise UsageError(f"{row.place}: no column named {column!r} (columns: {known})")
        if row.names.count(column) > 1:
            raise UsageError(
                f"{row.place}: {row.names.count(column)} columns are named {column!r}; say which by its number"
            )
        at = row.names.index(column)
    else:
        at = int(column) - 1
    if not 0 <= at < len(row.cells):
        raise UsageError(f"{row.place}: no column {column}, the row has {len(row.cells)}, counted from 1")
    return row.cells[at].strip() or None
