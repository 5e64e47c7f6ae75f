"""What every closed-form integral asks of a continuous latent, and of the Gaussian factors around it."""

from __future__ import annotations

from lvspec.ir.affine import NotAffine, affine_in, reads_variable
from lvspec.ir.expr import Dist
from lvspec.ir.spec import Variable
from lvspec.plan.model import Model, is_chain

NORMAL = ("Normal", "MultivariateNormal")


def readers(model: Model, name: str) -> list[Variable]:
    """The other variables whose factors read the latent."""
    return list({v.name: v for v, _ in model.readers_of(name) if v.name != name}.values())


def borders_reason(model: Model, variable: Variable) -> str | None:
    """Why no integral stands over a factor whose value depends on where segments begin, or None: these are summed."""
    inside = next((r.inside for r in model.reads(variable.name) if r.inside), None)
    return (
        inside and f"{variable.name} begins anew in each segment of {inside}: not integrated for every place of these"
    )


def integral_reason(model: Model, latent: Variable, mixed: bool = False) -> str | None:
    """Why a continuous latent cannot be integrated out inside the batch, whatever its family; or None. mixed: whether it
    may be, for each value of the discrete latents that its factors read."""
    name = latent.name
    if latent.outside_batch:
        return f"{name} lies outside the batch plate: its integral does not split into examples"
    if model.guide_of(name) is not None:
        return f"a guide factor q({name}) is written, so {name} is drawn from it"
    if any(r.name == name for reads in model.guide_reads.values() for r in reads):
        return f"a guide factor reads {name}"
    for reader, _ in model.readers_of(name):
        if reader.role == "latent" and reader.name != name:
            return f"the latent {reader.name} reads {name}: only observed variables may"
    factors = {name, *(v.name for v, _ in model.readers_of(name))}
    reason = next((r for f in sorted(factors) if (r := borders_reason(model, model.spec.variable(f)))), None)
    if reason:
        return reason
    parents = {r.name for f in factors for r in model.reads(f)} - {name}
    hidden = [v for v in model.spec.of_role("latent") if v.name in parents]
    discrete = [v.name for v in hidden if v.type.support.discrete]
    if discrete and not mixed:
        return _switching(model, latent, discrete)
    others = [v.name for v in hidden if v.name not in discrete]
    if others:
        return f"its factors also read {', '.join(others)}: no integral over both"
    return None


def _switching(model: Model, latent: Variable, discrete: list[str]) -> str:
    names, several = " and ".join(discrete), len(discrete) > 1
    per_site = is_chain(model, latent.name) and any(model.spec.variable(n).plates for n in discrete)
    kind = "switching linear-Gaussian chain has" if per_site else "mixture has"
    count = "K^T components, and no filter of fixed size" if per_site else "one component for each value"
    return (
        f"its parents {names} are discrete" if several else f"its parent {names} is discrete"
    ) + f": a {kind} a posterior of {count}; give {latent.name} a guide, or {names} reinforce"


def gaussian_reason(model: Model, name: str, variable: Variable) -> str | None:
    """Why a variable is not Normal with a location affine in `name` and a scale apart from it, or None."""
    if len(variable.type.shape) > 1:
        return f"{variable.name} is an array of {len(variable.type.shape)} axes, not a vector"
    for clause in variable.clauses:
        body = clause.body
        if not isinstance(body, Dist) or body.family not in NORMAL:
            return f"{variable.name} is {getattr(body, 'family', 'a choice')}, not Normal"
        for argument, value in body.arguments:
            if argument != "loc" and reads_variable(model.spec, name, clause, value):
                return f"the {argument} of {variable.name} depends on {name}"
        try:
            affine_in(model.spec, name, clause, body.argument("loc"))
        except NotAffine as reason:
            return f"the location of {variable.name} is not affine in {name}: {reason}"
    return None
