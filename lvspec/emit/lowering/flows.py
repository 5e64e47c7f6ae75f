"""Draws and densities through flows.

z ~ Normal(loc, scale) through flow(h)      z, log_det_z = self.flow(z_base, h)              what q draws comes out
                                            log_q_z = log Normal(z_base; loc, scale) - log_det_z

x ~ Normal(0, 1)[D] through flow            x_base, log_det_x = self.flow.inverse(x)         a given value goes back
                                            log_p_x = log Normal(x_base; 0, 1) - log_det_x
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lvspec.emit.lowering.value import ATOM, SUM, Value, align, join_draws
from lvspec.ir.expr import Dist


@dataclass(frozen=True)
class FlowCall:
    """A flow and the vector that it depends on, lowered. module: as it is called."""

    module: str
    context: Value | None = None

    def arguments(self, axes: tuple[str, ...], rank: int) -> str:
        """`, h`: the context against a value with these axes."""
        return "" if self.context is None else f", {align(self.context, axes, rank).code}"


@dataclass(frozen=True)
class Origin:
    """Where a draw came from: the base's draw, and log|det| of the way from there."""

    base: Value
    log_det: Value


def lower_flows(low, dist: Dist, name: str) -> tuple[FlowCall, ...]:
    """The flows of a distribution, in order, contexts under names of their own."""
    found = []
    for flow, arguments in dist.through:
        values = [low.real(low.concrete(low.lower(e))) for e in arguments]
        values = [low.scope.named(f"context_{name}", v) for v in values]
        found.append(FlowCall(low.module(low.networks[flow]), *values))
    return tuple(found)


def contexts(flows: tuple[FlowCall, ...]) -> list[Value]:
    return [f.context for f in flows if f.context is not None]


def stopped(low, flows: tuple[FlowCall, ...]) -> tuple[FlowCall, ...]:
    """The same flows with parameters and contexts that stand still."""
    still = low.scope.use("frozen")
    return tuple(FlowCall(f"{still}({f.module})", f.context and low.detached(f.context)) for f in flows)


def forwards(low, flows: tuple[FlowCall, ...], base: Value, name: str, own: bool = True) -> tuple[Value, Origin]:
    """What comes out of the flows, and where it came from."""
    return _walk(low, flows, base, name if own else low.scope.names.fresh(name), f"log_det_{name}", "")


def back(low, flows: tuple[FlowCall, ...], value: Value, name: str) -> Origin:
    """Where a value came from."""
    base, way = _walk(low, flows[::-1], value, low.scope.names.fresh(f"{name}_base"), f"log_det_{name}", ".inverse")
    return replace(way, base=base)


def _walk(low, flows, start: Value, name: str, label: str, method: str) -> tuple[Value, Origin]:
    scope, value, rank = low.scope, start, len(start.shape)
    volumes = []
    for flow in flows:
        axes = low.order.union(value, *contexts((flow,)))
        volume = scope.names.fresh(label)
        code = f"{flow.module}{method}({align(value, axes, rank).code}{flow.arguments(axes, rank)})"
        value = Value(name, axes, start.shape, draws=join_draws(value, *contexts((flow,))))
        volumes.append(Value(volume, axes, start.shape[:-1], draws=value.draws))
        scope.line(f"{name}, {volume} = {code}", scope.shape_comments((value, volumes[-1])))
    total = low.plus(volumes)
    if total.shape:
        dims = "-1" if len(total.shape) == 1 else f"({', '.join(str(-i) for i in range(len(total.shape), 0, -1))})"
        total = total.with_(code=f"{total.at(ATOM)}.sum({dims})", shape=(), binds=ATOM)
    return value, Origin(start, total)


def minus_volume(low, log_base: Value, origin: Origin) -> Value:
    """log base(z_0) - log|det|."""
    axes, _, (a, b) = low.broadcast(log_base, origin.log_det)
    return Value(f"{a.at(SUM)} - {b.at(ATOM)}", axes, (), SUM, draws=join_draws(log_base, origin.log_det))
