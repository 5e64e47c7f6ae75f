"""Lines of a text file, plain or gzipped, split at newline characters only."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from lvspec.errors import UsageError


def is_text(value: object) -> bool:
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
