"""Mean field: q(θ) in the family of its prior, at the optimum that coordinate ascent finds; a bound, not log p(x).

    log p(x) ≥ log Σ_z exp E_q(θ)[log p(x, z | θ)] - KL(q(θ) ‖ p(θ))

Legal where the full conditional of the latent is in its prior's family (the table of ir/mean_field.py) and every
other latent is summed inside, or is such a latent too. Its gradient is exact: by the envelope theorem none flows
through the iterations. Ghahramani & Beal 2001; Blei et al. 2003; of latents of the whole data set Hoffman et al. 2013.
"""

from __future__ import annotations

from functools import partial

from lvspec.ir.expr import Dist
from lvspec.ir.mean_field import STATISTICS, pair_reason
from lvspec.ir.reads import LAG
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.components import Component
from lvspec.plan.model import unrolled_by, without_engine
from lvspec.plan.prices.price import Pricer, priced

NAME = "mean_field"
DIGAMMA = 3  # exponentials that take as long


def consider(view: View, latent) -> Claim | Declined:
    reason = _reason(view, latent) or _others(view, latent)
    if reason:
        return Declined(reason)
    steps = view.option(latent.name, NAME, "steps")
    how = (
        "natural-gradient steps, one a batch"
        if latent.outside_batch
        else f"coordinate ascent, at most {steps} rounds a batch"
    )
    why = f"q({latent.name}) a {latent.general.body.family}, as its prior and full conditional are, by {how}; a bound on log p"
    inside = {id(c): c for r, _ in view.model.readers_of(latent.name) if (c := view.collapsible.get(r.name))}
    pay = partial(_pay, latent=latent, steps=1 if latent.outside_batch else steps, inside=tuple(inside.values()))
    return Claim("mean_field", False, why, pay, priced(Pricer(view.model, set(view.collapsible)), pay))


def _reason(view: View, latent) -> str | None:
    """Why this latent alone cannot have a factor at its optimum, or None."""
    model, name, body = view.model, latent.name, latent.general.body
    if not model.spec.of_role("observed"):
        return f"nothing is observed, so q({name}) would be its prior"
    override = model.overrides.get(name)
    if override is not None and override.strategy != NAME:
        return f"`infer` asks for {override.strategy}"
    reason = without_engine(model, latent)
    if reason:
        return reason
    if not isinstance(body, Dist) or body.family not in STATISTICS:
        family = body.family if isinstance(body, Dist) else "a choice"
        return f"{family} is no prior in the table of conditionally conjugate pairs"
    if model.guide_of(name) is not None or any(r.name == name for rs in model.guide_reads.values() for r in rs):
        return f"a guide factor speaks of {name}"
    if latent.initial:
        return f"{name} has clauses of its own for first sites"
    for read in model.reads(name):
        if model.spec.variable(read.name).role in ("latent", "observed"):
            return f"its prior reads {read.name}"
    if any(p in unrolled_by(model, set(view.collapsible)) for p in latent.plates):
        return f"{name} lives on a plate whose sites are written out"
    for reader, read in model.readers_of(name):
        if reader.role == "latent" and reader.name not in view.collapsible:
            return f"{reader.name}, which reads it, is not summed out"
        if any(way == LAG for _, way, _ in read.ways):
            return f"{reader.name} reads an earlier site of {name}"
        for clause in reader.clauses:
            reason = _clause_reason(model, reader, clause, name, body.family)
            if reason:
                return reason
    return None


def _clause_reason(model, reader, clause, name: str, prior: str) -> str | None:
    reads = any(r.name == name for r in _reads(model, clause))
    if not reads:
        return None
    if clause.bindings or not isinstance(clause.body, Dist):
        return f"{reader.name} reads {name} through `where`"
    return pair_reason(clause.body, reader.name, name, prior)


def _reads(model, clause):
    return model.reader.of_clause(clause)


def _others(view: View, latent) -> str | None:
    """Beside factors at their optimum, every other latent has to be summed."""
    for other in view.model.spec.of_role("latent"):
        if other.name == latent.name:
            continue
        component = view.collapsible.get(other.name)
        if component is not None and not component.too_large:
            continue
        if _reason(view, other) is not None:
            return f"{other.name} is neither summed out nor conditionally conjugate"
    return None


def _pay(pricer: Pricer, latent, steps: int, inside: tuple[Component, ...]) -> None:
    """Every factor that reads the latent, once a round, and the sums inside; memory is that of one round."""
    model, a_round = pricer.model, pricer.inner()
    a_round.by_statistics = True
    for variable in model.random():
        if variable.name == latent.name or any(r.name == latent.name for r in model.reads(variable.name)):
            a_round.factor(variable)
    pricer.flops += steps * a_round.flops
    pricer.calls_again(a_round, steps, 0.0)
    sums = pricer.inner()
    for component in inside:
        component.pay(sums)
    pricer.exponentials += steps * (DIGAMMA * a_round.kept + a_round.exponentials + sums.exponentials)
    others = {r.name for c in inside for n in c.latents for v, _ in model.readers_of(n) for r in model.reads(v.name)}
    for other in (model.spec.variable(n) for n in others - {n for c in inside for n in c.latents} - {latent.name}):
        if other.role == "latent":  # what is expected of it is computed anew
            axes = {*other.plates} | (set() if other.outside_batch else {"B"})
            pricer.exponentials += steps * DIGAMMA * pricer.extent(axes) * pricer.events(other.type.shape)
    pricer.holds(0.0, a_round.kept + a_round.passing)
