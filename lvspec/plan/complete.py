"""Which latents need a guide that nobody wrote, and its lines."""

from __future__ import annotations

from lvspec.errors import Diagnostic, SpecError
from lvspec.ir.plan import Plan
from lvspec.plan.guides.as_text import Underivable, derived_guide


def shared_lines(plan: Plan) -> str:
    """`params:` and `guide:` of the latents that all examples share and nobody wrote a guide for."""
    names = [p.name for p in plan.latents if p.guide == "derived" and plan.spec.variable(p.name).outside_batch]
    return derived_guide(plan.spec, names, "mean_field")


def guide_lines(plan: Plan) -> str:
    """`params:`, `networks:` and `guide:` for the latents of a plan whose guides nobody wrote, by the family that `infer: guide:`
    names, or mean_field. Where lines cannot say it: those of what all examples share, or, where the family is named,
    SpecError."""
    spec, names = plan.spec, [p.name for p in plan.latents if p.guide == "derived"]
    family = dict(spec.infer).get("guide")
    if not names:
        return ""
    try:
        return derived_guide(spec, names, str(family or "mean_field"))
    except Underivable as reason:
        if family is None:
            return shared_lines(plan)
        family = str(family)
        place = spec.variable(names[0]).span
        message = f"no {family.replace('_', ' ')} guide can be derived: {reason}"
        raise SpecError(spec.source, (Diagnostic("no-guide", place, message, help="write q in `guide:`"),)) from None
