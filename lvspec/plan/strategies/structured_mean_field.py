"""Structured mean field: chains that one observation ties together, each exact under the others' expectations.

    log p(x) ≥ E_q[log p(x | z)] - Σ_l KL(q(z_l) ‖ p(z_l))          q(z) = Π_l q(z_l), each q(z_l) a chain

For factorial chains whose joint sum, O(T L K^(L+1)), is over the budget: a round of coordinate ascent costs O(T L K²), and
O(T L K V) where the observation is one of V symbols. Legal where the observation's parameters are a sum over the chains and
its expected log-density, or a lower bound of it, is known by what each chain adds (the table of ir/mean_field.py).
Saul & Jordan 1996; Ghahramani & Jordan 1997; of normalisers Braun & McAuliffe 2010.
"""

from __future__ import annotations

from functools import partial

from lvspec.ir.expr import Dist
from lvspec.ir.mean_field import SUMS, sum_over
from lvspec.ir.reads import HERE, LAG
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.model import finite_reason, is_chain, without_engine
from lvspec.plan.prices.price import TRAINING, Pricer, priced

NAME = "structured_mean_field"
DISPATCHES = 9  # of a site


def consider(view: View, latent) -> Claim | Declined:
    reason = _reason(view, latent)
    if reason:
        return Declined(reason)
    steps = view.option(latent.name, NAME, "steps")
    plate = view.collapsible[latent.name].unrolled[0]
    (reader,) = {v.name: v for v, _ in view.model.readers_of(latent.name) if v.name != latent.name}.values()
    why = f"q a product of chains, one for each {plate}, each exact under the others' expectations, at most {steps} rounds a batch; "
    if SUMS[reader.general.dist.family].bounded:
        why += f"a bound, not the likelihood, and below the ELBO: E log Σ is replaced by log Σ E in {reader.name}"
    else:
        why += "a bound, not the likelihood"
    pay = partial(_pay, component=view.collapsible[latent.name], latent=latent, steps=steps)
    return Claim("structured", False, why, pay, priced(Pricer(view.model, {latent.name}), pay))


def _reason(view: View, latent) -> str | None:
    model, name = view.model, latent.name
    reason = without_engine(model, latent) or finite_reason(model, latent)
    if reason:
        return reason
    if name not in view.collapsible:
        return view.barred[name]
    component = view.collapsible[name]
    if len(component.unrolled) != 1 or not is_chain(model, name) or component.order != 1:
        return "only chains of order 1 along one fixed plate, read together, fall apart into factors"
    if len(model.spec.of_role("latent")) > 1:
        return "beside other latents it has no engine yet"
    if len(model.spec.of_role("observed")) > 1:
        return "beside other observations it has no engine yet"
    plate = component.unrolled[0]
    ragged = [p for p in latent.plates if p != plate]
    if ragged != [component.chain]:
        return f"{name} lives on further plates"
    readers = [(v, r) for v, r in model.readers_of(name) if v.name != name]
    if any(r.way(plate)[0] != HERE for v, r in model.readers_of(name) if v.name == name):
        return f"chains of {name} read each other"
    for clause in latent.clauses:
        if (
            clause.bindings
            or not isinstance(clause.body, Dist)
            or clause.body.family not in ("Categorical", "Bernoulli")
        ):
            return f"{name} is not categorical"
    names = {v.name for v, _ in readers}
    if len(names) != 1:
        return f"{len(names)} variables read {name}"
    reader, read = readers[0]
    assert component.chain is not None
    if read.way(component.chain)[0] == LAG or tuple(reader.plates) != (component.chain,):
        return f"{reader.name} reads {name} at an earlier site, or has sites of its own"
    body = reader.general.body
    if reader.initial or reader.general.bindings or not isinstance(body, Dist) or body.family not in SUMS:
        family = body.family if isinstance(body, Dist) else "a choice"
        return (
            f"{reader.name} is {family}: what each chain adds to its expected log-density is known of {', '.join(SUMS)}"
        )
    row = SUMS[body.family]
    total = sum_over(body, name, plate)
    if len(reader.type.shape) != row.rank or total is None:
        return f"`{row.argument}` of {reader.name} is not a sum over {plate} of tables of {name}"
    if len(total.type.shape) < row.rank:
        return f"`{row.argument}` of {reader.name} is one number for all its entries"
    return None


def _pay(pricer: Pricer, component, latent, steps: int) -> None:
    """A round: forward and backward through every chain, and its moments; memory: potentials of one chain, all marginals."""
    model = pricer.model
    K, L = model.cardinality(latent.name), model.extent(component.unrolled[0])
    sites = model.sizes["B"] * model.extent(component.chain)
    reader = model.readers_of(latent.name)[-1][0]
    body = reader.general.dist
    inside = sum_over(body, latent.name, component.unrolled[0])
    assert inside is not None  # see the reason above
    D = inside.type.shape[-1].evaluate(model.sizes)
    pricer.flops += TRAINING * steps * sites * L * K * (K + 2 * D)
    pricer.exponentials += steps * sites * (L * K + SUMS[body.family].kept * D / 2)  # half of what is held
    pricer.calls(DISPATCHES * steps * L * model.extent(component.chain), 0.0)
    pricer.holds(sites * (2 * L * K + 4 * K + SUMS[body.family].kept * D))
