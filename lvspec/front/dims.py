"""Sizes as they are written, `E + D`, `2*D`, as polynomials."""

from __future__ import annotations

from collections.abc import Collection

from lvspec.front import syntax as S
from lvspec.front.names import did_you_mean
from lvspec.front.problems import Problems
from lvspec.ir.dims import Dim

LARGEST = 2**31 - 1


def to_extent(node: S.Node, sizes: Collection[str], problems: Problems) -> Dim | None:
    """The same of an axis, or of a set of symbols: it has at least one entry."""
    dim = to_dim(node, sizes, problems)
    if dim is not None and dim.constant is not None and dim.constant < 1:
        problems.error("bad-size", node.span, f"an axis has at least one entry, not {dim.constant}")
        return None
    return dim


def to_dim(node: S.Node, sizes: Collection[str], problems: Problems) -> Dim | None:
    """The polynomial of a size expression, or None where it is none (then noted)."""
    match node:
        case S.Literal(text, value):
            if not isinstance(value, int) or value > LARGEST or (len(text) > 1 and text.startswith("0")):
                problems.error(
                    "bad-number", node.span, f"a size is a whole number without leading zeros, not `{text[:40]}`"
                )
                return None
            return Dim.of(value)
        case S.Name(name):
            if name not in sizes:
                help = did_you_mean(name, tuple(sizes), "declare it under `sizes:`")
                problems.error("unknown-name", node.span, f"there is no size `{name}`", help=help)
                return None
            return Dim.of(name)
        case S.Binary(("add" | "subtract" | "multiply") as function, left, right):
            a, b = to_dim(left, sizes, problems), to_dim(right, sizes, problems)
            if a is None or b is None:
                return None
            if len(a.terms) * len(b.terms) > 64:
                problems.error("too-large", node.span, "a product of sums of sizes has at most 64 terms")
                return None
            return a + b if function == "add" else a - b if function == "subtract" else a * b
    problems.error("bad-size", node.span, "a size is made of numbers, sizes, `+`, `-` and `*`")
    return None
