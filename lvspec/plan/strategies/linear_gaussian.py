"""Linear-Gaussian chains: the exact integral over a continuous chain, one site at a time (the Kalman filter).

∫ N(z_0; m, S) Π_t N(z_t; A z_{t-1} + b, Q) N(x_t; C z_t + d, R) dz     in O(T D³)

A, b, C, d, Q and R may be anything that does not depend on z: parameters, networks of what is given, earlier
observations. Kalman 1960.
"""

from __future__ import annotations

from functools import partial
from math import isqrt

from lvspec.ir.plan import Integration
from lvspec.ir.reads import HERE, LAG
from lvspec.ir.spec import Variable
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.integrals import NORMAL, gaussian_reason, integral_reason, readers
from lvspec.plan.model import Model, is_chain, without_engine
from lvspec.plan.prices.budget import over_budget
from lvspec.plan.prices.price import SLOWER, TRAINING, Pricer, priced

NAME = "linear_gaussian"
DISPATCHES = 380  # of a site, as counted
NODES = 22_000  # what the graph of a site's operations takes beside their numbers, in numbers, as measured
LONG = 256  # sites beyond which blocks of them are computed once more in the backward pass: runtime/gaussian/linear_gaussian.py


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
    pay = partial(_pay, latent=latent)
    cost = priced(Pricer(model, set()), pay)
    reason = over_budget(model, cost)
    if reason:
        return Declined(reason)
    plate = latent.plates[-1]
    why = f"linear-Gaussian chain along {plate}, seen through {' and '.join(observed)}: exact by the Kalman filter"
    return Claim("integrated", True, why, pay, cost, integration=Integration((name,), NAME, observed))


def _gaussians(model: Model, latent: Variable) -> list[Variable]:
    """The latent, and what reads it."""
    return [latent, *readers(model, latent.name)]


# ---------------------------------------------------------------- conditions, in the order in which they are told
def _no_chain(model: Model, latent: Variable) -> str | None:
    if latent.type.support.finite:
        return "the latent is finite: nothing to integrate"
    families = {c.dist.family for c in latent.clauses}
    if not families <= set(NORMAL):
        return f"its family is {', '.join(sorted(families))}, not Normal"
    if not is_chain(model, latent.name):
        return f"no factor reads {latent.name} at an earlier site of an ordered plate"
    if not readers(model, latent.name):
        return f"nothing observed reads {latent.name}"
    return None


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


# ---------------------------------------------------------------- price
def _pay(pricer: Pricer, latent: Variable) -> None:
    """Coefficients, and at each site a few products of [D, D], a factorisation of [N, N], what lies between them."""
    model = pricer.model
    for variable in _gaussians(model, latent):
        pricer.factor(variable)
    D = _size(model, latent)
    sites = model.sizes["B"]
    for plate in latent.plates:
        sites *= model.extent(plate)
    flops, cells = 6 * D**3, 2.0 * D**2  # cells: numbers that the backward pass keeps, as counted
    for variable in _gaussians(model, latent)[1:]:
        N = _size(model, variable)
        flops += 6 * D**3 + 4 * N * D * D + 2 * N * N * D + N**3
        cells += 4 * D**2 + 4 * N * D + 3.5 * N**2
    extent = model.extent(latent.plates[-1])
    graph, times = (
        extent,
        1.0,
    )  # sites whose graph is there at once; forward and backward passes, in those of a short chain
    if extent > LONG:
        graph, times = isqrt(extent), (TRAINING + 1) / TRAINING
        pricer.holds(sites / graph * 2 * D**2)
    pricer.flops += times * TRAINING * sites * flops
    pricer.exponentials += times * TRAINING * sites * flops / SLOWER
    pricer.calls(times * DISPATCHES * extent, 0.0)
    pricer.holds(sites / extent * graph * cells + graph * NODES)


def _size(model: Model, variable: Variable) -> int:
    return variable.type.shape[0].evaluate(model.sizes) if variable.type.shape else 1
