"""Flows from named weights, forwards only: what the determinant and the inverse are follows from the map itself.

    log p(z) = log base(z_0) - log|det df/dz_0|        the determinant of the Jacobian, by differentiating f
    z_0 with f(z_0) = z                                found map by map, where z is given

The verifier's own arithmetic: the maps are those of ir/flows.py, what an entry reads said by a mask.
Of a library's flow the map is the library's, and nothing else: not its determinants, not its inverses.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lvspec.ir.flows import library_of
from lvspec.ir.spec import Network, Variable
from lvspec.verify.oracle.evaluate import bind, evaluate
from lvspec.verify.oracle.inverses import Map, solve, with_slopes
from lvspec.verify.oracle.library_flows import maps_of_library
from lvspec.verify.oracle.networks import ACTIVATIONS, Weights, linear, part
from lvspec.verify.oracle.stretch import number


# ---------------------------------------------------------------- the maps
def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def _numbers(w: Weights, context: Tensor | None) -> Tensor:
    return w["numbers"] if context is None else linear(context, part(w, "linear"))


def _planar(network: Network, w: Weights, context: Tensor | None, turn: int) -> Map:
    numbers = _numbers(w, context)
    D = (len(numbers) - 1) // 2
    u, v, b = numbers[:D], numbers[D : 2 * D], numbers[2 * D]
    inner = torch.dot(v, u)
    u = u + (_softplus(inner) - 1 - inner) / torch.dot(v, v) * v
    return lambda z: z + u * torch.tanh(torch.dot(v, z) + b)


def _radial(network: Network, w: Weights, context: Tensor | None, turn: int) -> Map:
    numbers = _numbers(w, context)
    centre, alpha = numbers[:-2], _softplus(numbers[-2])
    beta = _softplus(numbers[-1]) - alpha
    return lambda z: z + beta * (z - centre) / (alpha + torch.sqrt(((z - centre) ** 2).sum()))


def _raw(w: Weights, context: Tensor | None, z: Tensor, reads: Tensor, activation: str) -> Tensor:
    """The hidden numbers, each of the entries that it reads: reads[i, j] is 1 where the i-th reads z_j, else 0."""
    enter = part(w, "enter")
    value = (enter["weight"] * reads) @ z + enter["bias"]
    if context is not None:
        value = value + part(w, "context")["weight"] @ context
    return ACTIVATIONS[activation](value)


def _affine(w: Weights, hidden: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
    """μ and σ's raw value of each entry (D,), from the hidden numbers that give it something: given[d, i] is 1, else 0."""
    leave = part(w, "leave")
    found = (leave["weight"] * torch.cat([given, given])) @ hidden + leave["bias"]
    return found[: len(given)], found[len(given) :]


def _shares(rows: list[list[bool]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _coupling(network: Network, w: Weights, context: Tensor | None, turn: int) -> Map:
    inner = part(w, "network")
    H, D = inner["enter.weight"].shape
    kept = torch.tensor([(d + turn) % 2 == 0 for d in range(D)])
    reads, given, activation = kept.double().expand(H, D), torch.ones(D, H, dtype=torch.float64), _activation(network)

    def move(z: Tensor) -> Tensor:
        mu, raw = _affine(inner, _raw(inner, context, z, reads, activation), given)
        return torch.where(kept, z, z * torch.exp(torch.tanh(raw)) + mu)

    return move


def _autoregressive(network: Network, w: Weights, context: Tensor | None, turn: int) -> Map:
    """z_d σ(z_<d) + μ(z_<d), in the order of the entries or, every other step, in the opposite one."""
    inner = part(w, "network")
    H, D = inner["enter.weight"].shape
    place = [D - 1 - d if turn % 2 else d for d in range(D)]
    seen = [i * D // H for i in range(H)]
    reads, given = _shares([[p < n for p in place] for n in seen]), _shares([[n <= p for n in seen] for p in place])
    gate, activation = torch.sigmoid if network.kind == "InverseAutoregressive" else _softplus, _activation(network)

    def move(z: Tensor) -> Tensor:
        mu, raw = _affine(inner, _raw(inner, context, z, reads, activation), given)
        return z * gate(raw) + mu

    return move


def _activation(network: Network) -> str:
    return str(network.option("activation", "relu"))


MAPS = {
    "Planar": _planar,
    "Radial": _radial,
    "Coupling": _coupling,
    "InverseAutoregressive": _autoregressive,
    "MaskedAutoregressive": _autoregressive,
}


def backwards(network: Network) -> bool:
    """Whether its maps lead from the value to the base."""
    return network.kind == "MaskedAutoregressive" or bool(network.option("inverted"))


def maps_of(network: Network, sizes: tuple[int, ...], weights: Weights, context: Tensor | None) -> list[Map]:
    """The elementary maps in order; of those that lead backwards, each leads from its value to what it came from."""
    own = part(weights, network.name)
    if library_of(network):
        return maps_of_library(network, sizes, part(own, "transform"), context)
    every = range(int(network.option("steps", 1)))
    return [MAPS[network.kind](network, part(own, f"steps.{k}"), context, k) for k in every]


# ---------------------------------------------------------------- determinants and inverses
def moved(move: Map, z: Tensor) -> tuple[Tensor, Tensor]:
    """f(z) and log|det df/dz| there."""
    found, slopes = with_slopes(move, z)
    return found, torch.linalg.slogdet(slopes).logabsdet


def unmoved(move: Map, value: Tensor) -> tuple[Tensor, Tensor]:
    """The z with f(z) = value, and log|det df/dz| there."""
    z = solve(move, value)
    return z, moved(move, z)[1]


def is_flow(variable: Variable) -> bool:
    """Whether what the variable's base draws goes through flows."""
    return bool(getattr(variable.general.body, "through", ()))


Flows = list[tuple[Network, list[Map]]]


def _flows(world, variable: Variable, at: tuple[int, ...]) -> Flows:
    """The flows that one site goes through, at their contexts."""
    clause, sites = world.clause(variable, at), dict(zip(variable.plates, at, strict=True))
    names, found = bind(clause, world, sites), []
    for name, arguments in clause.body.through:
        context = [number(evaluate(e, world, sites, names)).to(torch.float64) for e in arguments]
        network = world.networks[name]
        own = world.shape(network.arguments, sites)
        found.append((network, maps_of(network, own, world.weights, context[0] if context else None)))
    return found


def out_of_flows(world, variable: Variable, at: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """What a draw from noise comes to in the flows of its factor, vector by vector, and Σ log|det| of the way."""

    def compute() -> tuple[Tensor, Tensor]:
        with world.reading(guiding=True):
            base = world.base(variable.name, at).expand(_shape(world, variable, at))
            flows = _flows(world, variable, at)
            return _rows(lambda z: _forwards(flows, z), base)

    return world.memory.recall(("out of flows", variable.name, at), compute)


def origin(world, variable: Variable, at: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Where a site's value came from, found where nobody knows it, and Σ log|det| of the way from there."""
    if variable.role == "guide" and world.is_noisy(variable.name):
        return world.base(variable.name, at), out_of_flows(world, variable, at)[1]
    with world.reading(guiding=variable.role == "guide"):
        flows, value = _flows(world, variable, at), number(world.value(variable.name, at))
        return _rows(lambda z: _backwards(flows, z), value.expand(_shape(world, variable, at)))


def _shape(world, variable: Variable, at: tuple[int, ...]) -> tuple[int, ...]:
    return world.shape(variable.type.shape, dict(zip(variable.plates, at, strict=True)))


def _forwards(flows: Flows, z: Tensor) -> tuple[Tensor, Tensor]:
    volume = torch.zeros((), dtype=z.dtype)
    for network, maps in flows:
        for move in maps:
            z, own = unmoved(move, z) if backwards(network) else moved(move, z)
            volume = volume - own if backwards(network) else volume + own
    return z, volume


def _backwards(flows: Flows, z: Tensor) -> tuple[Tensor, Tensor]:
    volume = torch.zeros((), dtype=z.dtype)
    for network, maps in reversed(flows):
        for move in reversed(maps):
            z, own = moved(move, z) if backwards(network) else unmoved(move, z)
            volume = volume - own if backwards(network) else volume + own
    return z, volume


def _rows(function: Callable[[Tensor], tuple[Tensor, Tensor]], value: Tensor) -> tuple[Tensor, Tensor]:
    """Of each vector along the last axis, and the sum of what else there is of each."""
    if value.dim() == 1:
        return function(value)
    rows, others = zip(*(_rows(function, v) for v in value), strict=True)
    return torch.stack(rows), torch.stack(others).sum()
