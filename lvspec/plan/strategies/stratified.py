"""Strata: a mixture's components summed, each with draws of its own that move with it.

    E_q f = Σ_k w_k E_{N_k} f(z)       ∇ by the weights exactly, by loc_k and scale_k through the draws
Draw s is of component s mod K and weighs w_k K / S in the average over draws (Morningstar et al. 2021). On request: by default
draws of a mixture are reparameterized, which needs one draw, and not one for each component.
"""

from __future__ import annotations

from lvspec.ir.expr import Dist
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.model import without_engine
from lvspec.plan.prices.sums import drawing
from lvspec.plan.sampling import guide_reason


def consider(view: View, latent) -> Claim | Declined:
    model, guide = view.model, view.model.guide_of(latent.name)
    body = guide.general.body if guide else None
    if not isinstance(body, Dist) or body.family != "NormalMixture" or body.through:
        return Declined(f"q({latent.name}) is no NormalMixture")
    reason = without_engine(model, latent) or guide_reason(model, latent) or _reason(view, latent)
    if reason:
        return Declined(reason)
    components = body.argument("logits").type.shape[-1].evaluate(model.sizes)
    samples = view.asked or components
    if samples % components:
        return Declined(f"samples={samples} are not the same number for each of {components} components")
    why = f"each of {components} components of q({latent.name}) has {samples // components} of {samples} draws: pathwise gradient"
    return Claim("sampled", False, why, drawing(latent.name), samples=samples)


def _reason(view: View, latent) -> str | None:
    """Why the components cannot have a weight each for all draws of an example, or None."""
    if latent.plates or len(latent.type.shape) > 1 or latent.outside_batch:
        return f"{latent.name} has several sites, and draws of all of them have one weight each"
    latents = {v.name for v in view.model.spec.of_role("latent")}
    read = next((r.name for r in view.model.guide_reads.get(latent.name, ()) if r.name in latents), None)
    if read:
        return f"q({latent.name}) reads {read}, which may be another one in each draw"
    shared = next((v.name for v in view.model.spec.of_role("latent") if v.outside_batch), None)
    return f"{shared} is one for the whole data set, and has no weights of an example" if shared else None
