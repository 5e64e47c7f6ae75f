"""Reweighted wake–sleep: draws of q, weighted by how likely the model finds them; no gradient passes through a draw.

    ∇ model  Σ_s v_s ∇ log p(x, z_s)        ∇ q  Σ_s v_s ∇ log q(z_s | x)        v = w / Σ w,  w_s = p(x, z_s) / q(z_s | x)

q moves towards the posterior in KL(p ‖ q); of any family that can be drawn from and scored. Self-normalised weights
make it consistent in S, not unbiased. Bornschein & Bengio 2015; Le et al. 2019.
"""

from __future__ import annotations

from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.model import without_engine
from lvspec.plan.prices.sums import drawing
from lvspec.plan.sampling import guide_reason

NAME = "wake_sleep"


def consider(view: View, latent) -> Claim | Declined:
    model = view.model
    reason = without_engine(model, latent) or guide_reason(model, latent)
    if reason:
        return Declined(reason)
    samples = view.draws(NAME)
    why = f"{samples} weighted draws of q move model and q"
    return Claim("sampled", False, why, drawing(latent.name), biased=True, samples=samples)
