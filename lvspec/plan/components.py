"""Which discrete latents may be log-summed exactly, and which of them must be summed together.

A latent qualifies where it is finite, no guide factor speaks of it or reads it, and its readers reach its sites
one by one. Latents that a factor connects form one component: it is summed, or sampled, as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from lvspec.ir.components import connected
from lvspec.ir.estimators import STRATEGIES
from lvspec.ir.plan import Cost, Integration
from lvspec.ir.reads import reader_of
from lvspec.ir.spec import Variable
from lvspec.ir.structured import structure_of
from lvspec.ir.words import listed
from lvspec.plan.coupled import coupled
from lvspec.plan.graph import lagged_plates
from lvspec.plan.model import Model, chain_plates, finite_reason, reach_reason, unrolled_by, without_engine
from lvspec.plan.own import follows_model
from lvspec.plan.prices.budget import nothing_is_smaller, over_budget
from lvspec.plan.prices.price import Pricer, priced
from lvspec.plan.prices.sums import pay_sum


@dataclass(frozen=True)
class Component:
    """latents: in the order of the spec. chain: the ordered plate of a dynamic program, or None. order: how far
    back a site reads. unrolled: fixed plates whose sites are summed jointly. pay, cost: see `Claim`. over: why the sum is over
    the budget, where it is; too_large: the same where draws are not over it as well."""

    latents: tuple[str, ...]
    chain: str | None
    order: int
    unrolled: tuple[str, ...]
    cost: Cost
    pay: Callable[[Pricer], None]
    over: str | None
    too_large: str | None


def beyond(component: Component) -> str:
    """What is said of a sum over the budget that is done all the same."""
    return f"; {component.over}, as draws would be" if component.over else ""


def find(model: Model) -> tuple[dict[str, Component], dict[str, str]]:
    """Components by latent, and for the other finite latents why they are in none."""
    barred = {}
    for variable in model.spec.of_role("latent"):
        reason = _barred(model, variable)
        if reason:
            barred[variable.name] = reason
    while True:
        free = [v.name for v in model.spec.of_role("latent") if v.name not in barred]
        components = [_component(model, names) for names in connected(free, model.graph.scopes)]
        crossing = {n: r for names, r in ((c.latents, _tangled(model, c)) for c in components) if r for n in names}
        if not crossing:
            return {n: c for c in components for n in c.latents}, barred
        barred |= crossing


def summed_together(
    model: Model, components: Iterable[Component], integrations: Iterable[Integration]
) -> tuple[Component, ...]:
    """The components, those as one that choose coefficients of one integral: it is a factor of them all."""
    known = {c.latents: c for c in components}
    groups = connected([n for names in known for n in names], [*known, *(i.parents for i in integrations)])
    return tuple(known[names] if names in known else _component(model, names) for names in groups)


def drawn_in_weights(
    model: Model,
    averaged: Iterable[str],
    summed_out: Iterable[str],
    guide: tuple[Variable, ...],
    unrolled: tuple[str, ...],
) -> tuple[str, ...]:
    """Latents that are summed under their q, and drawn from it in importance weights: those that another factor of q reads, and
    those that no sum over all that is summed can hold, log Σ p at the draws, though an average under q splits."""
    reader, averaged = reader_of(model.spec, guide), list(averaged)
    read = {r.name for v in guide if v.role == "guide" for r in reader.of_variable(v)}
    drawn = {n for n in averaged if n in read}
    while apart := tangled(model, [n for n in (*averaged, *summed_out) if n not in drawn], unrolled).keys() & averaged:
        drawn |= apart
    return tuple(n for n in averaged if n in drawn)


def tangled(model: Model, names: Iterable[str], unrolled: tuple[str, ...]) -> dict[str, str]:
    """By latent, why it is in no sum over all of these."""
    components = (_component(model, own) for own in connected(list(names), model.graph.scopes) if len(own) > 1)
    reasons = ((c.latents, _tangled(model, replace(c, unrolled=unrolled))) for c in components)
    return {n: reason for own, reason in reasons if reason for n in own}


def _barred(model: Model, variable) -> str | None:
    name = variable.name
    override = model.overrides.get(name)
    if override is not None and override.strategy in STRATEGIES and STRATEGIES[override.strategy].draws:
        return f"`infer` asks for {override.strategy}"
    if follows_model(variable, model.guide_of(name)):
        return f"a term reads {name} and nothing observed does: it is summed under p({name}) itself, or drawn from it"
    if model.guide_of(name) is not None:
        return f"a guide factor q({name}) is written, so {name} is summed under it or drawn from it"
    if any(r.name == name for reads in model.guide_reads.values() for r in reads):
        return f"a guide factor reads {name}"
    if variable.outside_batch:
        return f"{name} lies outside the batch plate: its sum does not split into examples"
    return without_engine(model, variable) or finite_reason(model, variable) or reach_reason(model, name)


def _component(model: Model, names: tuple[str, ...]) -> Component:
    unrolled = unrolled_by(model, set(names))
    chain = next((p for n in names for p in chain_plates(model, n)), None)
    order = max((r.lag for n in names for _, r in model.readers_of(n)), default=0)
    pay = partial(pay_sum, component=names, chain=chain)
    cost = priced(Pricer(model, set(names), unrolled=unrolled), pay)
    over = over_budget(model, cost)
    too_large = None if over and nothing_is_smaller(model, names) else over
    return Component(names, chain, order, unrolled, cost, pay, over, too_large)


def _structured_plate(model: Model, name: str) -> str | None:
    """The plate over which the latent is one structure."""
    variable = model.spec.variable(name)
    return variable.general.dist.plate if structure_of(variable) else None


def _tangled(model: Model, component: Component) -> str | None:
    """Why plate-by-plate elimination cannot sum a component, or None."""
    plates = {n: frozenset(model.spec.variable(n).plates) - set(component.unrolled) for n in component.latents}
    places = {p: n for n, p in reversed(plates.items())}  # the first latent of each place
    for p, a in reversed(places.items()):
        for q, b in reversed(places.items()):
            if not (p <= q or q <= p):
                return (
                    f"{a} and {b} live on plates that cross ({', '.join(sorted(p ^ q))}), so their sum does not split"
                )
    for found in coupled(model.spec, model.graph, component.latents, component.unrolled):
        chains_of = f"the chains of {found.chain} along {found.plate}, one for each site of {listed(found.apart)}"
        return f"{chains_of}, share {found.by}, which changes along {found.plate}, so their sum does not split"
    structured = [n for n in component.latents if _structured_plate(model, n)]
    for name in structured:
        if any(lagged_plates(model.graph, n) for n in component.latents):
            return f"a factor reads an earlier site beside the structure {name}: no engine yet"
        if len(structured) > 1:
            return f"{' and '.join(structured)} are structures in one sum: no engine yet"
        reason = _within_segments(model, component, name)
        if reason:
            return reason
    chains: dict[tuple[frozenset[str], str], str] = {}  # by place and plate, the first latent that is read along it
    for a in component.latents:
        for plate in lagged_plates(model.graph, a):
            chains.setdefault((plates[a], plate), a)
    for place, plate in chains:
        other = next((p for at, p in chains if at == place and p != plate), None)
        if other is not None:
            a, b = chains[place, plate], chains[place, other]
            ways = " and ".join(sorted((plate, other)))
            return f"earlier sites are read along two plates, {a} and {b} along {ways}: no engine yet"
    if component.order > 1 and component.chain:
        for variable in model.random():
            lagging = any(r.name in component.latents and r.lag for r in model.reads(variable.name))
            if lagging and variable.role == "observed" and component.order > 1:
                return f"{variable.name} reads an earlier site in a chain of order {component.order}: no engine yet"
    return None


def _within_segments(model: Model, component: Component, name: str) -> str | None:
    """Why what is read within segments of `name` does not go together with other latents, or None."""
    plate = _structured_plate(model, name)
    for variable in model.random():
        reads = model.reads(variable.name)
        if not any(r.inside == name for r in reads):
            continue
        for other in (r.name for r in reads if r.name in component.latents and r.name != name):
            if plate in model.spec.variable(other).plates:
                return f"{variable.name} reads {other} at each site, and begins anew in each segment of {name}: no engine yet"
    return None
