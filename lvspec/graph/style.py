"""Colours and words of a diagram, shared by all its formats."""

from __future__ import annotations

INK = "#222222"
QUIET = "#6b7280"
PLATE_LINE = "#9aa3af"
OBSERVED = "#d4d7dc"
PLAIN = "#ffffff"

# strategy -> fill of the latent's node; all light enough for dark text
STRATEGY = {
    "enumeration": "#a9d6f5",
    "dynamic_programming": "#a8e0c8",
    "conjugacy": "#f6ec9c",
    "mean_field": "#e3d18a",
    "structured_mean_field": "#d9c37a",
    "reparameterization": "#fbd08f",
    "stratified": "#fbd08f",
    "reinforce": "#f4ab93",
    "gumbel_softmax": "#e3bdd9",
    "disarm": "#f4ab93",
    "relax": "#f4ab93",
    "sum_and_sample": "#f4ab93",
    "without_replacement": "#f4ab93",
    "subset": "#f2b8a0",
    "straight_through": "#e3bdd9",
    "none": "#ffffff",
}


def strategy_name(strategy: str) -> str:
    """`dynamic programming`."""
    return "no strategy yet" if strategy == "none" else strategy.replace("_", " ")


def fill(role: str, strategy: str | None) -> str:
    if role == "latent":
        return STRATEGY.get(strategy or "none", PLAIN)
    return OBSERVED if role in ("observed", "given") else PLAIN
