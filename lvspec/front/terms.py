"""`objective:` → terms that are added to the objective: numbers, one for each site of their plates."""

from __future__ import annotations

from dataclasses import replace

from lvspec.front import supports
from lvspec.front.context import Context, unknown
from lvspec.front.densities import distribution
from lvspec.front.story import StoryEntry
from lvspec.front.variables import build, find_types
from lvspec.ir.spec import Variable


def build_terms(stated: dict[str, StoryEntry], ctx: Context) -> tuple[Variable, ...]:
    """Terms may read all that the guide may, and what the guide computes; not each other."""
    inside = ctx.with_(density=distribution)
    found = build(stated, inside.with_(variables={**inside.variables, **find_types(stated, inside)}))
    for term in found.values():
        if term.initial:
            ctx.problems.error("bad-clause", term.span, f"the term `{term.name}` is one clause, without first sites")
        if term.type.shape and not unknown(term.type):
            ctx.problems.error(
                "shape-mismatch",
                term.span,
                f"the term `{term.name}` is no single number",
                label=supports.show(term.type),
                help="reduce it, e.g. with `sum(...)`",
            )
    return tuple(replace(t, role="term") for t in found.values())
