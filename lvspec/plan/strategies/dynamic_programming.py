"""Dynamic programming: the exact sum over a chain, one site at a time.

Σ_{z_1..z_T} Π_t p(z_t | z_{t-1}) p(x_t | z_t)     in O(T K²), not O(K^T)
"""

from __future__ import annotations

from lvspec.ir.structured import longest_segment, structure_of
from lvspec.ir.words import listed
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.components import beyond
from lvspec.plan.model import finite_reason, is_chain, without_engine


def consider(view: View, latent) -> Claim | Declined:
    model, name = view.model, latent.name
    reason = without_engine(model, latent) or finite_reason(model, latent)
    if reason:
        return Declined(reason)
    if name not in view.collapsible:
        return Declined(view.barred[name])
    component = view.collapsible[name]
    if not component.chain:
        return Declined(
            f"no factor reads {name} at an earlier site of an ordered plate"
            if not is_chain(model, name)
            else "no ordered plate"
        )
    reason = component.too_large
    if reason:
        return Declined(reason)
    structures = [s for n in component.latents if (s := structure_of(model.spec.variable(n)))]
    if structures:
        why = f"summed out by the {structures[0].algorithm}, along {component.chain}"
        within = {
            v.name: r.inside for v in model.random() for r in model.reads(v.name) if r.inside in component.latents
        }
        if within:
            longest = longest_segment(model.spec.variable(next(iter(within.values()))))
            what = f"what {' and '.join(within)} read{'s' * (len(within) == 1)} within segments"
            why += f"; {what} is run once from each site, {longest} sites far"
        return Claim("collapsed", True, why, component.pay, component.cost)
    order = f" of order {component.order}" if component.order > 1 else ""
    others = [n for n in component.latents if n != name]
    states = f"{latent.type.support.values} states" + (f", together with {listed(others)}" if others else "")
    why = f"summed out by the forward algorithm{order} along {component.chain}, {states}" + beyond(component)
    return Claim("collapsed", True, why, component.pay, component.cost)
