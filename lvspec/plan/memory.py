"""What is said of a plan that takes more memory than there is, or that draws what only its price keeps from being summed."""

from __future__ import annotations

import os
from collections.abc import Iterable

from lvspec.errors import Diagnostic
from lvspec.ir.plan import Cost, LatentPlan
from lvspec.plan.components import Component
from lvspec.plan.model import Model
from lvspec.plan.prices.budget import OVER_BUDGET

GIB = 2.0**30
HELP = "raise the budget under `infer:`, or make the sizes smaller (--set sizes.K=...)"
CODES = ("over-budget", "large-step")


def memory_warnings(
    model: Model, latents: Iterable[LatentPlan], summed: Iterable[Component], step: Cost
) -> tuple[Diagnostic, ...]:
    """One for each latent that is drawn since its sum is over the budget, one for each sum that is over it and done all the
    same, one for a step that takes more than is at hand."""
    found = []
    for component in (c for c in summed if c.over):
        name = component.latents[0]
        message = f"{name} is summed exactly, though {component.over}: draws of it would be over the budget, too"
        found.append(_warning("over-budget", model.spec.variable(name).span, message, HELP))
    for p in latents:
        reason = next((r for _, r in p.declined if OVER_BUDGET in r), None)
        if p.treated.drawn and reason is not None:
            message = f"{p.name} is drawn by {p.strategy}, since its exact sum is too large: {reason}"
            found.append(_warning("over-budget", model.spec.variable(p.name).span, message, HELP))
    limit = min(model.budget[1], physical_memory())
    if step.bytes + step.learned > limit and model.spec.variables:
        message = (
            f"a step takes about {(step.bytes + step.learned) / GIB:.2g} GiB, {step.learned / GIB:.2g} of them for parameters, "
            f"their gradients and the optimizer; {limit / GIB:.2g} GiB are at hand"
        )
        sizes = ", ".join(f"{n} = {v:,}" for n, v in sorted(model.sizes.items(), key=lambda s: -s[1])[:2])
        help = f"the largest sizes are {sizes}; `infer: budget_bytes` says how much a step may take"
        found.append(_warning("large-step", model.spec.variables[0].span, message, help))
    return tuple(found)


def no_room(step: Cost) -> str | None:
    """Why not even what is learned finds room, with its gradients and what the optimizer keeps, or None."""
    if step.learned <= physical_memory():
        return None
    return (
        f"there is not enough memory: parameters, their gradients and the optimizer take {step.learned / GIB:.3g} GiB, "
        f"and the machine has {physical_memory() / GIB:.3g}; `lvspec explain` says what a step takes, smaller sizes take less"
    )


def physical_memory() -> float:
    """The machine's, in bytes; of no limit where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return float("inf")


def _warning(code: str, span, message: str, help: str) -> Diagnostic:
    return Diagnostic(code, span, message, help=help, severity="warning")
