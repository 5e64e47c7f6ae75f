"""JSON lines: one object a line, split at newlines only; `field: meta.tags` reaches inside, `turns.0.text` too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lvspec.errors import UsageError
from lvspec.train.data.readers.files import FileReader, is_text, lines
from lvspec.train.settings import DataSettings


@dataclass(frozen=True)
class JsonLine:
    """A decoded line; `place` is file:line for messages."""

    value: object
    place: str


def records(path: Path, settings: DataSettings, part: str) -> Iterator[JsonLine]:
    for number, line in lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}:{number}: not JSON: {error}") from error
        if "\\u" in line and not is_text(value):
            raise UsageError(f"{path}:{number}: half a character (a lone surrogate, \\ud800 to \\udfff) is no text")
        yield JsonLine(value, f"{path}:{number}")


def names(record: JsonLine) -> tuple[str, ...]:
    return tuple(record.value) if isinstance(record.value, dict) else ()


def value(record: JsonLine, settings: DataSettings, name: str) -> object:
    """The nested value; null, and a key that the object lacks, are missing. Without a field: the line, or of an object the key
    that is named as the variable."""
    found = record.value
    field = settings.field or (str(settings.column) if settings.column is not None else "")
    if not field and isinstance(found, dict):
        field = name
    for step in field.split(".") if field else ():
        if isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        elif isinstance(found, dict):
            found = found.get(step)
        elif found is None or isinstance(found, list) and step.isdigit():
            return None
        else:
            kind = "a list" if isinstance(found, list) else repr(found)[:40]
            raise UsageError(
                f"{record.place}: `field: {field}` is for an object, and here stands {kind}; a line is one record"
            )
    if isinstance(found, dict):
        raise UsageError(
            f"{record.place}: {field or 'the line'} is an object; say `field:` with one of {', '.join(found)}"
        )
    return found


READER = FileReader(records, value, names=names)
