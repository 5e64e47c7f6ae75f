"""What strategies that draw several values together ask of a latent and of its q."""

from __future__ import annotations

from lvspec.ir.dims import ragged_plate
from lvspec.ir.estimators import Strategy
from lvspec.ir.expr import Dist
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.model import without_engine
from lvspec.plan.prices.sums import drawing
from lvspec.plan.sampling import guide_reason


def consider_scheme(row: Strategy, view: View, latent) -> Claim | Declined:
    """The claim of a strategy that is legal wherever its draws can be made together."""
    reason = scheme_reason(view, latent, row.family)
    if reason:
        return Declined(reason)
    samples = view.draws(row.name)
    if samples % row.multiple:
        return Declined(f"draws are made {row.multiple} at a time, and samples={samples} is no multiple of it")
    return Claim(
        "sampled",
        False,
        f"unbiased score function, {samples} draws: {row.meaning}",
        drawing(latent.name),
        samples=samples,
    )


def scheme_reason(view: View, latent, family: str) -> str | None:
    """Why draws of a latent cannot be made together, or None: its q must be one distribution for all draws."""
    model = view.model
    guide = model.guide_of(latent.name)
    for body in [c.body for c in latent.clauses] + ([guide.general.body] if guide else []):
        if not isinstance(body, Dist) or body.family != family:
            return f"the latent is not {family}"
    reason = without_engine(model, latent) or guide_reason(model, latent)
    if reason:
        return reason
    if latent.outside_batch:
        return f"{latent.name} lies outside the batch plate: its score term has no engine yet"
    latents = {v.name for v in model.spec.of_role("latent")}
    read = next((r.name for r in model.guide_reads.get(latent.name, ()) if r.name in latents), None)
    return f"q({latent.name}) reads {read}, which may be another one in each draw" if read else None


def set_reason(view: View, latent) -> str | None:
    """Why values of a categorical latent cannot be weighed as a set, or None."""
    reason = scheme_reason(view, latent, "Categorical")
    if reason:
        return reason
    if (plate := ragged_plate(latent.type.support.cardinality)) is not None:
        return f"the values of {latent.name} are the sites of plate {plate}: an example may have fewer than are drawn"
    if latent.plates or latent.type.shape:
        return f"{latent.name} has several sites, and draws of all of them have one weight each"
    shared = next((v.name for v in view.model.spec.of_role("latent") if v.outside_batch), None)
    return f"{shared} is one for the whole data set, and has no weights of an example" if shared else None
