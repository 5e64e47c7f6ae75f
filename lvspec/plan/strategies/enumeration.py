"""Enumeration: Σ over every value of a finite latent, in closed form.

collapsed    log Σ_z p(z) p(x | z)                    no guide factor; tight
enumerated   Σ_z q(z | x) [ log p(x, z) - log q(z | x) ]   where q is written
"""

from __future__ import annotations

from lvspec.plan.claims import Claim, Declined, View, over_budget
from lvspec.plan.model import finite_reason, reach_reason, unrolled_by, without_engine
from lvspec.plan.price import price_sum
from lvspec.ir.reads import LAG

NAME = "enumeration"


def consider(view: View, latent) -> Claim | Declined:
    model, name = view.model, latent.name
    reason = without_engine(model, latent) or finite_reason(model, latent)
    if reason:
        return Declined(reason)
    if name in view.collapsible:
        return _collapsed(view, name)
    if model.guide_of(name) is None:
        return Declined(view.barred[name])
    return _under_guide(view, latent)


def _collapsed(view: View, name: str) -> Claim | Declined:
    component = view.collapsible[name]
    if component.chain:
        return Declined(f"sites along {component.chain} depend on earlier ones: joint states grow as K^T")
    reason = over_budget(view.model, component.cost)
    if reason:
        return Declined(reason)
    values = view.model.cardinality(name)
    return Claim("collapsed", True, f"{values} values, summed exactly within the budget", component.cost)


def _under_guide(view: View, latent) -> Claim | Declined:
    model, name = view.model, latent.name
    if latent.outside_batch:
        return Declined(f"{name} lies outside the batch plate: no engine yet")
    reason = reach_reason(model, name)
    if reason:
        return Declined(reason)
    if any(way == LAG for r in model.guide_reads[name] for _, way, _ in r.ways):
        return Declined(f"q({name}) reads an earlier site: structured guides have no engine yet")
    unrolled = unrolled_by(model, {name})
    cost = price_sum(model, (name,), unrolled)
    reason = over_budget(model, cost)
    if reason:
        return Declined(reason)
    return Claim(
        "enumerated", True, f"{model.cardinality(name)} values, averaged exactly under the written q({name})", cost
    )
