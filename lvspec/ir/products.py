"""What is multiplied in an expression, and which factors lie together on the axes of one of them.

a[t, m] * b[m] * v[m]     a | b, v      a spans t and m, b and v what v spans: m and its entries
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from lvspec.ir.expr import Call, Expr


def factors_of(expr: Expr) -> list[Expr]:
    """What is multiplied."""
    if isinstance(expr, Call) and expr.function == "multiply":
        return [f for e in expr.args for f in factors_of(e)]
    return [expr]


def grouped(spans: Sequence[frozenset[Hashable]]) -> list[list[int]]:
    """The places of spans, each with the first of the widest ones that holds it."""
    widest = [s for s in dict.fromkeys(spans) if not any(s < other for other in spans)]
    found: dict[frozenset[Hashable], list[int]] = {span: [] for span in widest}
    for i, span in enumerate(spans):
        found[next(w for w in widest if span <= w)].append(i)
    return list(found.values())
