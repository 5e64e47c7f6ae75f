"""Symbols to ids, numbers to those of the model, and back: one encoder a variable, fitted on training data, kept as JSON beside
the run. What a symbol or a number is in a file, values.py says.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lvspec.errors import UsageError
from lvspec.train.data.tree_labels import TreeLabels

UNKNOWN = "<unk>"
NULL = "<null>"
MISSING = -1  # the id of a missing symbol inside an encoded sequence; never reaches a batch


@dataclass(frozen=True)
class Symbols:
    """A table of symbols with their training counts: by frequency, then alphabetically.

    With `unknown`, id 0 is <unk>; `end` (the stop symbol of a sequence) comes next, then `null` (its site 0, which
    stands for nothing).
    """

    symbols: tuple[str, ...]
    counts: tuple[int, ...]
    unknown: bool
    end: str | None = None
    null: str | None = None

    @staticmethod
    def fit(
        counted: Counter,
        sequences: int,
        *,
        unknown: bool,
        end: str | None,
        null: str | None = None,
        min_count=1,
        max_size=None,
    ) -> Symbols:
        special = [s for s in (UNKNOWN if unknown else None, end, null) if s]
        ranked = sorted((c for c in counted.items() if c[1] >= min_count), key=lambda c: (-c[1], c[0]))
        ranked = [c for c in ranked if c[0] not in special][
            : None if max_size is None else max(0, max_size - len(special))
        ]
        dropped = sum(counted.values()) - sum(n for _, n in ranked)
        counts = ([dropped] if unknown else []) + [sequences for s in (end, null) if s]
        symbols = (*special, *(s for s, _ in ranked))
        return Symbols(symbols, (*counts, *(n for _, n in ranked)), unknown, end, null)

    @staticmethod
    def of_labels(
        labels: tuple[str, ...], counted: Counter, sequences: int = 0, end: str | None = None, null: str | None = None
    ) -> Symbols:
        """Categories in a given order, behind `end` and `null` where these are categories, too."""
        special = [s for s in (end, null) if s]
        names = [n for n in map(str, labels) if n not in special]
        counts = [*(sequences for _ in special), *(counted[n] for n in names)]
        return Symbols((*special, *names), tuple(counts), False, end, null)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {s: i for i, s in enumerate(self.symbols)}

    @property
    def size(self) -> int:
        return len(self.symbols)

    @property
    def end_id(self) -> int:
        return self._ids[self.end] if self.end else MISSING

    @property
    def null_id(self) -> int:
        return self._ids[self.null] if self.null else MISSING

    def id(self, symbol: str | None) -> int:
        if symbol is None:
            return MISSING
        found = self._ids.get(symbol, 0 if self.unknown else None)
        if found is None:
            raise UsageError(
                f"label {symbol!r} does not occur in the training data (known: {', '.join(self.symbols[:12])})"
            )
        return found

    def of_size(self, size: int) -> Symbols:
        """The table with further values that no data have, up to `size` of them."""
        plain = all(s.isdigit() for s in self.symbols)
        more = tuple(str(i) if plain else f"<{i}>" for i in range(self.size, size))
        return replace(self, symbols=(*self.symbols, *more), counts=(*self.counts, *(0 for _ in more)))

    def show(self, ids: np.ndarray) -> Any:
        """Ids as symbols, nested like the ids; None for one that is missing."""
        if ids.ndim == 0 and ids == MISSING:
            return None
        if ids.ndim == 0:
            return self.symbols[int(ids)] if 0 <= int(ids) < self.size else "?"
        return [self.show(i) for i in ids]

    def to_json(self) -> dict:
        return {"kind": "symbols", **asdict(self)}


@dataclass(frozen=True)
class Numbers:
    """Real, binary or count values: value * scale + shift, then binarised at `threshold` if there is one.

    mean, variance: per feature (event axes flattened), of the training data as the model sees them: the baseline.
    """

    kind: str
    event: tuple[int, ...]
    scale: float = 1.0
    shift: float = 0.0
    threshold: float | None = None
    mean: tuple[float, ...] = ()
    variance: tuple[float, ...] = ()

    @property
    def dtype(self) -> type:
        return np.float32 if self.kind == "real" else np.int64

    def transformed(self, raw: np.ndarray) -> np.ndarray:
        value = raw * self.scale + self.shift
        if self.threshold is not None:
            value = np.where(np.isnan(value), np.nan, value > self.threshold)
        return value

    def show(self, values: np.ndarray) -> list:
        """Numbers on the scale of the file (binary ones as they are), whole ones without a point where all have to be whole."""
        values = np.asarray(values, dtype=np.float64)
        if self.threshold is None:
            values = (values - self.shift) / self.scale
        values = np.round(values, 6)
        whole = self.kind != "real" and (values == np.trunc(values)).all()
        return (values.astype(np.int64) if whole else values).tolist()

    def to_json(self) -> dict:
        return {"kind": "numbers", "values": self.kind, **{k: v for k, v in asdict(self).items() if k != "kind"}}


Encoder = Symbols | Numbers | TreeLabels


def from_json(entry: dict) -> Encoder:
    entry = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    kind = entry.pop("kind")
    if kind in ("symbols", "trees"):
        return (Symbols if kind == "symbols" else TreeLabels)(**entry)
    return Numbers(kind=entry.pop("values"), **entry)
