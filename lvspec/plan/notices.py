"""What a plan has to say of its spec: warnings beside those of the text."""

from __future__ import annotations

from collections.abc import Iterable

from lvspec.errors import Diagnostic
from lvspec.ir.plan import Cost, LatentPlan
from lvspec.plan import memory, without_effect
from lvspec.plan.components import Component
from lvspec.plan.model import Model

CODES = (*memory.CODES, *without_effect.CODES)


def with_notices(
    model: Model, latents: Iterable[LatentPlan], summed: Iterable[Component], step: Cost
) -> tuple[Diagnostic, ...]:
    """The spec's warnings with those of this plan; of an earlier plan of it none are left."""
    of_text = (w for w in model.spec.warnings if w.code not in CODES)
    more = memory.memory_warnings(model, latents, summed, step)
    return (*of_text, *without_effect.idle_settings(model, latents), *more)
