"""What every sampling strategy asks of a guide."""

from __future__ import annotations

from lvspec.ir.dims import ragged_plate
from lvspec.ir.distributions import family_of
from lvspec.ir.expr import Dist
from lvspec.ir.spec import Variable
from lvspec.ir.structured import structure_of
from lvspec.plan.guides.families import counted_reason, family_reason
from lvspec.plan.model import Model, structure_reason


def crf_reason(model: Model, factor: Variable) -> str | None:
    """Why a q-factor over structures cannot be drawn or summed as one, or None."""
    reason = structure_reason(model, factor) or borders_reason(model, factor.name)
    return reason and f"q({factor.name}): {reason}"


def borders_reason(model: Model, name: str) -> str | None:
    """Why states alone do not decide what reads them, or None."""
    readers = (v.name for v, _ in model.readers_of(name))
    reader = next((reader for reader in readers for r in model.reads(reader) if r.inside == name), None)
    return reader and f"{reader} begins anew in each segment of {name}, and states do not tell where that is"


def guide_reason(model: Model, latent, flows: bool = False) -> str | None:
    """Why q(latent) cannot be drawn from, or None; without a written guide one is derived. flows: whether a draw may go
    through them, so that its density is known where it came out and nowhere else."""
    if latent.parts:
        return f"{' and '.join(latent.parts)} are drawn together: a guide for such has no engine yet"
    guide = model.guide_of(latent.name)
    if guide is None:
        if structure_of(latent):
            return (
                borders_reason(model, latent.name)
                or f"{latent.name} is drawn as one structure: write its q in `guide:`"
            )
        size = latent.type.support.cardinality
        if size is not None and (plate := ragged_plate(size)) is not None:
            return f"{latent.name} has a value for each site of plate {plate}: write its q in `guide:`"
        return family_reason(model.spec, latent)
    body, reason = guide.general.body, borders_reason(model, latent.name)
    if reason:
        return reason
    if is_point(guide):
        return f"q({latent.name}) is one point: nothing is drawn"
    if not isinstance(body, Dist) or not family_of(body.source.family).engine:
        return f"q({latent.name}) has no engine yet"
    if family_of(body.source.family).improper:
        return f"q({latent.name}) has no total mass: nothing can be drawn from it"
    if structure_of(guide):
        reason = crf_reason(model, guide)
        if reason:
            return reason
    if body.through and not flows:
        return f"q({latent.name}) runs through a flow: the gradient passes through its draws"
    families = {getattr(c.body, "family", None) for c in guide.clauses}
    if len(families) > 1:
        return f"q({latent.name}) is of several families, one clause another than the next: no engine yet"
    reason = counted_reason(model.spec, latent, guide)
    if reason:
        return reason
    step = model.guide_order.step_of(latent.name)
    if body.through and (step.plate or guide.initial):
        return f"q({latent.name}) is drawn site by site through a flow: no engine yet"
    return model.guide_order.reason(step)


def point_reason(model: Model, latent) -> str | None:
    """Why a latent has no point estimate, or None."""
    guide = model.guide_of(latent.name)
    if guide is None or not is_point(guide):
        return f"no guide `{latent.name}: Delta(...)` asks for one"
    if latent.type.support.discrete or structure_of(latent):
        return f"{latent.name} is discrete: a point has no gradient"
    if guide.initial or model.guide_order.step_of(latent.name).plate:
        return f"a point that reads its own earlier sites (q({latent.name})) has no engine yet"
    return None


def is_point(guide) -> bool:
    return any(getattr(c.body, "family", None) == "Delta" for c in guide.clauses)
