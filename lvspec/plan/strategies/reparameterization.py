"""Reparameterization: z = g(noise; x), so that the gradient passes through the draw.

    ∇ E_q[f(z)] = E_noise[∇ f(g(noise))]
Kingma & Welling 2014; Rezende et al. 2014. `refine` steps up the ELBO move q's parameters from where the guide puts them, and are
differentiated through: semi-amortized, Kim et al. 2018.
"""

from __future__ import annotations

from lvspec.ir.distributions import FAMILIES
from lvspec.ir.expr import Dist, Number
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.guides.families import guide_family
from lvspec.plan.model import Model, without_engine
from lvspec.plan.prices.sums import drawing, refined_drawing
from lvspec.plan.sampling import guide_reason

NAME = "reparameterization"
REFINED = ("Normal", "Laplace", "LogNormal", "Exponential")  # draws are simple functions of noise: any derivative


def consider(view: View, latent) -> Claim | Declined:
    model = view.model
    if latent.type.support.discrete:
        return Declined("the latent is discrete: a draw has no derivative")
    reason = without_engine(model, latent) or guide_reason(model, latent, flows=True)
    if reason:
        return Declined(reason)
    guide = model.guide_of(latent.name)
    body = guide.general.body if guide else None
    family = drawn_family(model, latent.name)
    if not FAMILIES[family].reparameterized:
        return Declined(f"{family} has no pathwise derivative")
    options = view.options(latent.name, NAME)
    reason = refine_reason(model, latent, family) if "refine" in options else None
    if "rate" in options and "refine" not in options:
        reason = "`rate` is of the steps that refine q: write `refine=5` beside it"
    if reason:
        return Declined(reason)
    samples = view.draws(NAME)
    draws = f"{samples} reparameterized draws" if samples > 1 else "one reparameterized draw"
    why = f"{draws} of q({latent.name}), {body.shown if isinstance(body, Dist) else family}"
    if view.bound.gradient != "pathwise":
        why += f", {view.bound.gradient.replace('_', ' ')} gradient"
    if "refine" not in options:
        return Claim("sampled", False, why, drawing(latent.name), samples=samples)
    steps, rate = int(options["refine"]), float(view.option(latent.name, NAME, "rate"))
    why += f", whose parameters take {steps} gradient steps up the ELBO from the guide's, differentiated through"
    pay = refined_drawing(latent.name, steps)
    return Claim("sampled", False, why, pay, samples=samples, options=(("refine", steps), ("rate", rate)))


def drawn_family(model: Model, name: str) -> str:
    """The family that q draws a latent from."""
    guide = model.guide_of(name)
    return guide.general.dist.source.family if guide else guide_family(model.spec.variable(name))


def differentiable_once(model: Model, name: str) -> str | None:
    """The family that q draws a latent from, where its draws have a first derivative alone; else None."""
    family = drawn_family(model, name)
    return None if family in (*REFINED, "Uniform") else family


def refine_reason(model: Model, latent, family: str) -> str | None:
    """Why steps up the ELBO cannot be differentiated through, or None."""
    if family not in REFINED:
        return f"refine: a draw of {family} is differentiable once; of {', '.join(REFINED)} as often as one likes"
    if latent.outside_batch:
        return f"refine: {latent.name} lies outside the batch plate, and each example refines its own q"
    guide = model.guide_of(latent.name)
    if guide is not None and guide.general.dist.through:
        return f"refine: q({latent.name}) runs through a flow: write it without, or leave out `refine`"
    latents = {v.name for v in model.spec.of_role("latent")}
    read = next((r.name for r in model.guide_reads.get(latent.name, ()) if r.name in latents), None)
    if read:
        return f"refine: q({latent.name}) reads {read}: what a draw decides is no parameter of an example"
    if guide is not None and guide.initial:
        return f"refine: q({latent.name}) has clauses for first sites: write one clause for all"
    if guide is not None and all(isinstance(v, Number) for _, v in guide.general.dist.arguments):
        return f"refine: q({latent.name}) has numbers for parameters, and nothing to move"
    return None
