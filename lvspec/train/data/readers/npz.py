"""npz: a row of each array is an example; `array: x` is tried as `x_train`, `x_dev`, `x_test` (by part), then `x`.

Of a file that has some of the arrays, values of the others are missing, as of a key that a JSON line lacks.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lvspec.errors import UsageError
from lvspec.train.data.readers.files import FileReader, is_text
from lvspec.train.settings import DataSettings

DEFAULT = "x"
PART_NAMES = {"train": ("train",), "valid": ("dev", "valid", "val"), "test": ("test",)}


@dataclass(frozen=True)
class Row:
    """A row of each array, by the name that it is looked for under; `arrays` are all that the file has."""

    values: dict[str, object]
    arrays: tuple[str, ...]


def records(path: Path, settings: DataSettings, part: str) -> Iterator[Row]:
    """Pickled (object) arrays are refused: unpickling runs code."""
    names = settings.array.split(",") if settings.array else [DEFAULT]
    with opened(path) as file:
        arrays = tuple(file.files)
        columns = {name: file[found] for name in names if (found := found_name(arrays, name, part)) is not None}
    if not columns:
        raise UsageError(f"{path}: no array {names[0]!r} for {part}; the file has {', '.join(arrays)}")
    for name, column in columns.items():
        if column.dtype.kind == "U" and not all(map(is_text, column.flat)):
            raise UsageError(f"{path}: array {name!r} holds half a character (a lone surrogate), which is no text")
    lengths = {len(c) for c in columns.values() if c.ndim}
    if len(lengths) != 1 or any(c.ndim == 0 for c in columns.values()):
        raise UsageError(f"{path}: arrays {', '.join(columns)} have no common first axis")
    for i in range(lengths.pop()):
        yield Row({name: column[i] for name, column in columns.items()}, arrays)


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


def found_name(files: Sequence[str], name: str, part: str) -> str | None:
    """The array to read for a part: its split if there is one, else the array of that very name; None where there is neither."""
    other = PART_NAMES["valid"] if part == "test" else ()  # a set without a test part: the dev part stands in
    for candidate in (*(f"{name}_{suffix}" for suffix in (*PART_NAMES[part], *other)), name):
        if candidate in files:
            return candidate
    return None


def located(path: Path, settings: DataSettings, name: str, alone: bool) -> DataSettings:
    """With the array of a variable: that which is said, else the one that is named as the variable, else, of the only variable of
    which none is said, `x`."""
    if settings.array:
        return settings
    with opened(path) as file:
        kinds = (name, *(f"{name}_{suffix}" for suffixes in PART_NAMES.values() for suffix in suffixes))
        return replace(settings, array=name if not alone or any(k in file.files for k in kinds) else DEFAULT)


def has_part(path: Path, settings: DataSettings, part: str) -> bool:
    """Whether an npz has a split of its own for `part`, of a variable whose array is located."""
    with opened(path) as file:
        return any(f"{settings.array}_{suffix}" in file.files for suffix in PART_NAMES[part])


def value(record: Row, settings: DataSettings, name: str) -> object:
    return record.values.get(settings.array or DEFAULT)


READER = FileReader(records, value, names=lambda record: record.arrays, located=located, has_part=has_part)
