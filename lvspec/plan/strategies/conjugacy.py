"""Conjugacy: a latent integrated out because all that reads it is conjugate to its prior.

∫ Beta(θ; a, b) Π_t Bernoulli(x_t; θ) dθ = B(a + Σ x, b + T - Σ x) / B(a, b)      in O(T)

The pairs are a table (ir/conjugate.py). The likelihoods may live on any plates: their sufficient statistics add up.
Where only the conditionals are conjugate (a discrete latent chooses which), see mean field.
"""

from __future__ import annotations

from functools import partial
from math import prod

from lvspec.ir.affine import NotAffine, reads_variable
from lvspec.ir.chosen import chosen_site
from lvspec.ir.conjugate import GAUSSIAN, factor_in, likelihoods_of, mean_and_covariance, pair_of
from lvspec.ir.distributions import event_axes
from lvspec.ir.expr import Dist, VariableRef
from lvspec.ir.plan import Integration
from lvspec.ir.reads import HERE
from lvspec.ir.spec import Variable
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.integrals import gaussian_reason, integral_reason, readers
from lvspec.plan.joint_gaussian import choosing_axes
from lvspec.plan.model import Model, is_chain, unrolled_by, without_engine
from lvspec.plan.prices.gaussian_elimination import VectorElimination, pay_seen
from lvspec.plan.prices.price import OF_SUMS, TRAINING, Pricer, priced

NAME = "conjugacy"
GAUSSIAN_DISPATCHES = 120  # of the prior, and of each likelihood, as counted


def consider(view: View, latent) -> Claim | Declined:
    model, name = view.model, latent.name
    mixed = getattr(latent.general.body, "family", "") not in GAUSSIAN  # of Gaussians it is the block's matter
    reason = (
        without_engine(model, latent)
        or _prior_reason(model, latent)
        or integral_reason(model, latent, mixed)
        or next((r for v in readers(model, name) if (r := _reader_reason(model, latent, v))), None)
    )
    if reason:
        return Declined(reason)
    factors = [latent, *readers(model, name)]
    choices = choosing_axes(view, (name,), factors, set(latent.plates), (name,))
    if isinstance(choices, str):
        return Declined(choices)
    integration = Integration((name,), NAME, tuple(v.name for v in readers(model, name)), choices)
    prior = latent.general.body.family
    pairs = [f"{prior}-{v.general.dist.family} {v.name}" for v in readers(model, name)]
    given = f", for each value of {' and '.join(integration.parents)}" if choices else ""
    why = f"conjugate ({', '.join(pairs)}){given}: integrated out exactly through its sufficient statistics"
    pay = partial(_pay, latent=latent, parents=integration.parents)
    cost = priced(Pricer(model, set(integration.parents)), pay)
    return Claim("integrated", True, why, pay, cost, integration=integration)


def _prior_reason(model: Model, latent: Variable) -> str | None:
    body = latent.general.body
    if latent.type.support.finite:
        return "the latent is finite: nothing to integrate"
    if not isinstance(body, Dist) or not likelihoods_of(body.family):
        return f"{getattr(body, 'family', 'a choice')} has no entry in the table of conjugate pairs"
    if is_chain(model, latent.name) or latent.initial:
        return f"the sites of {latent.name} depend on each other"
    if len(latent.type.shape) > max(1, event_axes(body.family)):
        return f"{latent.name} is an array of {len(latent.type.shape)} axes, not a vector"
    if not readers(model, latent.name):
        return f"nothing observed reads {latent.name}"
    return None


def _reader_reason(model: Model, latent: Variable, reader: Variable) -> str | None:
    """Why one likelihood is not in the table, or reaches the latent's sites otherwise than one by one."""
    prior, body = latent.general.dist.family, reader.general.body
    pair = pair_of(prior, getattr(body, "family", ""))
    if pair is None:
        return f"{prior} is conjugate to {', '.join(likelihoods_of(prior))}, and {reader.name} is {getattr(body, 'family', 'a choice')}"
    chosen = chosen_site(model.spec, reader, latent.name) if prior not in GAUSSIAN else None
    apart = {chosen.plate} if chosen is not None else set()
    for _, read in ((v, r) for v, r in model.readers_of(latent.name) if v.name == reader.name):
        if any(read.way(p) != (HERE, 0) for p in latent.plates if p not in apart):
            return f"{reader.name} reads {latent.name} at other sites than its own"
    if set(latent.plates) - {*reader.plates, *apart}:
        return f"{reader.name} reads {latent.name} from other plates"
    if reader.initial:
        return f"{reader.name} has a clause of its own for its first sites"
    finite = {v.name for v in model.spec.of_role("latent") if v.type.support.finite}
    apart = set(unrolled_by(model, finite)) & {*latent.plates, *reader.plates}
    if apart:
        return f"the sites of plate {', '.join(sorted(apart))} are summed jointly"
    if prior in GAUSSIAN:
        return gaussian_reason(model, latent.name, reader)
    return _link_reason(model, latent, reader, pair)


def _link_reason(model: Model, latent: Variable, reader: Variable, pair) -> str | None:
    name, clause = latent.name, reader.general
    body = clause.dist
    if pair.link == "parts":
        mean = mean_and_covariance(body)
        together = mean is not None and mean.name == name
        return None if together else f"loc and covariance_matrix of {reader.name} are not {' and '.join(latent.parts)}"
    value = body.find(pair.argument)
    if value is None:
        return f"{reader.name} is given by {body.arguments[-1][0]}, not by {pair.argument}"
    for argument, other in body.arguments:
        if argument != pair.argument and reads_variable(model.spec, name, clause, other):
            return f"the {argument} of {reader.name} depends on {name}"
    wanted = latent.type.shape[:-1] if pair.prior == "Dirichlet" else latent.type.shape
    entries = not latent.type.shape and len(reader.type.shape) == 1  # a number for all of a vector's
    if reader.type.shape != wanted and not entries:
        return f"{reader.name} and {name} differ in shape"
    if pair.link == "itself":
        itself = isinstance(value, VariableRef) and value.name == name
        return None if itself else f"the {pair.argument} of {reader.name} is not {name} itself"
    form = {"root": f"1 / sqrt({name})", "inverse": f"1 / {name}"}.get(pair.link, name)
    try:
        found = factor_in(pair, model.spec, name, clause, value)
    except NotAffine as reason:
        return f"the {pair.argument} of {reader.name} is not proportional to {form}: {reason}"
    return None if found is not None else f"the {pair.argument} of {reader.name} is not proportional to {form}"


def _pay(pricer: Pricer, latent: Variable, parents: tuple[str, ...]) -> None:
    """The likelihoods' arguments once; of Gaussian ones the rows of what is seen, out of which the latent is integrated."""
    model = pricer.model
    D, gaussian = _size(model, latent), latent.general.dist.family in GAUSSIAN
    rows = 0.0  # at a site of the latent
    for variable in (latent, *readers(model, latent.name)):
        pricer.factor(variable)
        extent = float(model.sizes["B"] * prod(model.cardinality(n) for n in parents))
        for plate in variable.plates:
            extent *= model.extent(plate)
        N = _size(model, variable)
        if not gaussian:
            pricer.flops += TRAINING * extent * 4 * max(D, N)
            pricer.holds(extent * 2 * max(D, N))
        elif variable is latent:
            sites = extent
        else:
            pay_seen(pricer, variable, N, extent * N, D + 1)
            rows += N * float(prod(model.extent(p) for p in variable.plates if p not in latent.plates))
    if gaussian:
        VectorElimination(rows, D, D, 0).pay(pricer, sites, sites)
        pricer.calls(GAUSSIAN_DISPATCHES * (1 + len(readers(model, latent.name))), OF_SUMS)


def _size(model: Model, variable: Variable) -> int:
    return variable.type.shape[0].evaluate(model.sizes) if variable.type.shape else 1
