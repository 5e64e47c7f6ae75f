"""What a step costs: multiply-adds, bytes at the peak and dispatches, at the model's sizes.

Every expression is priced at the extent that it varies over: a table of emissions once, a network under an
enumerated latent K times. The backward pass costs twice the forward one. Memory is what the forward pass keeps for the
backward one, and the most that any one operation has beside it in passing: the gradients of its result and of its
inputs. Parameters, their gradients and what the optimizer keeps of them are counted apart (`learned`).

A rule pays a `Pricer`, which knows what has been paid for: a latent's price is what is paid for it alone, a step's what
all pay together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import inf, prod

from lvspec.ir.axes import axis_of, lag_of, latent_of, sites_of
from lvspec.ir.expr import Again, Apply, At, Call, Dist, Expr, Index, ParamRef, PlateIndex, Stretch, VariableRef
from lvspec.ir.flows import flow_of
from lvspec.ir.guides import GuideOrder
from lvspec.ir.networks import EACH, NETWORKS, Work, output_shape
from lvspec.ir.plan import Cost
from lvspec.ir.reads import Reader, bodies, number_of, reader_of
from lvspec.ir.spec import Network, Variable
from lvspec.ir.structured import longest_segment, structure_of, window_axis, window_of
from lvspec.plan.model import Model
from lvspec.plan.prices.categories import (
    GATHERED,
    TRAINING,
    parts_read,
    pay_normalised,
    pay_parts,
    pay_reads,
    pay_softmax,
    told_by,
)
from lvspec.plan.prices.networks import layers_of, multiplications_of, parameters_of
from lvspec.plan.prices.parts import factors_apart, less_of_parts, parts_apart

FLOAT = 4  # bytes
OPTIMIZED = 4  # numbers for each one that is learned: itself, its gradient, and two that Adam keeps
NODE = 260  # numbers that an operation's tensor, its view and its node of the graph take beside its value, as measured
VIEW = 150  # numbers that a view of a row takes, as measured: a loop over sites has one of each of its buffers at every site
# forward and backward, as counted; recurrent: a layer of a network, one way
DISPATCHES = {"expression": 3, "density": 20, "guide": 40, "flow": 80, "recurrent": 40}
# a factorisation of a small matrix in the time of exponentials: itself, and so many of its multiply-adds for each, as measured
FACTORISATION, SLOWER = 30, 64
# tensors of so many numbers are the system's own, whose pages are cleared each time: a number in the time of exponentials
LARGE, CLEARED = 2**23, 0.4
WEIGHED = 1.25  # exponentials that take as long as a weight of a recurrent network is laid out, and its gradient
# of operations the share that leaves a node, as measured: of a density; of sums and integrals, and of their backward passes
IN_GRAPH, OF_SUMS = 0.3, 0.22


class Pricer:
    """summed: latents that are laid out along axes; samples: draws S of the others.

    kept: numbers that stay until the backward pass. passing: the most that are there beside them for a while.
    learned: how many numbers each parameter and network that is read has.
    """

    def __init__(
        self,
        model: Model,
        summed: set[str],
        samples: int = 1,
        unrolled: tuple[str, ...] = (),
        guide: tuple[Variable, ...] | None = None,
        networks: tuple[Network, ...] = (),
    ):
        self.model = model
        self.summed = summed
        self.samples = samples
        self.unrolled = unrolled
        self.guide = model.spec.guide if guide is None else guide
        self.lets = model.spec.lets | {v.name: v for v in self.guide if v.role == "let"}
        self.networks = {n.name: n for n in (*model.spec.networks, *networks)}
        self.by_statistics = False  # whether vectors are scored by products with their moments: no axis of features
        self.paid: dict[tuple[str, ...], frozenset[str]] = {}
        self.learned: dict[str, float] = {}
        # what expressions and let variables vary over, and what these cost by themselves: the same for all that lay a
        # model out alike. Expressions are known by their place in the memory, which they keep while they are here.
        layout = frozenset(summed), samples, unrolled, tuple(map(id, self.guide)), tuple(self.networks)
        self.known_axes, self.let_axes, self.let_costs, _ = model.of_layouts.setdefault(
            layout, ({}, {}, {}, self.guide)
        )
        self.flops = self.kept = self.passing = self.dispatches = self.looped = self.nodes = self.exponentials = 0.0

    @cached_property
    def _plates(self) -> frozenset[str]:
        return frozenset(p.name for p in self.model.spec.plates)

    @cached_property
    def _reader(self) -> Reader:
        return self.model.reader if self.guide is self.model.spec.guide else reader_of(self.model.spec, self.guide)

    @cached_property
    def _order(self) -> GuideOrder:
        model = self.model
        return model.guide_order if self.guide is model.spec.guide else GuideOrder(model.spec, self.guide)

    @property
    def cost(self) -> Cost:
        learned = FLOAT * OPTIMIZED * sum(self.learned.values())
        memory = FLOAT * (self.kept + self.passing + NODE * self.nodes)
        return Cost(*map(float, (self.flops, memory, self.dispatches, learned, self.exponentials, self.looped)))

    def holds(self, kept: float, passing: float = 0.0, tensors: int = 1) -> None:
        """Numbers that an operation leaves for its gradient, and that it has beside them at its own turn, in so many tensors."""
        self.kept += kept
        self.passing = max(self.passing, passing)
        self.exponentials += CLEARED * sum(n for n in (kept, passing) if n >= LARGE * tensors)

    def calls(self, dispatches: float, in_graph: float = 1.0, looped: bool = False) -> None:
        """Operations that are called. in_graph: the share of them that the graph holds at once; looped: see Cost."""
        self.dispatches += dispatches
        self.nodes += 0.0 if looped else in_graph * dispatches
        self.looped += dispatches if looped else 0.0

    def calls_again(self, other: Pricer, times: float, in_graph: float = 1.0) -> None:
        """Everything that another one calls, so many times."""
        self.dispatches += times * other.dispatches
        self.looped += times * other.looped
        self.nodes += in_graph * times * other.nodes

    def inner(self, **changes) -> Pricer:
        """One that has paid for nothing, of the same model but for the changes."""
        same = {n: getattr(self, n) for n in ("model", "summed", "samples", "unrolled", "guide")}
        return Pricer(**same | {"networks": tuple(self.networks.values())} | changes)

    # ------------------------------------------------------------ extents
    def axes(self, node) -> frozenset[str]:
        """Named axes that an expression varies over: S, B, plates, enumerated latents (with lags and sites)."""
        if id(node) not in self.known_axes:
            found = self._reached(node)
            if isinstance(node, Expr):  # but for a plate that was added up, or is an axis of the value
                found -= self._plates.difference(node.type.plates, self._stretch(node.type))
            self.known_axes[id(node)] = found, node
        return self.known_axes[id(node)][0]

    @staticmethod
    def _stretch(type_) -> tuple[str, ...]:
        return (type_.reach.plate,) if type_.reach else ()

    def _reached(self, node) -> frozenset[str]:
        if isinstance(node, VariableRef):
            sites = zip((self.lets.get(node.name) or self.model.spec.variable(node.name)).plates, node.at, strict=True)
            named = {plate: self.axes(site.index) for plate, site in sites if isinstance(site, At)}
            own = self._variable_axes(node)
            for plate, number in ((s.plate, number_of(s)) for s in node.at if s.plate in self.unrolled):
                own = own if number is None else frozenset(self._named_site(a, plate, number) for a in own)
            return (own - set(named)).union(*named.values())
        if isinstance(node, PlateIndex):
            return frozenset({node.plate})
        if isinstance(node, ParamRef) and node.name in self.model.spec.own_rows:
            return frozenset({"B"})
        inner = frozenset(a for c in node.children() for a in self.axes(c))
        if isinstance(node, Call) and node.over:
            inner = self._over(inner, node.over)
        return inner

    def _named_site(self, axis: str, plate: str, number: int) -> str:
        """The axis of a summed latent at a site of an unrolled plate that is written as a number."""
        return axis_of(latent_of(axis), (number,), lag_of(axis)) if self._lives_on(axis, plate) else axis

    def _lives_on(self, axis: str, plate: str) -> bool:
        """Whether it is the axis of a summed latent on this plate, at no site of its own yet."""
        name = latent_of(axis)
        return name in self.summed and plate in self.model.spec.variable(name).plates and not sites_of(axis)

    def _over(self, axes: frozenset[str], plate: str) -> frozenset[str]:
        """What an expression varies over once plate is stacked: an unrolled plate's latents appear site by site."""
        found = set(axes) - {plate}
        if plate in self.unrolled:
            for axis in [a for a in found if self._lives_on(a, plate)]:
                found.discard(axis)
                found |= {self._named_site(axis, plate, i) for i in range(min(self.model.extent(plate), 64))}
        return frozenset(found)

    def _variable_axes(self, node: VariableRef) -> frozenset[str]:
        copies = {s.plate: s.copy for s in node.at if isinstance(s, Again)}
        return frozenset(copies.get(a, a) for a in self._own_axes(node))

    def _own_axes(self, node: VariableRef) -> frozenset[str]:
        if node.name in self.lets:
            return self._let_axes(node.name)
        variable = self.model.spec.variable(node.name)
        if node.name in self.summed:
            lag = sum(getattr(s, "k", 0) for s in node.at)
            axes = {axis_of(node.name, (), lag)}
            if any(type(s).__name__ == "Stretch" for s in node.at):
                axes = set(self._over(frozenset(axes), next(s.plate for s in node.at if type(s).__name__ == "Stretch")))
            return frozenset(axes)
        sampled = {"S"} if variable.role == "latent" else set()
        sampled |= {window_axis(s.plate, s.inside) for s in node.at if isinstance(s, Stretch) and s.inside}
        return frozenset(sampled | ({"B"} if not variable.outside_batch else set()) | set(variable.plates))

    def _let_axes(self, name: str) -> frozenset[str]:
        for below in () if name in self.let_axes else self._reader.lets_below(name, self.let_axes.__contains__):
            let = self.lets[below]
            early = any(n not in self.let_axes for n in self._reader.lets_in(below))
            self.let_axes[below] = frozenset(let.plates)  # where it reads itself at an earlier site
            self.let_axes[below] |= frozenset(a for c in let.clauses for b in bodies(c) for a in self.axes(b))
            if early:
                self.known_axes.clear()  # they were found before all was known that they read
        return self.let_axes[name]

    def extent(self, axes) -> float:
        return prod(self.length(a) for a in axes)

    def length(self, axis: str) -> int:
        if axis == "S":
            return self.samples
        if axis == "B":
            return self.model.sizes["B"]
        if (latent := window_of(axis)) is not None:
            return longest_segment(self.model.spec.variable(latent)).evaluate(self.model.sizes)
        name = latent_of(axis)
        if name in self.summed:
            return self.model.cardinality(name)
        return self.model.extent(name)

    # ------------------------------------------------------------ prices
    def expression(self, node, kept: bool = True) -> None:
        """Adds the price of evaluating an expression; a let variable is paid for once. kept: whether its value stays: a
        sum needs its shape alone, and a product its factors."""
        if isinstance(node, VariableRef) and node.name in self.lets:
            for name in () if ("let", node.name) in self.paid else self._reader.lets_below(node.name, self._let_paid):
                self._first("let", name)
                self._let(name)
            return
        adds = isinstance(node, Call) and node.function in ("sum", "mean")
        parts = parts_apart(self, node)
        for child in parts or factors_apart(self, node) or node.children():
            self.expression(child, not (adds and isinstance(child, Call) and child.function == "multiply"))
        if isinstance(node, ParamRef):
            self.learned[node.name] = self.events(node.type.shape)
        if isinstance(node, (VariableRef, ParamRef, PlateIndex)) or not isinstance(node, Expr):
            return
        numbers = self.numbers(node)
        self.calls(DISPATCHES["expression"])
        if isinstance(node, Apply):
            self._network(self.networks[node.network], numbers, self._read_together(node))
            if parts:
                self.flops += TRAINING * less_of_parts(self, node, parts)
            return
        self.flops += TRAINING * numbers
        if not isinstance(node, Index):
            self.holds(numbers if kept else 0.0, 2 * numbers)

    def _let(self, name: str) -> None:
        """Adds the price of a let variable's own lines; those that it reads have been paid for."""
        if name not in self.let_costs:
            alone = self.inner()
            alone.paid = self.paid
            for body in (b for clause in self.lets[name].clauses for b in bodies(clause)):
                alone.expression(body)
            alone.paid = {}  # its own from here on
            self.let_costs[name] = alone
        alone = self.let_costs[name]
        self.flops, self.exponentials = self.flops + alone.flops, self.exponentials + alone.exponentials
        self.calls_again(alone, 1.0)
        self.kept, self.passing = self.kept + alone.kept, max(self.passing, alone.passing)
        self.learned |= alone.learned

    def _let_paid(self, name: str) -> bool:
        return ("let", name) in self.paid

    def _first(self, *key: str) -> bool:
        """Whether something is to be paid for now, since it has not been."""
        new = key not in self.paid
        self.paid.setdefault(key, frozenset())
        return new

    def numbers(self, node) -> float:
        """How many numbers an expression's value has."""
        return self.extent(self.axes(node)) * self.events(node.type.shape)

    def events(self, shape) -> float:
        return prod(d.evaluate(self.model.sizes) if set(d.names) <= set(self.model.sizes) else 1 for d in shape)

    def _read_together(self, node: Apply) -> float:
        """How many sites a network sees at once."""
        reach = next((a.type.reach for a in node.args if a.type.reach is not None), None)
        if reach is None:
            return 1.0
        return self.length(window_axis(reach.plate, reach.inside) if reach.inside else reach.plate)

    def _network(self, network: Network, numbers: float, sites: float) -> None:
        sizes = [d.evaluate(self.model.sizes) for d in network.arguments]
        kind = NETWORKS[network.kind]
        if kind.work is not None:
            self._works(kind.work(network, sizes, sites), network, numbers / self.events(output_shape(network)))
            return
        self.learned[network.option("detached", network.name)] = self.events(network.bank) * parameters_of(
            network, sizes
        )
        self.flops += TRAINING * numbers * multiplications_of(network, sizes)
        if network.kind == "Embedding":
            self.exponentials += GATHERED * numbers / sizes[-1]
        if kind.gates:
            self.exponentials += WEIGHED * parameters_of(network, sizes)
            self.calls(DISPATCHES["recurrent"] * layers_of(network) * (2 if kind.reads == "whole" else 1))
            self.holds(kind.kept * numbers * layers_of(network), 2 * numbers, kind.kept)
        else:  # a hidden layer is kept once, behind its activation
            hidden = [numbers * size / sizes[-1] for size in sizes[1:-1]] if network.kind == "MLP" else []
            self.calls(DISPATCHES["expression"] * len(hidden))
            self.holds(numbers + sum(hidden), (1 if network.kind == "Embedding" else 2) * max(numbers, *hidden, 0.0))

    def _works(self, work: Work, network: Network, times: float) -> None:
        """What a network does at so many sites."""
        self.learned[network.option("detached", network.name)] = self.events(network.bank) * work.learned
        self.flops += TRAINING * times * work.multiplications
        self.calls(DISPATCHES["expression"] * work.calls)
        self.holds(times * work.kept, 2 * times * work.widest, work.calls + 1)

    def factor(self, variable: Variable) -> frozenset[str]:
        """Adds the price of a log-factor, once, and gives the axes that it varies over."""
        key = (variable.role, variable.name)
        if not self._first(*key):
            return self.paid[key]
        before = self.dispatches
        is_guide = variable.role == "guide"
        self.calls(DISPATCHES["guide" if is_guide else "density"], 1.0 if is_guide else IN_GRAPH)
        axes: set[str] = set()
        for clause in variable.clauses:
            for body in (told_by(self, clause, b) for b in bodies(clause)):
                if parts := parts_read(self, variable, clause, body):
                    pay_parts(self, variable, clause, parts)
                else:
                    pay_reads(self, body)
                axes |= self.axes(body)
                self._flows(body, variable)
        if variable.role == "observed" or variable.name not in self.summed:
            axes |= {*variable.plates} | (set() if variable.outside_batch else {"B"})
        else:
            axes |= {variable.name}
        self._density(variable, frozenset(axes))
        plate = self._order.step_of(variable.name).plate if variable.role == "guide" else None
        if plate is not None:  # one site after the other
            self.calls((self.model.extent(plate) - 1) * (self.dispatches - before), 0.5)
        self.paid[key] = frozenset(axes)
        return self.paid[key]

    def _flows(self, body, variable: Variable) -> None:
        """The passes of each flow: what is drawn by q goes forwards, where p is asked about a value, it goes back."""
        for name, _ in body.through if isinstance(body, Dist) else ():
            network = self.networks[name]
            row, steps = flow_of(network), int(network.option("steps", 1))
            turns = row.forward if variable.role == "guide" else row.inverse
            passes = steps * (self.events(network.arguments[:1]) if turns == EACH else 1)
            drawn = {"S"} if variable.role in ("guide", "latent") else set()
            axes = self.axes(body) | drawn | set(variable.plates) | (set() if variable.outside_batch else {"B"})
            numbers = self.extent(axes) * self.events(variable.type.shape)
            sizes = [self.events((d,)) for d in network.arguments]
            width = (
                sizes[1] if "hidden" in NETWORKS[network.kind].sizes else 1.0
            )  # multiply-adds of a number that goes in, or comes out
            layers, ends = int(network.option("layers", 1)), 1 + row.numbers(network)  # an entry in, its numbers out
            inner = (layers - 1) * width * width
            self.learned[name] = steps * (ends * sizes[0] * width + sum(sizes[2:]) * width + inner)
            self.flops += TRAINING * passes * numbers * (ends * width + inner / sizes[0])
            self.calls(DISPATCHES["flow"] * passes, 0.6)
            self.holds(passes * numbers * (ends + layers * width / sizes[0]), 2 * numbers)

    def _density(self, variable: Variable, axes: frozenset[str]) -> None:
        body = told_by(self, variable.general, variable.general.body)
        if parts_read(self, variable, variable.general, body):
            self.holds(self.extent(axes))
        elif structure_of(variable):
            for _, value in variable.general.dist.arguments:
                pay_normalised(self, value, 2)  # read by index: gradients are put into zeros
        elif isinstance(body, Dist) and body.family in ("Categorical", "OneHotCategorical"):
            pay_softmax(self, variable, body, axes)
        else:
            features = 1.0 if self.by_statistics else self.events(variable.type.shape)
            self.flops += TRAINING * self.extent(axes) * features
            if self._one_scale(body):
                products = 2 * features * self.extent(a for a in axes if latent_of(a) not in self.summed)
                self.holds(self.extent(axes) + products, max(2 * self.extent(axes), products))
            else:
                self.holds(self.extent(axes) * features, 2 * self.extent(axes) * features)

    def _one_scale(self, body) -> bool:
        """Whether all states of a Gaussian are compared with a value by one product: no axis of features is made."""
        if not isinstance(body, Dist) or body.family != "Normal":
            return False
        loc, scale = (self.axes(body.argument(name)) for name in ("loc", "scale"))
        return bool(loc) and not scale and all(latent_of(a) in self.summed for a in loc)


def priced(pricer: Pricer, *rules: Callable[[Pricer], None]) -> Cost:
    """What rules pay together: infinitely much, where it is beyond all floats."""
    try:
        for pay in rules:
            pay(pricer)
        return pricer.cost
    except OverflowError:
        return Cost(inf, inf, inf, inf, inf, 0.0)
