"""npz: a row of each array is an example; `array: x` is tried as `x_train`, `x_dev`, `x_test` (by part), then `x`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from lvspec.errors import UsageError
from lvspec.train.data.readers.files import FileReader, is_text
from lvspec.train.settings import DataSettings

DEFAULT = "x"
PART_NAMES = {"train": ("train",), "valid": ("dev", "valid", "val"), "test": ("test",)}


def records(path: Path, settings: DataSettings, part: str) -> Iterator[dict[str, object]]:
    """Rows by array name. Pickled (object) arrays are refused: unpickling runs code."""
    names = settings.array.split(",") if settings.array else [DEFAULT]
    with opened(path) as file:
        columns = {name: file[found_name(file.files, name, part, path)] for name in names}
    for name, column in columns.items():
        if column.dtype.kind == "U" and not all(map(is_text, column.flat)):
            raise UsageError(f"{path}: array {name!r} holds half a character (a lone surrogate), which is no text")
    lengths = {len(c) for c in columns.values() if c.ndim}
    if len(lengths) != 1 or any(c.ndim == 0 for c in columns.values()):
        raise UsageError(f"{path}: arrays {', '.join(columns)} have no common first axis")
    for i in range(lengths.pop()):
        yield {name: column[i] for name, column in columns.items()}


@contextmanager
def opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """The arrays of a file, each read when it is asked for."""
    try:
        with path.open("rb") as stream:  # of a file that is cut short, numpy would leave a handle of its own open
            found = np.load(stream, allow_pickle=False)
            if not isinstance(found, np.lib.npyio.NpzFile):
                raise UsageError(
                    f"{path}: is a single array; numpy.savez({str(path.with_suffix('.npz'))!r}, x=...) names it"
                )
            with found:
                yield found
    except (OSError, ValueError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        why = "it is none, or holds pickled objects" if "pickled" in str(error) else error
        raise UsageError(f"{path}: cannot be read as npz: {why}") from error


def found_name(files: list[str], name: str, part: str, path: Path) -> str:
    """The array to read for a part: its split if there is one, else the array of that very name."""
    other = PART_NAMES["valid"] if part == "test" else ()  # a set without a test part: the dev part stands in
    for candidate in (*(f"{name}_{suffix}" for suffix in (*PART_NAMES[part], *other)), name):
        if candidate in files:
            return candidate
    raise UsageError(f"{path}: no array {name!r} for {part}; the file has {', '.join(files)}")


def located(path: Path, settings: DataSettings, name: str) -> DataSettings:
    """With the array of a variable: that which is said, else the one that is named as the variable, else `x`."""
    if settings.array:
        return settings
    with opened(path) as file:
        kinds = (name, *(f"{name}_{suffix}" for suffixes in PART_NAMES.values() for suffix in suffixes))
        return replace(settings, array=name if any(k in file.files for k in kinds) else DEFAULT)


def has_part(path: Path, settings: DataSettings, name: str, part: str) -> bool:
    """Whether an npz has a split of its own for `part`."""
    array = located(path, settings, name).array
    with opened(path) as file:
        return any(f"{array}_{suffix}" in file.files for suffix in PART_NAMES[part])


def value(record: dict[str, object], settings: DataSettings, name: str) -> object:
    return record[settings.array or DEFAULT]


READER = FileReader(records, value, located=located, has_part=has_part)
