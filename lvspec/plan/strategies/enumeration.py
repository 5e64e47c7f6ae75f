"""Enumeration: Σ over every value of a finite latent, in closed form.

collapsed    log Σ_z p(z) p(x | z)                    no guide factor; tight
enumerated   Σ_z q(z | x) [ log p(x, z) - log q(z | x) ]   where q is written
"""

from __future__ import annotations

from lvspec.ir.reads import HERE
from lvspec.ir.structured import structure_of
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.components import beyond
from lvspec.plan.guides.families import counted_reason
from lvspec.plan.model import Model, crf_guide, finite_reason, reach_reason, unrolled_by, without_engine
from lvspec.plan.own import follows_model
from lvspec.plan.prices.budget import over_budget
from lvspec.plan.prices.price import Pricer, priced
from lvspec.plan.prices.sums import pay_guide, pay_sum
from lvspec.plan.sampling import is_point


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
    reason = component.too_large
    if reason:
        return Declined(reason)
    why = f"summed out over its {view.model.spec.variable(name).type.support.values} values" + beyond(component)
    return Claim("collapsed", True, why, component.pay, component.cost)


def inside_a_sum(view: View, latent) -> str | None:
    """Why an average under q would stand inside a log-sum that runs over the latent's own sites, or None.

    E_q(w_1..w_T) log Σ_z Π_t p(x_t | z_t, w_t) does not split over t: there w is drawn instead.
    """
    model = view.model
    carrying = (latent.name, *carriers(model, latent.name))
    own = [model.spec.variable(n) for n in carrying]
    for reader in dict.fromkeys((*own, *(v for n in carrying for v, _ in model.readers_of(n)))):
        for name in (reader.name, *(read.name for read in model.reads(reader.name))):
            component = view.collapsible.get(name)
            if component is None or component.too_large:
                continue
            # what factors connect is summed together: all of it must stay inside the latent's own sites
            shared = set.intersection(*(set(model.spec.variable(n).plates) for n in component.latents))
            if not set(latent.plates) - set(component.unrolled) <= shared - {component.chain}:
                return f"{name} is summed out across sites of {latent.name} in one factor with it, so q({latent.name}) is drawn"
    return None


def carriers(model: Model, name: str) -> tuple[str, ...]:
    """The latents that are drawn once for each value of a latent: those whose q reads it, or one of them."""
    found = [name]
    for carrying in found:
        readers = (n for n, reads in model.guide_reads.items() if any(r.name == carrying for r in reads))
        found += [n for n in readers if n not in found]
    return tuple(found[1:])


def _carried(view: View, latent) -> str | None:
    """Why a draw that is made once per value of the latent cannot be read as it is, or None.

    A latent whose q reads this one carries its axis; where other sites of that latent are read as well, or all of them as one
    structure, each would need a value of its own.
    """
    model = view.model
    for name in (latent.name, *carriers(model, latent.name)):
        factors = [(q, reads) for n, reads in model.guide_reads.items() if (q := model.guide_of(n)) is not None]
        guides = [(q, r) for q, reads in factors for r in reads if r.name == name]
        for reader, read in [*model.seen_by(name), *guides]:
            if structure_of(reader) is not None and reader.general.dist.plate in latent.plates:
                each = "" if name == latent.name else f", which is drawn for each value of {latent.name}"
                return f"{_of(reader)} joins all sites of {name}{each}"
            if name != latent.name and any(read.way(p)[0] != HERE for p in latent.plates):
                return f"{name} is drawn for each value of {latent.name}, and sites of {name} are read together"
    return None


def _of(reader) -> str:
    return f"q({reader.name})" if reader.role == "guide" else reader.name


def _under_guide(view: View, latent) -> Claim | Declined:
    model, name = view.model, latent.name
    if crf_guide(model, name) is not None:
        return Declined(f"q({name}) is one structure, which is not averaged site by site")
    if is_point(model.guide_of(name)):
        return Declined(f"q({name}) is one point, and {name} is discrete: a point of it has no gradient")
    if structure_of(latent):
        return Declined(f"{name} is one structure: log p({name}) joins all sites, which q({name}) has one by one")
    if latent.outside_batch:
        return Declined(f"{name} lies outside the batch plate: no engine yet")
    reason = reach_reason(model, name) or counted_reason(model.spec, latent, model.guide_of(name))
    if reason:
        return Declined(reason)
    if model.guide_order.step_of(name).plate:
        return Declined(f"q({name}) reads other sites of its own: it is drawn, one site after the other")
    reason = inside_a_sum(view, latent) or _carried(view, latent)
    if reason:
        return Declined(reason)
    unrolled = unrolled_by(model, {name})

    def pay(pricer: Pricer) -> None:
        pay_sum(pricer, (name,))
        pay_guide(pricer, name)

    cost = priced(Pricer(model, {name}, unrolled=unrolled), pay)
    reason = over_budget(model, cost)
    if reason:
        return Declined(reason)
    q = f"p({name}) itself" if follows_model(latent, model.guide_of(name)) else f"q({name})"
    return Claim(
        "enumerated", True, f"expectation under {q} by a sum over its {latent.type.support.values} values", pay, cost
    )
