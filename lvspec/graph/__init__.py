"""The plate diagram of a planned model: circles for latents, shaded ones for what is observed, coloured by strategy."""

from __future__ import annotations

from lvspec.graph.diagram import diagram
from lvspec.graph.dot import dot
from lvspec.graph.mermaid import mermaid
from lvspec.graph.svg import svg
from lvspec.ir.plan import Plan

WRITERS = {"svg": svg, "dot": dot, "mermaid": mermaid}


def draw(plan: Plan, form: str = "svg", guide: bool = False) -> str:
    """The diagram as text of one of WRITERS; the same plan gives the same text, to the byte. guide: with what q reads."""
    return WRITERS[form](diagram(plan, guide))
