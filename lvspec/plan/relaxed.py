"""Relaxed draws of discrete latents: what they are, and what may read them.

A relaxed value of a categorical is a point of the simplex: `onehot(z)` is the point itself, and z has no number. That
of a Bernoulli is a number between 0 and 1. Where the forward value is discrete (straight-through) a row of a table,
W[z], is the point's mean of the rows, whose gradient speaks of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from lvspec.ir.dims import ragged_plate
from lvspec.ir.distributions import family_of
from lvspec.ir.estimators import STRATEGIES
from lvspec.ir.expr import Apply, At, Call, Choice, Dist, Expr, Index, VariableRef, walk
from lvspec.ir.reads import bodies
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.model import Model, without_engine
from lvspec.plan.prices.sums import drawing
from lvspec.plan.sampling import guide_reason

AS_INTEGERS = ("equal", "less", "clip", "onehot")  # functions of a value's number, which a relaxed Bernoulli has not


def consider_relaxed(view: View, latent, name: str) -> Claim | Declined:
    """The claim of gumbel_softmax, or of straight_through."""
    model, row = view.model, STRATEGIES[name]
    hard = row.draws == "corner"
    reason = _family_reason(model, latent) or without_engine(model, latent) or guide_reason(model, latent)
    if not reason and model.guide_of(latent.name) and model.guide_order.step_of(latent.name).plate:
        reason = f"q({latent.name}) is drawn site by site: relaxed draws along a plate have no engine yet"
    reason = reason or misread(model, latent, hard)
    if reason:
        return Declined(reason)
    samples = view.draws(name)
    options = {**row.options, **view.options(latent.name, name)}
    temperature, own = options["temperature"], options.get("density") == "relaxed"
    forward = "one of its values, with the gradient of" if hard else "the model sees"
    why = f"biased: {forward} a Concrete draw at temperature {temperature.text}"
    if own:
        why = f"biased: the bound of another model, in which {latent.name} is a Concrete draw at temperature {temperature.text}"
    kept = tuple((n, v) for n, v in options.items() if n != "samples")
    kl_why = "the Concrete densities of q and p at the draw" if own else ""
    pay = drawing(latent.name)
    return Claim("sampled", False, why, pay, biased=True, samples=samples, options=kept, kl_why=kl_why)


def _family_reason(model: Model, latent) -> str | None:
    """Why the latent or its q is of no family that is relaxed, or None."""
    guide = model.guide_of(latent.name)
    for body in [c.body for c in latent.clauses] + ([guide.general.body] if guide else []):
        if not isinstance(body, Dist) or not family_of(body.family).relaxed:
            return "the latent is not categorical"
    size = latent.type.support.cardinality
    if size is not None and ragged_plate(size) is not None:
        return f"the values of {latent.name} are the sites of plate {ragged_plate(size)}: relaxed draws of them have no engine yet"
    if any(r.name == latent.name for r in model.guide_reads.get(latent.name, ())):
        return (
            f"q({latent.name}) reads other sites of {latent.name}: relaxed draws one after the other have no engine yet"
        )
    if latent.outside_batch:
        return f"{latent.name} lies outside the batch plate: relaxed draws of it have no engine yet"
    return None


# ---------------------------------------------------------------- what reads it
READINGS = {
    "row": "as the number of a row",
    "site": "as the number of a site",
    "member": "as the number of a network",
    "condition": "as a condition",
    "number": "as a number",
}


def misread(model: Model, latent, hard: bool) -> str | None:
    """How something reads the latent that no relaxed value can answer, with the remedy; None where all is well."""
    kind = latent.type.support.kind
    for plate in (p for p in model.spec.plates if p.length == latent.name):
        return f"plate {plate.name} is as long as {latent.name} says, and a relaxed value is no number: let reinforce draw it"
    tables = frozenset(n.name for n in model.spec.networks if n.kind == "Embedding")
    for variable in model.mentions(latent.name):
        for clause in variable.clauses:
            # a bare name has no parts: seen from a call it has
            whole = [Call("negative", (b,)) if isinstance(b, VariableRef) else b for b in bodies(clause)]
            for reading in (r for body in whole for r in _readings(body, latent.name, kind, tables)):
                if not (reading == "row" and hard and kind == "integer"):
                    remedy = _remedy(latent.name, kind, reading)
                    return f"{variable.name} reads {latent.name} {READINGS[reading]}, and a relaxed value is none: {remedy}"
    return None


def _remedy(name: str, kind: str, reading: str) -> str:
    if kind == "boolean":
        return f"read it in a sum, such as a + {name} * (b - a), or let reinforce draw it"
    return (
        "straight_through reads rows of tables"
        if reading == "row"
        else f"read onehot({name}), or let reinforce draw it"
    )


def _readings(node: Expr | Dist | Choice, name: str, kind: str, tables: frozenset[str]) -> Iterator[str]:
    """The ways in which an expression reads the variable as what a relaxed value is not."""
    for child, role in _parts(node, tables):
        if not any(isinstance(e, VariableRef) and e.name == name for e in walk(child)):
            continue
        here = isinstance(child, VariableRef) and child.name == name
        if role in READINGS and (kind != "simplex" or role != "number"):
            yield role if here else "number"
        elif here and kind == "integer" and not (isinstance(node, Call) and node.function == "onehot"):
            yield "number"
        elif kind == "boolean" and isinstance(node, Call) and node.function in AS_INTEGERS:
            yield "number"
        yield from _readings(child, name, kind, tables)


def _parts(node, tables: frozenset[str]) -> list[tuple[Expr, str]]:
    """What a node is made of, and as what each part is read."""
    if isinstance(node, Index):
        return [(node.base, "value"), *((i, "row") for i in node.indices)]
    if isinstance(node, VariableRef):
        return [(s.index, "site") for s in node.at if isinstance(s, At)]
    if isinstance(node, Apply):
        return [
            *((b, "member") for b in node.bank),
            *((a, "number" if node.network in tables else "value") for a in node.args),
        ]
    if isinstance(node, Choice):
        return [(node.condition, "condition"), *((e, "value") for e in node.children()[1:])]
    return [(e, "value") for e in node.children()]
