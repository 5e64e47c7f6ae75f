"""The score-function terms of a surrogate: gradient only, value zero.

    advantage_s · log q(z_s)        advantage: the draw's signal minus what it is held against, emit/objective/baselines.py

A term carries only the costs downstream of its own site: the same site where sites are independent, this and
later ones along an ordered plate, all of them where a cost reads them together.
"""

from __future__ import annotations

from collections.abc import Iterator

from lvspec.emit.factors.factors import bindings, mask_of, masked, reduce_plates
from lvspec.emit.guide.schemes import SCHEMES
from lvspec.emit.lowering.value import ALL, ATOM, FROM, PRODUCT, SAME, SUM, Value, negated
from lvspec.emit.objective.baselines import against
from lvspec.emit.objective.bound_term import BoundTerm
from lvspec.emit.objective.relax import relax_terms
from lvspec.emit.objective.terms import Terms
from lvspec.ir.axes import sites_of
from lvspec.ir.spec import Variable


def score_terms(terms: Terms, costs: list[BoundTerm], weighted: dict[str, str]) -> Value | None:
    """Σ over scored latents of advantage · log q, per example; None where nothing is scored."""
    latents = terms.plan.scored
    if not latents:
        return None
    scope = terms.scope
    scope.line()
    scope.comment("score terms: their value is zero, their gradient is the estimator's")
    found = [t for t in (_score(terms, name, costs, weighted) for name in latents) if t is not None]
    if not found:
        return None
    total = terms.low.plus(found)
    return scope.assign("score", terms.averaged_over_draws(total), own=True)


def _score(terms: Terms, name: str, costs: list[BoundTerm], weighted: dict[str, str]) -> Value | None:
    """advantage · log q(name), per draw and example."""
    low, variable = terms.low, terms.plan.spec.variable(name)
    scheme = SCHEMES.get(terms.plan.latent(name).strategy)
    log_q = scheme.score(terms, name) if scheme is not None and scheme.score else terms.guide.log_q.get(name)
    drawn = low.known[name] if log_q is None else log_q
    signal = _signal_at_sites(terms, variable, costs, weighted, drawn)
    if signal is None:
        return None
    signal = terms.scope.named(f"signal_{name}", signal, "what lies downstream of each draw")
    if terms.plan.latent(name).row.control:
        return low.plus([v for t in relax_terms(terms, name, signal) for v in _settled(terms, variable, t, False)])
    assert log_q is not None  # of draws that are scored
    advantage, fit = against(terms, name, signal)
    _, _, (a, b) = low.broadcast(advantage, log_q)
    product = Value(f"{a.code} * {b.code}", low.order.union(advantage, log_q), (), PRODUCT)
    # q of enumerated latents only weighs the term: the ELBO itself carries their gradient
    return low.plus([v for t in (product, fit) if t is not None for v in _settled(terms, variable, t, True)])


def _settled(terms: Terms, variable: Variable, term: Value, detached: bool) -> list[Value]:
    """A term per draw and example: at each site where values of a site's own latents have draws of their own."""
    found = []
    if any(_apart(terms, variable, term)):  # it is read at each site
        term = terms.scope.named(f"score_{variable.name}", term)
    for _ in _apart(terms, variable, term):
        ragged = any(a in terms.low.order.plates for a in term.axes)
        cost = BoundTerm(None, terms.low.written_out.at_bound(term), mask_of(terms.low, variable) if ragged else None)
        found.append(terms.settled(cost, detached=detached))
    return found


def _apart(terms: Terms, variable: Variable, drawn: Value) -> Iterator[tuple[int, ...]]:
    """The sites of unrolled plates, one by one where draws are made for each value of latents that are written out there."""
    if any(a in terms.low.summed for a in drawn.axes):
        yield from bindings(terms.low, variable)
    else:
        yield ()


def _signal_at_sites(
    terms: Terms, variable: Variable, costs: list[BoundTerm], weighted: dict[str, str], drawn: Value
) -> Value | None:
    """What each draw decides. Where each site's latents have axes of their own, they are one axis beside the sites again."""
    low, found = terms.low, dict[tuple[int, ...], Value | None]()
    for sites in _apart(terms, variable, drawn):
        axes = low.written_out.at_bound(drawn).axes if sites else drawn.axes
        found[sites] = _signal(terms, variable.name, costs, weighted, axes)
    if all(signal is None for signal in found.values()):
        return None
    if () in found:
        return found[()]
    plates = [p for p in variable.plates if p in low.unrolled]
    return low.written_out.along(plates, {at: signal or Value("self.zero") for at, signal in found.items()})


def _signal(
    terms: Terms, name: str, costs: list[BoundTerm], weighted: dict[str, str], axes: tuple[str, ...]
) -> Value | None:
    """The costs that draws along these axes decide."""
    signal, own = None, {a for a in axes if sites_of(a)}
    for cost in costs:
        # a draw also decides costs through q of an enumerated latent that reads it
        read = terms.expected(cost.value, tuple(own))
        relations = dict(read.draws).get(name)
        if relations is None or not own <= set(read.axes):
            continue
        value = _downstream(terms, cost, dict(relations), axes)
        if cost.latent is not None:
            weight = weighted.get(cost.latent)
            value = value.with_(code=f"-{weight} * {value.at(ATOM)}", binds=PRODUCT) if weight else negated(value)
        signal = value if signal is None else add_signed(terms, signal, value)
    return signal


def add_signed(terms: Terms, a: Value, b: Value) -> Value:
    """a + b, written as a difference where b is negative."""
    axes, _, (x, y) = terms.low.broadcast(a, b)
    code = f"{x.code} - {y.code[1:]}" if y.negative else f"{x.code} + {y.code}"
    return Value(code, axes, (), SUM)


def _downstream(terms: Terms, cost: BoundTerm, relations: dict[str, str], axes: tuple[str, ...]) -> Value:
    """The part of a cost that a draw can change, site by site where sites are independent."""
    low = terms.low
    keep = tuple(a for a in axes if a not in ("S", "B") and relations.get(a, SAME) != ALL)
    value = terms.expected(cost.value, keep)
    later = [a for a in axes if a in low.order.plates and relations.get(a) == FROM and a in value.axes]
    if cost.mask and (later or cost.mask.observed and set(value.axes) & set(keep) & low.order.plates):
        value = masked(low, value, cost.mask)  # what is not observed is no cost; beyond a length no draw has a term
    value = reduce_plates(low, value, set(keep), cost.mask)
    for plate in later:
        code = f"{terms.scope.use('later_sum')}({value.code}, dim={value.axes.index(plate)})"
        value = value.with_(code=code, binds=ATOM)
    return value
