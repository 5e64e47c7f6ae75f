"""Vectors side by side, `concat(h[t], memory[m])`, as one tensor or each with the axes that it varies over."""

from __future__ import annotations

from lvspec.emit.lowering.value import Value, join_draws
from lvspec.ir.expr import Call, Expr


def vectors_side_by_side(expr: Expr) -> Call | None:
    """The expression, where it is a `concat` of vectors."""
    return expr if isinstance(expr, Call) and expr.function == "concat" and len(expr.type.shape) == 1 else None


def parts_of(low, call: Call) -> list[Value]:
    """What stands side by side, each with its own axes."""
    return [low.real(low.concrete(low.lower(a))) for a in call.args]


def side_by_side(low, values: list[Value], call: Call) -> Value:
    """All of it at each site."""
    axes, _, aligned = low.broadcast(*values)
    code = f"{low.scope.use('concat')}({', '.join(v.code for v in aligned)})"
    return Value(code, axes, call.type.shape, draws=join_draws(*values))


def read_by_a_layer(low, expr: Expr) -> tuple[Value, tuple[Value, ...]]:
    """What a linear layer reads; and where that is two vectors side by side, each with axes that the other lacks, these."""
    call = vectors_side_by_side(expr)
    if call is None:
        return low.lower(expr), ()
    parts = parts_of(low, call)
    apart = len(parts) == 2 and all(set(a.axes) - set(b.axes) for a, b in (parts, parts[::-1]))
    return side_by_side(low, parts, call), tuple(parts) if apart else ()
