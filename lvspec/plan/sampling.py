"""What every sampling strategy asks of a guide."""

from __future__ import annotations

from lvspec.ir.dims import ragged_plate
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.expr import Dist
from lvspec.ir.structures import structure_of
from lvspec.plan.model import Model


def guide_reason(model: Model, latent) -> str | None:
    """Why q(latent) cannot be drawn from, or None; without a written guide one is derived."""
    if structure_of(latent):
        return f"{latent.name} is drawn as one structure: a guide over structures has no engine yet"
    if latent.parts:
        return f"{' and '.join(latent.parts)} are drawn together: a guide for such has no engine yet"
    guide = model.guide_of(latent.name)
    if guide is None:
        size = latent.type.support.cardinality
        if size is not None and (plate := ragged_plate(size)) is not None:
            return f"{latent.name} has a value for each site of plate {plate}: write its q in `guide:`"
        if latent.outside_batch:
            return f"{latent.name} lies outside the batch plate: write its q in `guide:` (free parameters will do)"
        return None
    body = guide.general.body
    if not isinstance(body, Dist) or not FAMILIES[body.family].engine:
        return f"q({latent.name}) has no engine yet"
    if body.through:
        return f"q({latent.name}) runs through a flow: no engine yet"
    if guide.initial or any(r.name == latent.name for r in model.guide_reads[latent.name]):
        return f"q({latent.name}) reads its own earlier site: structured guides have no engine yet"
    return None
