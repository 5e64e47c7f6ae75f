"""Text: one example a line; blank lines and (unless kept) `= Title =` headings are skipped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lvspec.train.data.readers.files import FileReader, lines
from lvspec.train.settings import DataSettings

_HEADING = re.compile(r"\s*=+ .* =+\s*")


def records(path: Path, settings: DataSettings, part: str) -> Iterator[str]:
    for _, line in lines(path):
        if line.strip() and (settings.headings or not _HEADING.fullmatch(line)):
            yield line.strip()


def value(record: str, settings: DataSettings, name: str) -> str:
    return record


READER = FileReader(records, value)
