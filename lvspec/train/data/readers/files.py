"""What the readers have in common: the functions that each has; lines of a text file, plain or gzipped, split at newlines only."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvspec.errors import UsageError
from lvspec.train.settings import DataSettings


@dataclass(frozen=True)
class FileReader:
    """How a kind of file is read. records(path, settings, part) goes through the file once; value(record, settings, name) picks
    that of the variable of this name, which stands for a place where none is said; names(record): what a record says it has;
    located(path, settings, name, alone): the settings with the place of a variable, which may be the only one of which none is
    said; has_part(path, settings, part): whether a file has records of its own for a part."""

    records: Callable[[Path, DataSettings, str], Iterator]
    value: Callable[..., object]
    names: Callable[..., tuple[str, ...]] = lambda record: ()
    located: Callable[[Path, DataSettings, str, bool], DataSettings] = lambda path, settings, name, alone: settings
    has_part: Callable[[Path, DataSettings, str], bool] = lambda path, settings, part: False


def is_text(value: Any) -> bool:
    """Whether a string, or all strings of a JSON value, are text: a lone surrogate, half a character, is none."""
    try:
        (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode()
    except UnicodeEncodeError:
        return False
    return True


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text without its newline); a byte-order mark is dropped.

    Not str.splitlines: U+2028 and other separators are ordinary characters of a JSON string.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip("\n").removesuffix("\r")
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text: {error}") from error
