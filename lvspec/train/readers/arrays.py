"""npz: a row of each array is an example; `array: x` is tried as `x_train`, `x_dev`, `x_test` (by part), then `x`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lvspec.errors import UsageError
from lvspec.train.settings import DataSettings

PART_NAMES = {"train": ("train",), "valid": ("dev", "valid", "val"), "test": ("test",)}


def records(path: Path, settings: DataSettings, part: str) -> Iterator[dict[str, object]]:
    """Rows by array name. Pickled (object) arrays are refused: unpickling runs code."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = settings.array.split(",") if settings.array else ["x"]
            columns = {name: file[found_name(file.files, name, part, path)] for name in names}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read as npz: {error}") from error
    lengths = {len(c) for c in columns.values() if c.ndim}
    if len(lengths) != 1 or any(c.ndim == 0 for c in columns.values()):
        raise UsageError(f"{path}: arrays {', '.join(columns)} have no common first axis")
    for i in range(lengths.pop()):
        yield {name: column[i] for name, column in columns.items()}


def found_name(files: list[str], name: str, part: str, path: Path) -> str:
    """The array to read for a part: its split if there is one, else the array of that very name."""
    other = PART_NAMES["valid"] if part == "test" else ()  # a set without a test part: the dev part stands in
    for candidate in (*(f"{name}_{suffix}" for suffix in (*PART_NAMES[part], *other)), name):
        if candidate in files:
            return candidate
    raise UsageError(f"{path}: no array {name!r} for {part}; the file has {', '.join(files)}")


def has_part(path: Path, name: str, part: str) -> bool:
    """Whether an npz has a split of its own for `part`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return any(f"{name}_{suffix}" in file.files for suffix in PART_NAMES[part])
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def value(record: dict[str, object], settings: DataSettings) -> object:
    return record[settings.array or "x"]
