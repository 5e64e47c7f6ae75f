"""Which latents need a guide that nobody wrote, and its lines."""

from __future__ import annotations

from lvspec.errors import Diagnostic, SpecError
from lvspec.ir.plan import Plan
from lvspec.plan.derived import Underivable, derived_guide


def guide_lines(plan: Plan) -> str:
    """`networks:` and `guide:` for the latents of a plan whose guides nobody wrote, by the family that `infer: guide:`
    names, or mean_field. Where lines cannot say it: nothing, or, where the family is named, SpecError."""
    spec, names = plan.spec, [p.name for p in plan.latents if p.guide == "derived"]
    family = dict(spec.infer).get("guide")
    if not names:
        return ""
    try:
        return derived_guide(spec, names, str(family or "mean_field"))
    except Underivable as reason:
        if family is None:
            return ""
        family = str(family)
        place = spec.variable(names[0]).span
        message = f"no {family.replace('_', ' ')} guide can be derived: {reason}"
        raise SpecError(spec.source, (Diagnostic("no-guide", place, message, help="write q in `guide:`"),)) from None
