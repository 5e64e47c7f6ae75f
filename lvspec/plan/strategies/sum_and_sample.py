"""Sum and sample: the most probable values of a categorical latent each once, and draws of the others.

    E_q f = Σ_{k in C} q_k f(k) + (1 - q(C)) E_q[f | not in C]           C the `top` most probable values
    ∇ E_q f = Σ_s w_s ((f(z_s) - b_s) ∇ log q(z_s) + ∇ f(z_s))           w_s: q_k, or (1 - q(C)) / the number of draws
Unbiased, and exact where the others have no mass. Liu, Regier, Tripuraneni, Jordan & McAuliffe 2019.
"""

from __future__ import annotations

from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.prices.sums import drawing
from lvspec.plan.schemes import set_reason

NAME = "sum_and_sample"


def consider(view: View, latent) -> Claim | Declined:
    reason = set_reason(view, latent)
    if reason:
        return Declined(reason)
    top = view.option(latent.name, NAME, "top")
    samples = view.asked or max(view.draws(NAME), top + 1)
    if top >= view.model.cardinality(latent.name):
        return Declined(
            f"{latent.name} has {view.model.cardinality(latent.name)} values: top={top} leaves nothing to draw"
        )
    if samples <= top:
        return Declined(f"samples={samples} leave no draw beside the top={top} values")
    why = f"unbiased score function, the {top} most probable of its values summed, {samples - top} of the others drawn"
    return Claim("sampled", False, why, drawing(latent.name), samples=samples, options=(("top", top),))
