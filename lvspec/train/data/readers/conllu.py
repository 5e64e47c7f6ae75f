"""CoNLL-U: a sentence is a block of ten-column lines; `8-9` (multiword) and `8.1` (empty) lines are no words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lvspec.errors import UsageError
from lvspec.train.data.readers.files import FileReader, lines
from lvspec.train.settings import DataSettings

COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")


def records(path: Path, settings: DataSettings, part: str) -> Iterator[list[list[str]]]:
    sentence: list[list[str]] = []
    for number, line in lines(path):
        if not line.strip():
            if sentence:
                yield sentence
            sentence = []
        elif not line.startswith("#"):
            columns = line.split("\t")
            if len(columns) != len(COLUMNS):
                raise UsageError(f"{path}:{number}: {len(columns)} columns, CoNLL-U has {len(COLUMNS)}")
            if columns[0].isdigit():
                sentence.append(columns)
    if sentence:
        yield sentence


def value(record: list[list[str]], settings: DataSettings, name: str) -> list[str | None]:
    """One value a word; an unfilled column (`_`) is missing, but a word that is an underscore is not."""
    column = str(settings.column or "form").lower()
    if column not in COLUMNS:
        raise UsageError(f"CoNLL-U has no column {column!r}; it has {', '.join(COLUMNS)}")
    at = COLUMNS.index(column)
    missing = None if column in ("form", "lemma") else "_"
    return [None if word[at] == missing else word[at] for word in record]


READER = FileReader(records, value)
