"""The expectation over the values that were drawn, q renormalised among them: minimum risk training, biased.

    E_q f ≈ Σ_s w_s f(z_s),    w_s = q(z_s)^α / Σ_r q(z_r)^α over the different values drawn, and ∇ through w
α, `sharpness`, makes the weights even (towards 0) or like the best one's alone. It is meant for an expectation under the
model's own distribution. Shen et al. 2016.
"""

from __future__ import annotations

from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.model import without_engine
from lvspec.plan.own import follows_model
from lvspec.plan.prices.sums import drawing
from lvspec.plan.sampling import guide_reason

NAME = "subset"


def consider(view: View, latent) -> Claim | Declined:
    model, name = view.model, latent.name
    if not latent.type.support.finite:
        return Declined("the latent is not one of finitely many values, whose mass is renormalised")
    if not follows_model(latent, model.guide_of(name)):
        return Declined(
            f"it is for a risk under p({name}) itself: a term that reads {name}, and nothing observed that does"
        )
    reason = without_engine(model, latent) or guide_reason(model, latent)
    if reason:
        return Declined(reason)
    samples = view.draws(NAME)
    if samples < 2:
        return Declined("one value has all the weight: samples=2 or more")
    sharpness = float(view.option(name, NAME, "sharpness"))
    power = f" to the power {sharpness:g}" if sharpness != 1 else ""
    return Claim(
        "sampled",
        False,
        f"biased: p{power} renormalised over {samples} draws, each value once",
        drawing(name),
        biased=True,
        samples=samples,
        options=(("sharpness", sharpness),),
    )
