"""What is known of a value before anything runs: event shape, support, plates, reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isinf

from lvspec.ir.dims import Dim, Shape, show_shape


def _as_float(n: int) -> float:
    try:
        return float(n)
    except OverflowError:
        return inf if n > 0 else -inf


@dataclass(frozen=True)
class Range:
    """Numbers from low to high. open: whether low, and whether high, are themselves left out (infinite ends always are)."""

    low: float = -inf
    high: float = inf
    open: tuple[bool, bool] = (False, False)

    def __post_init__(self) -> None:
        for name in ("low", "high"):  # a whole number may be larger than any float
            if isinstance(getattr(self, name), int):
                object.__setattr__(self, name, _as_float(getattr(self, name)))

    def within(self, other: Range) -> bool:
        """Whether every number here is one of `other`."""
        opened = [o or isinf(end) for o, end in zip(self.open, (self.low, self.high), strict=True)]
        below = self.low > other.low or self.low == other.low and (opened[0] or not other.open[0])
        above = self.high < other.high or self.high == other.high and (opened[1] or not other.open[1])
        return below and above


@dataclass(frozen=True)
class Support:
    """The set a value lies in.

    kind: real | increasing (along the last axis) | positive | nonnegative | unit (open or closed [0, 1]) | simplex (last axis sums
    to one) | onehot (last axis has one 1, else 0) | sphere (last axis has length one) | covariance (last two axes are a positive definite matrix) | integer (0 .. size-1) |
    count (0, 1, 2, ... below the size, where it has one) | boolean (0 or 1) | structure (trees).
    known: what else is known of its entries, e.g. that `1 + exp(a)` is above 1; the kind alone says which set it is.
    """

    kind: str
    size: Dim | None = None
    known: Range | None = field(default=None, compare=False)

    @property
    def range(self) -> Range:
        """Between which numbers each entry lies."""
        if self.known is not None:
            return self.known
        if self.size is not None:
            return Range(0, inf if self.size.constant is None else self.size.constant - 1)
        return _RANGES.get(self.kind, Range())

    @property
    def discrete(self) -> bool:
        return self.kind in ("integer", "count", "boolean", "structure")

    @property
    def finite(self) -> bool:
        return self.kind in ("integer", "boolean") or self.kind == "count" and self.size is not None

    @property
    def cardinality(self) -> Dim | None:
        """How many values, for finite supports."""
        return Dim.of(2) if self.kind == "boolean" else self.size

    @property
    def values(self) -> Dim:
        """How many values, of a support that is known to be finite."""
        assert self.cardinality is not None
        return self.cardinality

    def __str__(self) -> str:
        if self.kind == "count" and self.size is not None:
            return f"count below {self.size}"
        return f"integer below {self.size}" if self.kind == "integer" else self.kind


_RANGES = {
    "positive": Range(0, open=(True, False)),
    "nonnegative": Range(0),
    "unit": Range(0, 1),
    "simplex": Range(0, 1),
    "onehot": Range(0, 1),
    "sphere": Range(-1, 1),
    "count": Range(0),
    "boolean": Range(0, 1),
}

REAL = Support("real")
POSITIVE = Support("positive")
NONNEGATIVE = Support("nonnegative")
UNIT = Support("unit")
SIMPLEX = Support("simplex")
ONEHOT = Support("onehot")
SPHERE = Support("sphere")
INCREASING = Support("increasing")
COUNT = Support("count")
BOOLEAN = Support("boolean")
STRUCTURE = Support("structure")
COVARIANCE = Support("covariance")

# what may stand where a given support is asked for
_WITHIN = {
    "real": {
        "real",
        "positive",
        "nonnegative",
        "unit",
        "simplex",
        "onehot",
        "sphere",
        "covariance",
        "increasing",
        "count",
        "boolean",
        "integer",
    },
    "positive": {"positive"},
    "nonnegative": {"nonnegative", "positive", "unit", "simplex", "onehot", "count", "boolean", "integer"},
    "unit": {"unit", "simplex", "onehot", "boolean"},
    "simplex": {"simplex", "onehot"},
    "onehot": {"onehot"},
    "sphere": {"sphere"},
    "increasing": {"increasing"},
    "covariance": {"covariance"},
    "count": {"count", "boolean", "integer"},
    "boolean": {"boolean"},
    "integer": {"integer", "boolean"},
    "structure": {"structure"},
}


def within(found: Support, expected: Support) -> bool:
    """Whether every value of `found` is allowed where `expected` is asked for (sizes apart)."""
    return found.kind in _WITHIN[expected.kind]


@dataclass(frozen=True)
class Reach:
    """A value that is a stretch of an ordered or unordered plate, not one site of it.

    reach: whole (x) | before (x[<t]) | through (x[<=t]) | after (x[>t]) | from (x[>=t]).
    inside: the latent in whose segment the stretch begins (x[<t in z]).
    """

    plate: str
    reach: str
    inside: str | None = None


@dataclass(frozen=True)
class Type:
    """The type of an expression or a variable.

    shape: event axes, after all plates. support: see `Support`.
    plates: the plates whose sites the value differs over (batch apart), in the spec's order.
    reach: set while the value is still a stretch of a plate (`words(x[<t])`); a network or a
        function that reads the stretch removes it. Its plate is not in `plates` then.
    """

    shape: Shape = ()
    support: Support = REAL
    plates: tuple[str, ...] = ()
    reach: Reach | None = None

    def with_(self, **changes) -> Type:
        return Type(**vars(self) | changes)

    def __str__(self) -> str:
        text = f"{self.support}{show_shape(self.shape)}"
        if self.reach:
            text += f" along {self.reach.plate}"
        if self.plates:
            text += f" per {', '.join(self.plates)}"
        return text
