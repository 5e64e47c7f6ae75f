"""Numbers of an emitted module that follow `model.step`: weights of divergences, temperatures."""

from __future__ import annotations

from lvspec.ir.plan import Plan
from lvspec.ir.spec import Schedule
from lvspec.ir.words import listed

DIVERGENCES = {"analytic": "; KL in closed form", "sampled": "; KL as log q - log p at the draws"}


def following(plan: Plan) -> str:
    """`The weight of the KL of c and z, linear(0, 1, steps=2000), follows `model.step``; nothing where no number does."""
    found = scheduled_numbers(plan)
    if not found:
        return ""
    numbers = listed([f"{name}, {schedule.text}," for name, schedule in found.items()], " and ")
    return f"{numbers[0].upper()}{numbers[1:]} {'follows' if len(found) == 1 else 'follow'} `model.step`"


def scheduled_numbers(plan: Plan) -> dict[str, Schedule]:
    """`the weight of the KL of c and z`, `the temperature of z`: which numbers follow the step, and how."""
    found = {f"the weight of the KL of {listed(names, ' and ')}": s for s, names in by_schedule(plan).items()}
    found |= {
        f"the temperature of {p.name}": t for p in plan.latents if isinstance(t := p.option("temperature"), Schedule)
    }
    return {name: s for name, s in found.items() if s.kind != "constant"}


def by_schedule(plan: Plan) -> dict[Schedule, list[str]]:
    """How KLs in the loss are weighted, and of which latents. A bound of all draws' weights has none."""
    if plan.coupled:
        return {}
    schedules, found = dict(plan.spec.kl_weight), dict[Schedule, list[str]]()
    weighted = (
        p for p in plan.latents if p.kl in DIVERGENCES or p.guide == "own"
    )  # a known value of the latter counts
    for p in (p for p in weighted if not p.treated.marginal):
        schedule = schedules.get(p.name, schedules.get(""))
        if schedule is not None and schedule != Schedule("constant", (1.0,)):
            found.setdefault(schedule, []).append(p.name)
    return found
