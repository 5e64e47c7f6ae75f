"""What is known of a value before anything runs: event shape, support, plates, reach."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lvspec.ir.dims import Dim, Shape, show_shape


@dataclass(frozen=True)
class Support:
    """The set a value lies in.

    kind: real | positive | nonnegative | unit (open or closed [0, 1]) | simplex (last axis sums
    to one) | sphere (last axis has length one) | integer (0 .. size-1) | count (0, 1, 2, ...) | boolean (0 or 1) | structure (trees).
    """

    kind: str
    size: Dim | None = None

    @property
    def discrete(self) -> bool:
        return self.kind in ("integer", "count", "boolean", "structure")

    @property
    def finite(self) -> bool:
        return self.kind in ("integer", "boolean")

    @property
    def cardinality(self) -> Dim | None:
        """How many values, for finite supports."""
        return Dim.of(2) if self.kind == "boolean" else self.size

    def __str__(self) -> str:
        return f"integer below {self.size}" if self.kind == "integer" else self.kind


REAL = Support("real")
POSITIVE = Support("positive")
NONNEGATIVE = Support("nonnegative")
UNIT = Support("unit")
SIMPLEX = Support("simplex")
SPHERE = Support("sphere")
COUNT = Support("count")
BOOLEAN = Support("boolean")
STRUCTURE = Support("structure")

# what may stand where a given support is asked for
_WITHIN = {
    "real": {"real", "positive", "nonnegative", "unit", "simplex", "sphere", "count", "boolean", "integer"},
    "positive": {"positive"},
    "nonnegative": {"nonnegative", "positive", "unit", "simplex", "count", "boolean", "integer"},
    "unit": {"unit", "simplex", "boolean"},
    "simplex": {"simplex"},
    "sphere": {"sphere"},
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
        return replace(self, **changes)

    def __str__(self) -> str:
        text = f"{self.support}{show_shape(self.shape)}"
        if self.reach:
            text += f" along {self.reach.plate}"
        if self.plates:
            text += f" per {', '.join(self.plates)}"
        return text
