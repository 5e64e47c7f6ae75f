"""Linear-Gaussian chains: the exact integral over a continuous chain, one site at a time (the Kalman filter).

∫ N(z_0; m, S) Π_t N(z_t; A z_{t-1} + b, Q) N(x_t; C z_t + d, R) dz     in O(T D³)

A, b, C, d, Q and R may be anything that does not depend on z: parameters, networks of what is given, earlier
observations. Kalman 1960.
"""

from __future__ import annotations

from lvspec.ir.affine import NotAffine, affine_in, reads_variable
from lvspec.ir.expr import Dist
from lvspec.ir.plan import Cost, Integration
from lvspec.ir.reads import HERE, LAG
from lvspec.ir.spec import Variable
from lvspec.plan.claims import Claim, Declined, View, over_budget
from lvspec.plan.model import Model, is_chain, without_engine
from lvspec.plan.price import FLOAT, TRAINING, Pricer

NAME = "linear_gaussian"
NORMAL = ("Normal", "MultivariateNormal")


def consider(view: View, latent) -> Claim | Declined:
    model, name = view.model, latent.name
    reason = (
        without_engine(model, latent)
        or _no_chain(model, latent)
        or integral_reason(model, latent)
        or _sites_reason(model, latent)
        or next((r for v in _gaussians(model, latent) if (r := gaussian_reason(model, name, v))), None)
    )
    if reason:
        return Declined(reason)
    observed = tuple(v.name for v in _gaussians(model, latent) if v is not latent)
    cost = _price(model, latent)
    reason = over_budget(model, cost)
    if reason:
        return Declined(reason)
    plate = latent.plates[-1]
    why = f"linear-Gaussian chain along {plate}, seen through {' and '.join(observed)}: exact by the Kalman filter"
    return Claim("integrated", True, why, cost, integration=Integration(name, NAME, observed))


def _gaussians(model: Model, latent: Variable) -> list[Variable]:
    """The latent, and what reads it."""
    readers = {v.name: v for v, _ in model.readers_of(latent.name)}
    return [latent, *(v for n, v in readers.items() if n != latent.name)]


# ---------------------------------------------------------------- conditions, in the order in which they are told
def _no_chain(model: Model, latent: Variable) -> str | None:
    if latent.type.support.finite:
        return "the latent is finite: nothing to integrate"
    families = {c.body.family for c in latent.clauses}
    if not families <= set(NORMAL):
        return f"its family is {', '.join(sorted(families))}, not Normal"
    if not is_chain(model, latent.name):
        return f"no factor reads {latent.name} at an earlier site of an ordered plate"
    return None


def integral_reason(model: Model, latent: Variable) -> str | None:
    """Why a continuous latent cannot be integrated out inside the batch, whatever its family; or None."""
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
    parents = {r.name for f in factors for r in model.reads(f)} - {name}
    hidden = [v for v in model.spec.of_role("latent") if v.name in parents]
    discrete = [v.name for v in hidden if v.type.support.discrete]
    if discrete:
        return _switching(model, latent, discrete)
    if hidden:
        return f"its factors also read {', '.join(v.name for v in hidden)}: no integral over both"
    return None


def _switching(model: Model, latent: Variable, discrete: list[str]) -> str:
    names, several = " and ".join(discrete), len(discrete) > 1
    per_site = is_chain(model, latent.name) and any(model.spec.variable(n).plates for n in discrete)
    kind = "switching linear-Gaussian chain has" if per_site else "mixture has"
    count = "K^T components, and no filter of fixed size" if per_site else "one component for each value"
    return (
        f"its parents {names} are discrete" if several else f"its parent {names} is discrete"
    ) + f": a {kind} a posterior of {count}; give {latent.name} a guide, or {names} reinforce"


def _sites_reason(model: Model, latent: Variable) -> str | None:
    """Why sites are reached in a way that the filter does not follow."""
    name, spec = latent.name, model.spec
    plate = spec.plate(latent.plates[-1])
    outer = (plate.within,) if plate.within else ()
    if not plate.ordered or latent.plates != (*outer, plate.name):
        return f"{name} lives on {', '.join(latent.plates)}: only along one sequence there is a filter"
    for reader, read in model.readers_of(name):
        wanted = (LAG, 1) if reader is latent else (HERE, 0)
        found = {p: read.way(p) for p in latent.plates}
        here = {p: (HERE, 0) for p in outer}
        if reader.plates != latent.plates:
            return f"{reader.name} reads {name} from other plates ({', '.join(reader.plates) or 'none'})"
        if found != here | {plate.name: wanted}:
            if reader is latent and found[plate.name][0] == LAG:
                return f"{name} reads back further than one site: write ({name}[t], {name}[t-1]) as one vector"
            return (
                f"{reader.name} reads {name} at other sites than {'the one before' if reader is latent else 'its own'}"
            )
    if len(latent.initial) != 1:
        return f"{name} needs one clause for its first site"
    return None


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


# ---------------------------------------------------------------- price
def _price(model: Model, latent: Variable) -> Cost:
    """Coefficients, and at each site a few products of [D, D], a factorisation of [N, N], what lies between them."""
    pricer = Pricer(model, set())
    for variable in _gaussians(model, latent):
        pricer.factor(variable)
    D = _size(model, latent)
    sites = model.sizes["B"]
    for plate in latent.plates:
        sites *= model.extent(plate)
    flops, cells = 6 * D**3, 8 * D**2
    for variable in _gaussians(model, latent)[1:]:
        N = _size(model, variable)
        flops += 6 * D**3 + 4 * N * D * D + 2 * N * N * D + N**3
        cells += 6 * D**2 + 4 * N * D + 3 * N**2
    return Cost(pricer.flops + TRAINING * sites * flops, pricer.bytes + FLOAT * sites * cells)


def _size(model: Model, variable: Variable) -> int:
    return variable.type.shape[0].evaluate(model.sizes) if variable.type.shape else 1
