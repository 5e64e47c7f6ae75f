"""Raw values as symbols or numbers, a list for each axis: null is missing, what is neither is refused.

`null` may stand for one entry, and for a whole vector or the sites of a fixed plate, whose number is known; not for a sequence
inside another one, whose length nothing would tell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from lvspec.errors import TrainingError, UsageError
from lvspec.train.data.layout import Field
from lvspec.train.settings import DataSettings

LARGEST = 3e38  # that a float32 holds
SPLITS: dict[str, Callable[[str], list]] = {"whitespace": str.split, "characters": list, "none": lambda text: [text]}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_WORDS = {None: "null", True: "true", False: "false"}


def plain(raw: Any) -> Any:
    """An array as nested lists; truth values of an array are 0 and 1."""
    if isinstance(raw, (np.ndarray, np.generic)):
        return (raw.astype(np.int64) if raw.dtype.kind == "b" else raw).tolist()
    return raw


def shown(raw: Any) -> str:
    """A raw value as a message has it."""
    return _WORDS[raw] if raw is None or isinstance(raw, bool) else repr(raw)[:60]


def leaves(value: Any) -> Iterable:
    """The symbols of a nested list, in order."""
    if isinstance(value, list):
        for v in value:
            yield from leaves(v)
    else:
        yield value


def symbol(raw: Any) -> str | None:
    """A text as it is, a whole number as its digits; null, an empty text and NaN are missing."""
    raw = plain(raw)
    if raw is None or isinstance(raw, str):
        return raw or None
    if isinstance(raw, int) and not isinstance(raw, bool):
        return str(raw)
    if isinstance(raw, float) and math.isnan(raw):
        return None
    if isinstance(raw, float) and raw.is_integer():
        return str(int(raw))
    raise UsageError(f"expected a symbol, a text or a whole number, found {shown(raw)}")


def symbols(raw: Any, f: Field, settings: DataSettings) -> Any:
    """A label, or lists of symbols as deep as the variable has axes: a sentence, a document of sentences.

    A text where symbols stand along the last axis is split. null for a list stays.
    """
    bare = f.categories or not (f.plates or f.event)  # blanks around a label are no part of it

    def one(value: Any) -> str | None:
        found = symbol(value.strip() if bare and isinstance(value, str) else value)
        return found.lower() if found and settings.lower else found

    def read(value: Any, depth: int, top: bool = False) -> Any:
        value = plain(value)
        if value is None:
            return None
        if depth == 0:
            if top and isinstance(value, (list, dict)):
                raise UsageError(f"expected one label, found {shown(value)}")
            return one(value)
        if depth == 1 and isinstance(value, str):
            return [one(v) for v in SPLITS[settings.tokenize](value)]
        if not isinstance(value, (list, tuple)):
            raise UsageError(f"expected a list of {'symbols' if depth == 1 else 'sequences'}, found {shown(value)}")
        return [read(v, depth - 1) for v in value]

    try:
        return read(raw, len(f.plates) + len(f.event), True)
    except UsageError as error:
        raise UsageError(f"{f.name}: {error}") from error


def numbers(raw: Any, f: Field, nested: bool = False, event: Sequence[int | None] | None = None) -> np.ndarray:
    """Numbers as plates x event, missing ones NaN; a picture (28, 28) is flattened for a vector of features.

    nested: NaN stands beyond the end of a second plate, of which each site of the first one has its own. event: the extents of
    a vector, as far as they are known.
    """
    rank = len(f.plates) + len(f.event)
    array = isinstance(raw, (np.ndarray, np.generic))
    try:
        value = _from_array(raw) if array else _from_lists(raw, f, nested, f.event if event is None else event)
    except UsageError as error:
        words = isinstance(raw, list) and all(r is None or isinstance(r, str) and r.strip()[:1].isalpha() for r in raw)
        header = "; where the first line of a table holds names, say `header: true`" if words else ""
        raise UsageError(f"{f.name}: {error}{header}") from error
    if len(f.event) == 1 and value.ndim > rank:
        value = value.reshape(*value.shape[: len(f.plates)], -1)
    if value.ndim != rank:
        raise TrainingError(f"{f.name}: expected {rank} axes (plates and features), a record has shape {value.shape}")
    if (np.abs(value) > LARGEST).any():
        raise TrainingError(f"{f.name} has a number that is infinite, or too large")
    return value


def _from_array(raw: np.ndarray | np.generic) -> np.ndarray:
    if raw.dtype.kind not in "biuf":
        raise UsageError(f"expected numbers, found an array of {raw.dtype}")
    return np.asarray(raw, dtype=np.float64)


def _from_lists(raw: Any, f: Field, nested: bool, event: Sequence[int | None]) -> np.ndarray:
    rank = len(f.plates) + len(f.event)
    if isinstance(raw, str):
        pieces = raw.replace(",", " ").split()
        raw = pieces if rank or len(pieces) != 1 else pieces[0]
    depth = max(rank, _depth(raw)) if len(f.event) == 1 else rank  # a picture has axes of its own
    value = _floats(raw, depth)
    if not depth:
        return np.array(value)
    vector = event if depth == rank else [None] * (depth - len(f.plates))
    block = np.full(extents(value, f, nested, [n or 1 for n in vector]), np.nan)
    _put(block, value)
    return block


def _depth(raw: Any) -> int:
    return 1 + max(map(_depth, raw), default=0) if isinstance(raw, (list, tuple)) else 0


def _floats(raw: Any, depth: int) -> Any:
    """Lists of floats, `depth` deep; null for a list stays."""
    raw = plain(raw)
    if depth:
        if raw is not None and not isinstance(raw, (list, tuple)):
            raise UsageError(f"expected a list of numbers, found {shown(raw)}")
        return None if raw is None else [_floats(r, depth - 1) for r in raw]
    if raw is None:
        return math.nan
    if isinstance(raw, str) and _NUMBER.fullmatch(raw.strip()):
        return float(raw)
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        try:
            return float(raw)
        except OverflowError:
            return math.inf
    raise UsageError(f"expected numbers, found {shown(raw)}")


def _put(block: np.ndarray, value: list) -> None:
    """Lists into the beginnings of the axes of a block."""
    if block.ndim == 1:
        block[: len(value)] = value
        return
    for place, inner in zip(block, value, strict=False):
        _put(place, inner)


def extents(value: list, f: Field, nested: bool, event: Sequence[int | None]) -> list[int]:
    """How many entries there are along each axis. null for a list becomes a list of nulls, in place.

    nested: each site of the first plate has its own number of sites of the second one. UsageError where other lists beside each
    other differ in length, and where nothing says how many entries a null stands for.
    """
    known = [*(f.sites or (None,) * len(f.plates)), *event]
    found, rows = [len(value)], [value]
    for axis in range(1, len(known)):
        own, along = nested and axis == 1, f"along {f.plates[axis]}" if axis < len(f.plates) else "in a vector"
        lengths = sorted({len(inner) for row in rows for inner in row if inner is not None})
        if len(lengths) > 1 and not own:
            raise UsageError(f"{lengths[0]} and {lengths[1]} values {along} stand in one record")
        length = None if own else lengths[0] if lengths else known[axis]
        for row in rows:
            if length is None and None in row:
                raise UsageError(
                    f"null stands for the values {along}, and nothing says how many: write null for each, [] for none"
                )
            row[:] = [[None] * (length or 0) if inner is None else inner for inner in row]
        rows = [inner for row in rows for inner in row]
        found.append(max(map(len, rows), default=known[axis] or 0))
    return found
