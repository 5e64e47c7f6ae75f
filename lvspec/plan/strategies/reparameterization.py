"""Reparameterization: z = g(noise; x), so that the gradient passes through the draw.

    ∇ E_q[f(z)] = E_noise[∇ f(g(noise))]
Kingma & Welling 2014; Rezende et al. 2014.
"""

from __future__ import annotations

from lvspec.ir.distributions import FAMILIES, GUIDE_FAMILY
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.model import without_engine
from lvspec.plan.sampling import guide_reason
from lvspec.plan.sums import sampling

NAME = "reparameterization"


def consider(view: View, latent) -> Claim | Declined:
    model = view.model
    if latent.type.support.discrete:
        return Declined("the latent is discrete: a draw has no derivative")
    reason = without_engine(model, latent) or guide_reason(model, latent, flows=True)
    if reason:
        return Declined(reason)
    guide = model.guide_of(latent.name)
    body = guide.general.body if guide else None
    family = body.source.family if body else GUIDE_FAMILY[latent.type.support.kind]
    if not FAMILIES[family].reparameterized:
        return Declined(f"{family} has no pathwise derivative")
    samples = view.asked or 1
    kind = view.bound.gradient.replace("_", " ")
    why = f"q({latent.name}) is {body.shown if body else family}: {kind} gradient, {samples} draw{'s' if samples > 1 else ''}"
    return Claim("sampled", False, why, *sampling(model, latent.name, samples), samples=samples)
