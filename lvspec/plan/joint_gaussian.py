"""Gaussian latents that factors join, and whether they may be integrated out together.

A block is a connected set of Gaussian latents inside the batch of which nothing is written, with all that reads them. It
is integrated out where every location in it is affine in all of them at once, every scale apart from them, and where
they form a tree of levels (ir/joint_gaussian.py). Discrete latents that its factors read choose its coefficients: the
integral is a factor of theirs, as long as they do not change within it.
"""

from __future__ import annotations

from functools import partial

from lvspec.ir.affine import NotAffine, affine_in_all, variables_in
from lvspec.ir.axes import axis_of
from lvspec.ir.components import connected
from lvspec.ir.expr import Call, Dist, walk
from lvspec.ir.gaussian_order import one_by_one
from lvspec.ir.joint_gaussian import NotArranged, as_a_vector, levels_of
from lvspec.ir.plan import Integration
from lvspec.ir.spec import Variable
from lvspec.ir.words import listed
from lvspec.plan.claims import View
from lvspec.plan.integrals import NORMAL, borders_reason
from lvspec.plan.model import Model, unrolled_by, without_engine

NAME = "joint_gaussian"


def find(view: View) -> dict[str, Integration | str]:
    """Each continuous latent's block, or why it is in none."""
    model = view.model
    found: dict[str, Integration | str] = {v.name: r for v in model.spec.of_role("latent") if (r := _apart(model, v))}
    free = [v.name for v in model.spec.of_role("latent") if v.name not in found]
    for names in connected(free, model.graph.scopes):
        block = _block(view, names)
        found |= {name: block for name in names}
    return found


def _apart(model: Model, latent: Variable) -> str | None:
    """Why a latent by itself is in no block, or None."""
    name = latent.name
    override = model.overrides.get(name)
    if latent.type.support.finite:
        return "the latent is finite: nothing to integrate"
    families = {getattr(c.body, "family", "a choice") for c in latent.clauses}
    if not families <= set(NORMAL):
        return f"its family is {', '.join(sorted(families))}, not Normal"
    if len(latent.type.shape) > 1:
        return f"{name} is an array of {len(latent.type.shape)} axes, not a vector"
    if latent.outside_batch:
        return f"{name} lies outside the batch plate: its integral does not split into examples"
    if override is not None and override.strategy != NAME:
        return f"`infer` asks for {override.strategy}"
    if model.guide_of(name) is not None:
        return f"a guide factor q({name}) is written, so {name} is drawn from it"
    if any(r.name == name for reads in model.guide_reads.values() for r in reads):
        return f"a guide factor reads {name}"
    if any(v.role == "term" for v, _ in model.seen_by(name)):
        return f"a term of the objective reads {name}"
    if any(model.spec.plate(p).length for p in latent.plates):
        return f"the length of a plate of {name} is a variable"
    return without_engine(model, latent)


def _block(view: View, names: tuple[str, ...]) -> Integration | str:
    """The block of connected latents, or what stands against it."""
    model = view.model
    readers = [v for v in model.random() if v.name not in names and any(r.name in names for r in model.reads(v.name))]
    drawn = next((v for v in readers if v.role == "latent"), None)
    if drawn is not None:
        return f"the latent {drawn.name} reads {_which(model, drawn, names)} and is not integrated with it"
    observed = tuple(v.name for v in readers)
    factors = [*(model.spec.variable(n) for n in names), *readers]
    reason = next((r for v in factors if (r := _factor_reason(model, v, names))), None)
    if reason:
        return reason
    try:
        levels = levels_of(model.spec, names, observed)
    except NotArranged as reason:
        return str(reason)
    root = levels[0]
    choices = choosing_axes(view, names, factors, {p for p in root.plates if p != root.chain}, root.latents)
    if isinstance(choices, str):
        return choices
    return Integration(names, NAME, observed, choices, levels, one_by_one(model.spec, levels, partial(entries, model)))


def entries(model: Model, name: str) -> int:
    """How many a Gaussian has: a number is a vector of one."""
    shape = model.spec.variable(name).type.shape
    return shape[0].evaluate(model.sizes) if shape else 1


def _which(model: Model, reader: Variable, names: tuple[str, ...]) -> str:
    return next(r.name for r in model.reads(reader.name) if r.name in names)


def _factor_reason(model: Model, variable: Variable, names: tuple[str, ...]) -> str | None:
    """Why one factor is not Gaussian with a location affine in all of the latents, or None."""
    if len(variable.type.shape) > 1:
        return f"{variable.name} is an array of {len(variable.type.shape)} axes, not a vector"
    if any(model.spec.plate(p).length for p in variable.plates):
        return f"the length of a plate of {variable.name} is a variable"
    if reason := borders_reason(model, variable):
        return reason
    for clause in variable.clauses:
        body = clause.body
        if not isinstance(body, Dist) or body.family not in NORMAL:
            return f"{variable.name} is {getattr(body, 'family', 'a choice')}, not Normal"
        for argument, value in body.arguments:
            inside = variables_in(model.spec, clause, value) if argument != "loc" else ()
            read = next((n for n in names if n in inside), None) if inside else None
            if read:
                return f"the {argument} of {variable.name} depends on {read}"
        try:
            affine_in_all(model.spec, names, clause, body.argument("loc"))
        except NotAffine as reason:
            over = {n.over for n in walk(body.argument("loc")) if isinstance(n, Call)}
            sites = (v for n in names if (v := model.spec.variable(n)).plates and v.plates[0] in over)
            hint = next((h for v in sites if (h := as_a_vector(model.spec, v))), "")
            return f"the location of {variable.name} is not affine in {listed(names, ' and ')}: {reason}{hint}"
    return None


def choosing_axes(
    view: View, names: tuple[str, ...], factors: list[Variable], outer: set[str], first: tuple[str, ...]
) -> tuple[str, ...] | str:
    """The axes of the discrete latents that the factors read, or why nothing can be integrated given them. outer: the plates
    over which integrals are independent, those of the latents `first`."""
    model, top = view.model, listed(first, " and ")
    read: dict[str, set[int]] = {}  # how far back
    for r in (r for v in factors for r in model.reads(v.name) if r.name not in names):
        read.setdefault(r.name, set()).add(r.lag)
    hidden = [v for v in model.spec.of_role("latent") if v.name in read]
    for parent in hidden:
        if not parent.type.support.discrete:
            return f"its factors also read {parent.name}: no integral over both"
        component = view.collapsible.get(parent.name)
        if component is None or component.too_large:
            return f"its factors also read {parent.name}, which is not summed out"
        if set(parent.plates) - outer:
            return (
                f"{parent.name} changes over {', '.join(parent.plates)}, and {top} joins what it chooses there: a posterior of as many components "
                f"as {parent.name} has sequences of values; give {top} a guide, or {parent.name} reinforce"
            )
    plates = sorted({frozenset(p.plates) for p in hidden}, key=len)
    if any(not a <= b for a, b in zip(plates, plates[1:], strict=False)):
        return f"{' and '.join(p.name for p in hidden)}, which choose its coefficients, live on plates that cross"
    reached = {v.name for v in hidden}
    if unrolled_by(model, reached):
        return f"the sites of plate {', '.join(unrolled_by(model, reached))} are summed jointly"
    return tuple(axis_of(p.name, (), lag) for p in hidden for lag in sorted(read[p.name], reverse=True))
