"""What logits and probabilities of a category are made of, where that spares a tensor of all of them: a table's rows, a sum."""

from __future__ import annotations

from lvspec.emit.lowering.indexing import indices_of, places_of
from lvspec.emit.lowering.lower import Lowering
from lvspec.emit.lowering.value import Value
from lvspec.ir.expr import Call, Dist, Expr, Index
from lvspec.ir.mixtures import MixturePart, parts_of


def mixed(low: Lowering, dist: Dist) -> tuple[Value, tuple[MixturePart, ...]] | None:
    """The parts of probabilities that are a sum, and what they vary over, where that is examples: no table holds them."""
    parts = parts_of(dist, low.meaning, frozenset((*low.edges.standing, *low.unrolled)))
    if not parts:
        return None
    saved = list(low.scope.lines), dict(low.lets), set(low.scope.names.taken)
    value = low.lower(dist.argument("probs"))
    low.scope.lines[:], low.lets, low.scope.names.taken = saved
    if "B" not in value.axes:
        return None
    return value.with_(code=""), parts


def lookup(low: Lowering, expr: Expr) -> tuple[Value, list[Value]] | None:
    """The rows of a table that is the same for all examples, and the integers that name them, of which some differ by example."""
    if not isinstance(expr, Index) or len(expr.indices) != len(expr.base.type.shape) - 1:
        return None
    saved, lets = list(low.scope.lines), dict(low.lets)
    table = low.lower(expr.base)
    indices = indices_of(low, table, expr)
    places = places_of(table, indices)
    told = any("B" in i.axes for i in indices)
    if told and places is not None and all(low.order.is_enumerated(a) for a in table.axes):
        return low.real(table), indices
    low.scope.lines[:], low.lets = saved, lets
    return None


def addends(low: Lowering, expr: Expr, name: str) -> tuple[Value, Value] | None:
    """A sum of logits in two parts: of summed latents alone, and of everything else alone; None where it is not so."""
    if not isinstance(expr, Call) or expr.function != "add":
        return None
    saved, lets = list(low.scope.lines), dict(low.lets)
    parts = [low.lower(e) for e in _terms(expr)]
    states = [v for v in parts if v.axes and all(low.order.is_enumerated(a) for a in v.axes)]
    others = [v for v in parts if not any(low.order.is_enumerated(a) for a in v.axes)]
    whole = all(
        any(v.shape == expr.type.shape for v in group) for group in (states, others)
    )  # not numbers for all entries
    if not whole or len(states) + len(others) < len(parts) or not any(v.axes for v in others):
        low.scope.lines[:], low.lets = saved, lets
        return None
    state, site = low.plus(states), low.plus(others)
    return low.scope.assign(f"state_logits_{name}", state), low.scope.assign(f"site_logits_{name}", site)


def _terms(expr: Expr) -> list[Expr]:
    if isinstance(expr, Call) and expr.function == "add":
        return [t for e in expr.args for t in _terms(e)]
    return [expr]
