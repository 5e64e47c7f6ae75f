"""Families that a parameter's prior may be of, and what of the parameter each speaks of.

    a family of real numbers             the entries w themselves, each by itself
    Beta(a, b)                           sigmoid(w), each by itself: a table of log-odds
    Dirichlet(a)                         softmax(w) along the last axis: a table of logits; the same a for all entries

The density is that of what is spoken of, without a Jacobian: its mode is that of the probabilities, which expectation
maximisation finds by adding a - 1 to the counts (Murphy 2012, sections 3.3 and 3.4).
"""

from __future__ import annotations

from lvspec.ir.distributions import FAMILIES
from lvspec.ir.types import REAL

OF_PROBABILITIES = {"Beta": "sigmoid", "Dirichlet": "softmax"}  # by family, what a parameter stands for


def prior_families() -> tuple[str, ...]:
    """In the order of the table of distributions."""
    real = (
        n
        for n, f in FAMILIES.items()
        if f.variate == REAL and f.event == "scalar" and f.engine and not (f.improper or f.censored or any(f.between))
    )
    return (*real, *OF_PROBABILITIES)
