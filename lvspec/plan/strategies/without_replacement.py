"""Draws without replacement: S different values of a categorical latent, weighed by how likely the set was.

    ∇ E_q f = Σ_s q_s R_s ((f_s - Σ_r q_r R_r^(s) f_r) ∇ log q_s + ∇ f_s)          R_s = p(the set | z_s first) / p(the set)
Unbiased: it is the estimate by one draw, averaged over which of the set was first. What a draw is held against says what
the rest of the set says of E f. Kool, van Hoof & Welling 2020.
"""

from __future__ import annotations

from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.prices.sums import drawing
from lvspec.plan.schemes import set_reason

NAME = "without_replacement"
MOST = 10  # all subsets of a set are gone through


def consider(view: View, latent) -> Claim | Declined:
    reason = set_reason(view, latent)
    if reason:
        return Declined(reason)
    values = view.model.cardinality(latent.name)
    samples = view.asked or min(view.draws(NAME), values)
    if not 2 <= samples <= min(values, MOST):
        limit = f"{latent.name} has {values}" if values < MOST else f"their sets are gone through up to {MOST}"
        return Declined(f"samples={samples} different values: at least 2, and {limit}")
    why = f"unbiased score function, {samples} different values, each against the rest of the set"
    return Claim("sampled", False, why, drawing(latent.name), samples=samples)
