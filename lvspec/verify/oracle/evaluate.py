"""The value of an expression at one site of one example, under one joint assignment of the latents.

transition[z[t-1]]  at t = 2, z[1] = 0   ->  row 0 of `transition`
writer(words(x[<t])) at t = 2            ->  the writer's output after (begin, x[0], x[1])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from lvspec.ir import expr as E
from lvspec.ir.dims import Shape
from lvspec.ir.functions import FUNCTIONS
from lvspec.ir.spec import Clause, Network
from lvspec.verify.oracle import functions as F
from lvspec.verify.oracle import networks as N
from lvspec.verify.oracle.densities import log_density
from lvspec.verify.oracle.instance import Instance
from lvspec.verify.oracle.memory import Memory
from lvspec.verify.oracle.networks import NamedWeights
from lvspec.verify.oracle.stretch import Begin, StretchValue, Value, number, stretch_of, tensor

Sites = dict[str, int]  # plate -> the site that the clause speaks of
Names = dict[str, Value]  # what `where` bound


class Surroundings(Protocol):
    """What an expression is evaluated in; `world.World` is the one there is."""

    memory: Memory
    weights: NamedWeights
    networks: dict[str, Network]
    modules: Mapping[str, nn.Module]
    instance: Instance
    guiding: bool

    def parameter(self, name: str) -> Tensor: ...
    def value(self, name: str, at: tuple[int, ...]) -> Value: ...
    def extent(self, plate: str, sites: Sites) -> int: ...
    def is_ragged(self, plate: str) -> bool: ...
    def shape(self, shape: Shape, sites: Sites) -> tuple[int, ...]: ...
    def plates_of(self, name: str) -> tuple[str, ...]: ...
    def has_value(self, e: E.VariableRef, sites: Sites) -> bool: ...
    def known_at(self, e: E.VariableRef, sites: Sites) -> bool: ...
    def expected(self, e: E.Expr, sites: Sites) -> Tensor: ...
    def segment_begin(self, latent: str, at: tuple[int, ...]) -> int: ...


def evaluate(e: E.Expr, world: Surroundings, sites: Sites, names: Names) -> Value:
    """The expression's value: a tensor of its event shape, or a stretch of such."""
    return _EVALUATORS[type(e)](e, world, sites, names)


def bind(clause: Clause, world: Surroundings, sites: Sites) -> Names:
    """The names that the clause's `where` introduces, in order."""
    names: Names = {}
    for binding in clause.bindings:
        value = evaluate_parts(binding.value, len(binding.names), world, sites, names)
        names.update(zip(binding.names, value, strict=True))
    return names


def evaluate_parts(e: E.Expr, parts: int, world: Surroundings, sites: Sites, names: Names) -> tuple[Value, ...]:
    """`loc, scale = split(e)`: equal parts of the last axis; any other expression is one value."""
    if isinstance(e, E.Call) and e.function == "split":
        whole = number(evaluate(e.args[0], world, sites, names))
        return tuple(whole.reshape(*whole.shape[:-1], parts, -1).unbind(-2))
    return (evaluate(e, world, sites, names),)


# ---------------------------------------------------------------- leaves
def _number(e: E.Number, world: Surroundings, sites: Sites, names: Names) -> Value:
    return torch.tensor(e.value, dtype=torch.int64 if isinstance(e.value, int) else torch.float64)


def _size(e: E.SizeRef, world: Surroundings, sites: Sites, names: Names) -> Value:
    return torch.tensor(world.shape((e.dim,), sites)[0])


def _param(e: E.ParamRef, world: Surroundings, sites: Sites, names: Names) -> Value:
    return world.parameter(e.name)


def _local(e: E.LocalRef, world: Surroundings, sites: Sites, names: Names) -> Value:
    return names[e.name]


def _plate_index(e: E.PlateIndex, world: Surroundings, sites: Sites, names: Names) -> Value:
    return torch.tensor(sites[e.plate])


# ---------------------------------------------------------------- variables and their sites
Place = int | E.Stretch


def _variable(e: E.VariableRef, world: Surroundings, sites: Sites, names: Names) -> Value:
    """One site of a variable, or a stretch of its sites."""
    computed = tuple(evaluate(s.index, world, sites, names) for s in e.at if isinstance(s, E.At))

    def at_sites(*indices: Value) -> Value:
        rest = iter(indices)
        places = tuple(int(number(next(rest))) if isinstance(s, E.At) else _place(s, sites) for s in e.at)
        return _reach(e.name, places, world, sites)

    return F.item_by_item(at_sites, computed)


def _place(site: E.Here | E.Again | E.Lag | E.Stretch, sites: Sites) -> Place:
    if isinstance(site, E.Stretch):
        return site
    if isinstance(site, E.Again):
        return sites[site.copy]
    return sites[site.plate] - (site.k if isinstance(site, E.Lag) else 0)


def _reach(name: str, at: tuple[Place, ...], world: Surroundings, sites: Sites) -> Value:
    """The value at a place; a stretch of a ragged plate stays one, all of a fixed plate is a leading event axis."""
    stretches = [(world.is_ragged(a.plate), i, a) for i, a in enumerate(at) if isinstance(a, E.Stretch)]
    if not stretches:
        return world.value(name, tuple(a for a in at if isinstance(a, int)))
    ragged, axis, stretch = max(stretches, key=lambda s: (s[0], -s[1]))
    inside = {**sites, **{p: a for p, a in zip(world.plates_of(name), at, strict=True) if isinstance(a, int)}}
    here = sites.get(stretch.plate, 0)
    reached = _members(stretch.reach, here, world.extent(stretch.plate, inside))
    members: Iterable[int] = reached
    if stretch.inside is not None:
        around = (*at[:axis], here, *at[axis + 1 :])
        members = _since(world.segment_begin(stretch.inside, tuple(a for a in around if isinstance(a, int))), reached)
    items = tuple(_reach(name, (*at[:axis], j, *at[axis + 1 :]), world, sites) for j in members)
    if not ragged:
        return torch.stack([number(v) for v in items])
    return StretchValue(items, stretch.plate, stretch.reach, here if stretch.reach in ("after", "from") else 0)


def _since(first: int, members: range) -> list[int]:
    """The sites of a stretch that a segment has, which begins at `first`; what precedes it is the begin symbol."""
    return [j for j in members if j == -1 or j >= first]


def _members(reach: str, here: int, extent: int) -> range:
    """The sites that a stretch reads; site -1, and the site after the last one, is the begin symbol."""
    return {
        "whole": range(extent),
        "before": range(-1, here),
        "through": range(here + 1),
        "after": range(here + 1, extent + 1),
        "from": range(here, extent),
    }[reach]


# ---------------------------------------------------------------- indexing
def _index(e: E.Index, world: Surroundings, sites: Sites, names: Names) -> Value:
    base = evaluate(e.base, world, sites, names)
    indices = [evaluate(i, world, sites, names) for i in e.indices]
    relaxed = [_relaxed(i, world) for i in e.indices]

    def entry(b: Value, *at: Value) -> Tensor:
        """Entries one after the other; under a point of the simplex, their mean by its weights."""
        found = number(b)
        for index, soft in zip(at, relaxed, strict=True):
            found = torch.tensordot(tensor(index), found, 1) if soft and is_point(index) else found[int(tensor(index))]
        return found

    return F.item_by_item(entry, (base, *indices))


def _site_of(e: E.SiteOf, world: Surroundings, sites: Sites, names: Names) -> Value:
    base = evaluate(e.base, world, sites, names)
    return base.items[sites[e.plate]] if isinstance(base, StretchValue) else number(base)[sites[e.plate]]


def _part(e: E.Part, world: Surroundings, sites: Sites, names: Names) -> Value:
    """The first column, or all others."""
    whole = evaluate(e.base, world, sites, names)
    return F.item_by_item(lambda v: number(v)[..., 1:] if e.part else number(v)[..., 0], (whole,))


# ---------------------------------------------------------------- functions
def _call(e: E.Call, world: Surroundings, sites: Sites, names: Names) -> Value:
    if e.over is not None:
        return _over(e, e.over, world, sites, names)
    if e.function == "known":
        asked = e.args[0]
        assert isinstance(asked, E.VariableRef)  # front/objective.py
        return torch.tensor(float(world.known_at(asked, sites)), dtype=torch.float64)
    if e.function == "expected":
        return world.expected(e.args[0], sites)
    args = tuple(evaluate(a, world, sites, names) for a in e.args)
    kind = FUNCTIONS[e.function].kind
    if kind == "elementwise":
        function = F.ELEMENTWISE[e.function]
        return F.item_by_item(lambda *v: function(*map(number, v)), args)
    if e.function in _SHAPES:
        return _SHAPES[e.function](e, args, world, sites)
    stretch = args[0] if isinstance(args[0], StretchValue) and e.args[0].type.reach else None
    if kind == "reduce":
        if stretch is None:
            return F.reduce(e.function, number(args[0]), -1)
        shape = world.shape(e.args[0].type.shape, sites)
        return F.reduce(e.function, F.stacked(list(stretch.items), shape), 0)
    return F.item_by_item(lambda v: F.NORMALISE[e.function](number(v), -1), args)


def _over(e: E.Call, plate: str, world: Surroundings, sites: Sites, names: Names) -> Value:
    """`sum(... over l)`: the argument at every site of plate l, stacked first."""
    every = range(world.extent(plate, sites))
    shape = world.shape(e.args[0].type.shape, sites)
    values = F.stacked([evaluate(e.args[0], world, {**sites, plate: j}, names) for j in every], shape)
    if e.function in F.REDUCE:
        return F.reduce(e.function, values, 0)
    if e.function in F.NORMALISE:
        normal = F.NORMALISE[e.function](values, 0)
        return normal[sites[plate]] if plate in e.type.plates else normal
    return values.reshape(-1) if e.function == "flatten" else values


def _last(e: E.Call, args: tuple[Value, ...], world: Surroundings, sites: Sites) -> Value:
    """One end of a stretch; of an empty one, zeros."""
    items = stretch_of(args[0]).items
    if not items:
        return torch.zeros(world.shape(e.type.shape, sites), dtype=torch.float64)
    return items[-1 if e.function == "last" else 0]


def _reshape(e: E.Call, args: tuple[Value, ...], world: Surroundings, sites: Sites) -> Value:
    sizes = world.shape(e.type.shape[1 - len(args) :], sites)
    return F.item_by_item(lambda v: number(v).reshape(*number(v).shape[:-1], *sizes), args[:1])


def _one_hot(e: E.Call, args: tuple[Value, ...], world: Surroundings, sites: Sites) -> Value:
    size = world.shape(e.type.shape, sites)[-1]
    relaxed = _relaxed(e.args[0], world)
    return F.item_by_item(lambda v: v if relaxed and is_point(v) else F.one_hot(v, size), args)


def _relaxed(e: E.Expr, world: Surroundings) -> bool:
    """Whether the expression names a latent whose draws may be points of the simplex."""
    return isinstance(e, E.VariableRef) and e.name in world.instance.relaxed


def is_point(value: Value) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _clip(e: E.Call, args: tuple[Value, ...], world: Surroundings, sites: Sites) -> Value:
    below = e.args[1]
    assert isinstance(below, E.SizeRef)  # `clip(i, K)`
    size = world.shape((below.dim,), sites)[0]
    return F.item_by_item(lambda v: torch.tensor(min(max(int(number(v)), 0), size - 1)), args[:1])


def _length(e: E.Call, args: tuple[Value, ...], world: Surroundings, sites: Sites) -> Value:
    return torch.tensor(sum(not isinstance(v, Begin) for v in stretch_of(args[0]).items))


_SHAPES: dict[str, Callable[[E.Call, tuple[Value, ...], Surroundings, Sites], Value]] = {
    "concat": lambda e, args, world, sites: F.item_by_item(F.concat, args),
    "dot": lambda e, args, world, sites: F.item_by_item(F.dot, args),
    "matmul": lambda e, args, world, sites: F.item_by_item(F.matmul, args),
    "ordered": lambda e, args, world, sites: F.item_by_item(F.ordered, args),
    "ordered_logits": lambda e, args, world, sites: F.item_by_item(F.ordered_logits, args),
    "flatten": lambda e, args, world, sites: F.item_by_item(lambda v: number(v).reshape(-1), args),
    "reshape": _reshape,
    "onehot": _one_hot,
    "clip": _clip,
    "last": _last,
    "first": _last,
    "length": _length,
}


# ---------------------------------------------------------------- densities, in terms of the objective
def _log_prob(e: E.LogProb, world: Surroundings, sites: Sites, names: Names) -> Value:
    """log p(value | arguments); 0 where the value is observed and missing."""
    if isinstance(e.value, E.VariableRef) and not world.has_value(e.value, sites):
        return torch.zeros((), dtype=torch.float64)
    arguments = {n: number(evaluate(a, world, sites, names)) for n, a in e.dist.arguments}
    value = number(evaluate(e.value, world, sites, names))
    return log_density(e.dist.family, arguments, value, world.shape(e.dist.type.shape, sites))


# ---------------------------------------------------------------- networks
def _apply(e: E.Apply, world: Surroundings, sites: Sites, names: Names) -> Value:
    if names and any(isinstance(n, E.LocalRef) for n in E.walk(e)):  # what `where` bound was looked at before
        return _apply_now(e, world, sites, names)
    key = (id(e), tuple(sorted(sites.items())), world.guiding)
    return world.memory.recall(key, lambda: _apply_now(e, world, sites, names))


def _apply_now(e: E.Apply, world: Surroundings, sites: Sites, names: Names) -> Value:
    network = world.networks[e.network]
    numbers: N.Weights = world.weights
    if (other := network.option("detached")) is not None:
        if network.kind != "Module":
            network = world.networks[other]
        numbers = {name: w.detach() for name, w in numbers.items()}
    if network.kind == "Module":
        return _from_user(e, network, world, sites, names)
    bank = world.shape(network.bank, sites)
    value = evaluate(e.args[0], world, sites, names)
    member = [evaluate(b, world, sites, names) for b in e.bank]

    def weights(*index: Value) -> N.Weights:
        if network.option("tied"):
            other, out = world.networks[network.option("tied")], world.shape(network.arguments[-1:], sites)[0]
            return N.tied_weights(network, other, numbers, out)
        return N.weights_of(network, numbers, tuple(int(number(i)) for i in index), bank)

    if network.kind in N.AT_A_SITE:
        at_a_site = N.AT_A_SITE[network.kind]
        return F.item_by_item(lambda v, *i: at_a_site(network, weights(*i), v), (value, *member))
    return _in_order(e, network, weights(*member), value)


def _from_user(e: E.Apply, network: Network, world: Surroundings, sites: Sites, names: Names) -> Value:
    """A network of the user's own is what it gives for one example alone, and for no more sites than it may read."""
    module, reads = world.modules[network.name], network.option("reads")
    begins = [world.shape((a.type.support.values,), sites)[0] if a.type.support.size else 0 for a in e.args]
    values = [evaluate(a, world, sites, names) for a in e.args]
    stretch = next((v for v in values if isinstance(v, StretchValue)), None)
    if stretch is None or reads == "site":
        return F.item_by_item(
            lambda *v: N.of_user(module, [N.handed(x, b) for x, b in zip(v, begins, strict=True)]), tuple(values)
        )
    columns = [
        [N.handed(x, b) for x in (v.items if isinstance(v, StretchValue) else [v] * len(stretch.items))]
        for v, b in zip(values, begins, strict=True)
    ]
    back = stretch.reach in ("after", "from")
    columns = [c[::-1] for c in columns] if back else columns
    count = len(stretch.items)
    if reads == "whole":
        outputs = list(N.of_user(module, [torch.stack(c) for c in columns], whole=True)) if count else []
    else:
        outputs = [N.of_user(module, [torch.stack(c[: t + 1]) for c in columns])[-1] for t in range(count)]
    if e.type.reach is None:
        return outputs[-1]
    return replace(stretch, items=tuple(outputs[::-1] if back else outputs))


def _in_order(e: E.Apply, network: Network, own: N.Weights, value: Value) -> Value:
    """A network that reads a stretch in order, or backwards from the end under x[>t] and x[>=t]."""
    stretch = stretch_of(value)
    inputs = [number(v) for v in stretch.items]
    if stretch.reach in ("after", "from"):
        inputs = inputs[::-1]
    outputs = N.recurrent(network, own, inputs)
    if e.type.reach is None:
        return outputs[-1]
    return replace(stretch, items=tuple(outputs[::-1] if stretch.reach in ("after", "from") else outputs))


_EVALUATORS: dict[type, Callable[..., Value]] = {
    E.Number: _number,
    E.SizeRef: _size,
    E.ParamRef: _param,
    E.VariableRef: _variable,
    E.LocalRef: _local,
    E.PlateIndex: _plate_index,
    E.Index: _index,
    E.SiteOf: _site_of,
    E.Part: _part,
    E.Call: _call,
    E.Apply: _apply,
    E.LogProb: _log_prob,
}
