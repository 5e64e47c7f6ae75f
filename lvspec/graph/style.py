"""Colours and words of a diagram, shared by all its formats."""

from __future__ import annotations

from lvspec.ir.estimators import STRATEGIES

INK = "#222222"
QUIET = "#6b7280"
PLATE_LINE = "#9aa3af"
OBSERVED = "#d4d7dc"
PLAIN = "#ffffff"


def strategy_name(strategy: str) -> str:
    """`dynamic programming`."""
    return "no strategy yet" if strategy == "none" else strategy.replace("_", " ")


def fill(role: str, strategy: str | None) -> str:
    if role == "latent":
        return STRATEGIES[strategy].color if strategy in STRATEGIES else PLAIN
    return OBSERVED if role in ("observed", "given") else PLAIN
