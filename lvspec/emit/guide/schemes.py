"""Draws that are made together: how they are drawn, what they weigh, what each is held against.

    z = categorical_distinct_draw(logits_z, samples)             # (S, B)
    share_z, others_z = distinct_weights(logits_z, z)            # (S, B), (S, S, B)
    advantage_z = against_others(signal_z.detach(), others_z)
One row of SCHEMES for each strategy; what is common to all score terms is in emit/objective/score.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lvspec.emit.factors.factors import mask_of, masked, reduce_plates
from lvspec.emit.lowering.value import ATOM, Value, align, join_draws
from lvspec.ir.plan import LatentPlan


@dataclass(frozen=True)
class SchemeCode:
    """draw: the call that draws. weigh: writes the shares of the draws (None: alike). against: a signal minus its control
    variate. score: what takes the place of log q, in gradient (None: log q)."""

    draw: Callable[..., str]
    weigh: Callable[..., Value] | None
    against: Callable[..., str]
    score: Callable[..., Value] | None = None


def _weigh(call: Callable[..., str], more: str = "") -> Callable[..., Value]:
    """Writes `share_z = ...`; equal shares where the batch gives the value."""

    def write(program, plan: LatentPlan, drawn: Value, logits: Value, finite: bool) -> Value:
        scope, name = program.scope, plan.name
        share = Value(scope.names.fresh(f"share_{name}"), ("S", "B"))
        names = f"{share.code}, {more}_{name}" if more else share.code
        scope.line(f"{names} = {call(scope, plan, logits.code, drawn.code)}", "(S, B), of the average over draws")
        scope.line(f'if "{name}" in batch:')
        scope.indent += 1
        scope.line(f'{share.code} = torch.where(batch["{name}_observed"], 1.0 / samples, {share.code})')
        scope.indent -= 1
        return share

    return write


def _disarm_score(terms, name: str) -> Value:
    """(z - z') σ(|logits|) logits, event axes summed."""
    low, z = terms.low, terms.low.known[name]
    logits = terms.guide.terms[(name, ())].arguments[0]
    axes, rank = low.order.union(z, logits), len(z.shape)
    listed = f"{align(z, axes, rank).code}, {align(logits, axes, rank).code}"
    code = f"{terms.scope.use('disarm_score')}({listed})"
    if rank:
        code += ".sum(-1)" if rank == 1 else f".sum({tuple(range(-rank, 0))})"
    return terms.scope.assign(f"score_{name}", Value(code, axes, draws=join_draws(z, logits)))


SCHEMES = {
    "disarm": SchemeCode(
        lambda scope, plan, logits: f"{scope.use('bernoulli_antithetic_draw')}({logits}, (samples,))",
        None,
        lambda scope, plan, signal: f"{scope.use('against_opposite')}({signal})",
        _disarm_score,
    ),
    "sum_and_sample": SchemeCode(
        lambda scope, plan, logits: f"{scope.use('categorical_top_draw')}({logits}, samples, {plan.option('top')})",
        _weigh(lambda scope, plan, logits, z: f"{scope.use('top_shares')}({logits}, {z}, {plan.option('top')})"),
        lambda scope, plan, signal: f"{scope.use('against_top')}({signal}, share_{plan.name}, {plan.option('top')})",
    ),
    "without_replacement": SchemeCode(
        lambda scope, plan, logits: f"{scope.use('categorical_distinct_draw')}({logits}, samples)",
        _weigh(lambda scope, plan, logits, z: f"{scope.use('distinct_weights')}({logits}, {z})", "others"),
        lambda scope, plan, signal: f"{scope.use('against_others')}({signal}, others_{plan.name})",
    ),
}


def subset_share(program, plan: LatentPlan, log_q: Value) -> Value:
    """Writes the shares of the draws: q of each value among them, once, over the sum."""
    low, z = program.low, program.low.known[plan.name]
    mask = mask_of(low, low.spec.variable(plan.name))
    total = align(reduce_plates(low, log_q, set(), mask), ("S", "B")).code
    sharpness = "" if plan.option("sharpness") == 1 else f", {plan.option('sharpness'):g}"
    code = f"{program.scope.use('subset_shares')}({total}, {masked(low, z, mask).code}{sharpness})"
    note = "of the average over draws: q of each value, once, over the sum"
    return program.scope.assign(f"share_{plan.name}", Value(code, ("S", "B")), note)


def scheme_advantage(terms, plan: LatentPlan, signal: Value) -> Value:
    """A signal without gradient, minus what its draw is held against."""
    code = SCHEMES[plan.strategy].against(terms.scope, plan, f"{signal.code}.detach()")
    return signal.with_(code=code, binds=ATOM)
