"""Symbolic sizes: `K`, `2*D`, `E + D` as polynomials with integer coefficients.

Two sizes are equal exactly when their normal forms are, so shapes are checked before
anybody knows how large the vocabulary is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Dim:
    """A polynomial over size names: sorted ((names of the monomial), coefficient) pairs.

    `Dim.of("K") + 2` is ((), 2), (("K",), 1). The extent of a ragged plate t is the
    opaque name `|t|`.
    """

    terms: tuple[tuple[tuple[str, ...], int], ...]

    @staticmethod
    def of(value: int | str | Dim) -> Dim:
        if isinstance(value, Dim):
            return value
        if isinstance(value, str):
            return Dim((((value,), 1),))
        return Dim((((), value),) if value else ())

    @staticmethod
    def _normal(terms: dict[tuple[str, ...], int]) -> Dim:
        return Dim(tuple(sorted((names, c) for names, c in terms.items() if c)))

    def __add__(self, other: int | str | Dim) -> Dim:
        terms = dict(self.terms)
        for names, c in Dim.of(other).terms:
            terms[names] = terms.get(names, 0) + c
        return Dim._normal(terms)

    def __mul__(self, other: int | str | Dim) -> Dim:
        terms: dict[tuple[str, ...], int] = {}
        for a, c in self.terms:
            for b, d in Dim.of(other).terms:
                names = tuple(sorted(a + b))
                terms[names] = terms.get(names, 0) + c * d
        return Dim._normal(terms)

    def __sub__(self, other: int | str | Dim) -> Dim:
        return self + Dim.of(other) * -1

    __radd__ = __add__
    __rmul__ = __mul__

    def divided(self, by: int) -> Dim | None:
        """self / by, or None where a coefficient does not divide."""
        if by == 0 or any(c % by for _, c in self.terms):
            return None
        return Dim(tuple((names, c // by) for names, c in self.terms))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted({n for names, _ in self.terms for n in names}))

    @property
    def constant(self) -> int | None:
        """The number, where no name is left."""
        if not self.terms:
            return 0
        return self.terms[0][1] if len(self.terms) == 1 and not self.terms[0][0] else None

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        return sum(c * prod(sizes[n] for n in names) for names, c in self.terms)

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        parts = []
        for names, c in sorted(self.terms, key=lambda t: (-len(t[0]), t[0])):
            factors = ([] if c == 1 and names else [str(c)]) + list(names)
            parts.append(" * ".join(factors))
        return " + ".join(parts).replace("+ -", "- ")


Shape = tuple[Dim, ...]


def show_shape(shape: Shape) -> str:
    """`[K, 2 * D]`, or nothing for a scalar."""
    return f"[{', '.join(map(str, shape))}]" if shape else ""


def ragged_plate(size: Dim) -> str | None:
    """`t`, where a size has the extent of the ragged plate t in it."""
    return next((n.strip("|") for n in size.names if n.startswith("|")), None)
