"""The training objective where all draws of an example stand inside one function of their weights.

log w_s = log p(x, z_s) - log q(z_s | x)
loss    = - mean( F(log w) + Σ_s advantage_s · log q(z_s | x) )       score terms: gradient only, value zero

A score term carries the whole bound: through F each draw changes what the others are worth. Reweighted wake-sleep
has no such terms: log p and log q follow the draws by their shares of the weight.
"""

from __future__ import annotations

from lvspec.emit.factors.factors import mask_of
from lvspec.emit.lowering.value import ATOM, Value, align
from lvspec.emit.objective.bound_term import BoundTerm
from lvspec.emit.objective.loss import loss_line
from lvspec.emit.objective.terms import Terms
from lvspec.ir.bounds import Bound
from lvspec.ir.estimators import BASELINES
from lvspec.ir.plan import Plan

DRAWS = ("S", "B")


def coupled_body(plan: Plan, imports: set[str]) -> list[str]:
    """The statements of `forward` after the batch is prepared."""
    terms, bound = Terms(plan, imports, weights=True), plan.bound
    scope = terms.scope
    costs = terms.write()
    scope.line()
    scope.comment("objective")
    reconstruction = _per_draw(terms, [c for c in costs if c.latent is None], "reconstruction")
    kl = {n: _per_draw(terms, [c for c in costs if c.latent == n], f"kl_of_{n}") for n in _latents(costs)}
    log_weight = " - ".join([reconstruction.code, *(k.code for k in kl.values())])
    scope.line(f"log_weight = {log_weight}", "(S, B)")
    scope.line(f"bound = {_value(scope, bound)('log_weight')}", "(B,)")
    if bound.path.again:
        share = f"{scope.use('shares')}(log_weight{f', {bound.alpha:g}' if bound.alpha else ''})"
        weight = f"{bound.alpha:g} + {1 - bound.alpha:g} * {share}" if bound.alpha else share
        scope.line(f"again.weight = {weight}", "(S, B)")
    objective = "bound"
    if bound.form.follows:
        scope.line()
        scope.comment("draws stand still: model and q follow log p + log q at the draws, by their shares of the weight")
        total = _log_q(terms, list(plan.sampled))
        scope.line(
            f"follow = {scope.use('average')}({scope.use('shares')}(log_weight), log_weight + 2 * {total.code}, -2)",
            "(B,)",
        )
        objective = f"bound.detach() + {scope.use('gradient_alone')}(follow)"
    if plan.scored:
        scope.line()
        scope.comment("score terms: a draw is worth what the bound would lose without it; value zero, gradient only")
        scope.line(f"score = {' + '.join(_score(terms, *group) for group in _alike(plan))}", "(B,)")
        objective = "bound + (score - score.detach())"
    scope.line(loss_line(plan, imports, objective))
    means = ", ".join(f'"{n}": {v.at(ATOM)}.mean(0)' for n, v in kl.items())
    scope.line(
        f"return {scope.use('Objective')}(loss, elbo=log_weight.mean(0), reconstruction={reconstruction.code}.mean(0), "
        f'kl={{{means}}}, extras={{"{bound.name}": bound}})'
    )
    return terms.program.text()


def _latents(costs: list[BoundTerm]) -> list[str]:
    return list(dict.fromkeys(c.latent for c in costs if c.latent))


def _per_draw(terms: Terms, costs: list[BoundTerm], name: str) -> Value:
    """The sum of costs for each draw and example, (S, B)."""
    values = [terms.settled(c) for c in costs] or [Value("self.zero", ())]
    total = terms.low.plus(values)
    if total.axes != DRAWS:
        total = align(total, DRAWS)
        code = f"{total.at(ATOM)}.expand(samples, {terms.scope.use('batch_rows')}(batch))"
        total = total.with_(code=code, axes=DRAWS, binds=ATOM)
    return terms.scope.named(name, total, own=name == "reconstruction")


def _alike(plan: Plan) -> list[tuple[str, float, list[str]]]:
    """Scored latents with the same control variate and balance."""
    groups: dict[tuple[str, float], list[str]] = {}
    for latent in plan.latents:
        if latent.scored:
            groups.setdefault((latent.option("baseline"), latent.option("balance")), []).append(latent.name)
    return [(*options, names) for options, names in groups.items()]


def _score(terms: Terms, baseline: str, balance: float, names: list[str]) -> str:
    """Σ_s advantage_s · log q of these latents, per example."""
    scope, bound = terms.scope, terms.plan.bound
    total = _log_q(terms, names)
    if BASELINES[baseline].least == 1:
        advantage = Value(f"{scope.use('worth')}(bound)", ("B",))
    else:
        code = f"{scope.use('vimco')}(log_weight, {_function(scope, bound)})"
        advantage = scope.assign("advantage", Value(code, DRAWS))
    factor = f"{balance:g} * " if balance != 1 else ""
    return f"({factor}{advantage.code} * {total.code}).sum(0)"


def _log_q(terms: Terms, names: list[str]) -> Value:
    """log q of the scored latents at each draw, (S, B); sites beyond a length that is a variable are read by nothing."""
    latents = [terms.plan.spec.variable(n) for n in names]
    costs = [BoundTerm(None, terms.guide.log_q[v.name], mask_of(terms.low, v)) for v in latents]
    counted = [terms.counted(v, c) for v, c in zip(latents, costs, strict=True)]
    return _per_draw(terms, counted, "log_q")


def _value(scope, bound: Bound):
    """The bound as a call of its log-weights."""
    name = scope.use(bound.form.function)
    return (lambda w: f"{name}({w}, {bound.alpha:g})") if bound.form.ordered else (lambda w: f"{name}({w})")


def _function(scope, bound: Bound) -> str:
    """The bound as a function."""
    if bound.form.ordered:
        return f"lambda w: {_value(scope, bound)('w')}"
    return scope.use(bound.form.function)
