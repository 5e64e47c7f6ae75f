"""Relaxed draws in a program: `z ~ q` as a point between its values, and densities there.

    y_z = categorical_relaxed(logits_z, temperature_z, noise_z)        # (S, B, M, K)
    z = categorical_point(y_z)                                         # what onehot(z) is
Programs that weigh draws (evaluation, posterior) draw discrete values instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.emit.lowering.value import Value, align, join_draws
from lvspec.ir.dims import Dim
from lvspec.ir.distributions import Family, RelaxedFunctions
from lvspec.ir.plan import LatentPlan
from lvspec.ir.spec import Schedule


@dataclass(frozen=True)
class RelaxedDraw:
    """A latent's draw in the coordinates that densities are about, the temperature, and the functions of its family."""

    y: Value
    temperature: str
    functions: RelaxedFunctions


def draw_relaxed(
    program, latent, plan: LatentPlan, family: Family, arguments: list[Value], axes: tuple[str, ...]
) -> Value:
    """The statements of a relaxed draw, and the value that the model sees."""
    low, scope, name, functions = program.low, program.scope, latent.name, family.relaxed
    assert functions is not None  # plan/relaxed.py
    event = latent.type.shape
    if family.variate.kind == "integer":
        event = (*event, latent.type.support.cardinality)
    (logits,) = arguments
    shape = "" if "S" in logits.axes else ", (samples,)"
    value = Value(name, axes, event, relaxed=True)
    noise = scope.names.fresh(f"{name}_noise")
    fallback = f"{scope.use(functions.noise)}({logits.code}{shape})"
    program.draw(noise, name, fallback, value)
    temperature = scope.names.fresh(f"temperature_{name}")
    scope.line(f"{temperature} = {schedule_code(scope, plan.option('temperature'))}")
    code = f"{scope.use(functions.draw)}({logits.code}, {temperature}, {noise})"
    y = scope.assign(f"y_{name}", value.with_(code=code, relaxed=False), functions.coordinates)
    low.relaxed[name] = RelaxedDraw(y, temperature, functions)
    hard = plan.row.draws == "corner"
    seen = f"{scope.use(functions.corner if hard else functions.point)}({y.code})"
    return scope.assign(name, value.with_(code=seen), "straight through" if hard else "relaxed", own=True)


def schedule_code(scope, schedule: Schedule) -> str:
    """A number that depends on the step."""
    if schedule.kind == "constant":
        return repr(schedule.values[0])
    first, last, extent = (f"{v:g}" for v in schedule.values)
    name = "period" if schedule.kind == "cyclical" else "steps"
    return f"{scope.use(schedule.kind)}(self.step, {first}, {last}, {name}={extent})"


def given_point(program, latent, value: Value, drawn: Value) -> Value:
    """The corner of a value that the batch gives."""
    if latent.type.support.kind == "integer":
        size = program.low.size(drawn.shape[-1])
        return value.with_(code=f"{program.scope.use('one_hot')}({value.code}, {size}, self.zero)", shape=drawn.shape)
    return value


def relaxed_density(low, term, name: str) -> Value:
    """log density of a relaxed draw under the distribution of its values, event axes summed."""
    draw, logits = low.relaxed[name], term.arguments[0]
    y = low.here(draw.y)
    axes = low.order.union(y, logits)
    rank = len(y.shape)
    function = low.scope.use(draw.functions.log_prob)
    code = f"{function}({align(y, axes, rank).code}, {align(logits, axes, rank).code}, {draw.temperature})"
    rest: tuple[Dim, ...] = y.shape[:-1] if draw.functions.simplex else y.shape
    if rest:
        code += ".sum(-1)" if len(rest) == 1 else f".sum({tuple(range(-len(rest), 0))})"
    return Value(code, axes, draws=join_draws(low.known[name], logits))
