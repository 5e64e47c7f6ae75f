"""REINFORCE with a leave-one-out control variate: unbiased for any q whose log-density can be scored.

    ∇ E_q[f] = E[ 1/S Σ_s (f(z_s) - 1/(S-1) Σ_{r≠s} f(z_r)) ∇ log q(z_s) ] + E[∇ f]
f carries only what lies downstream of the draw. Kool et al. 2019. Where all draws stand inside one bound, f is that
bound, against itself with the draw's weight replaced by the geometric mean of the others': Mnih & Rezende 2016.
"""

from __future__ import annotations

from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.model import without_engine
from lvspec.plan.sampling import guide_reason
from lvspec.plan.sums import sampling

NAME = "reinforce"


def consider(view: View, latent) -> Claim | Declined:
    model = view.model
    reason = without_engine(model, latent) or guide_reason(model, latent)
    if reason:
        return Declined(reason)
    if latent.outside_batch:
        return Declined(f"{latent.name} lies outside the batch plate: its score term has no engine yet")
    samples = max(2, view.samples)
    against = "the geometric mean of the others' weights (VIMCO)" if view.bound.coupled else "the others' mean"
    why = f"unbiased score function, each of {samples} draws against {against}"
    return Claim("sampled", False, why, *sampling(model, latent.name, samples))
