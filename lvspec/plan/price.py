"""What a strategy costs: multiply-adds and bytes of one training step at the model's sizes.

Every expression is priced at the extent that it varies over: a table of emissions once, a network under an
enumerated latent K times. The backward pass costs twice the forward one.
"""

from __future__ import annotations

from dataclasses import replace
from math import isqrt, prod

from lvspec.ir.expr import Again, Apply, Call, Dist, Expr, Index, ParamRef, PlateIndex, VariableRef
from lvspec.ir.plan import Cost
from lvspec.ir.reads import bodies
from lvspec.ir.sites import site_by_site
from lvspec.ir.spec import Variable
from lvspec.ir.structures import structure_of
from lvspec.plan.model import Model

FLOAT = 4  # bytes
TRAINING = 3  # forward and backward, in forwards
# numbers that recurrent networks keep for one of the output, as counted (benchmarks/prices.py): gates, cells, gradients
KEPT = {"LSTM": 13, "BiLSTM": 13, "GRU": 10, "BiGRU": 10, "RNN": 4}
LEAN_BUFFERS = 16  # of a block's sites: copies with the site before, where each block starts (in double), two passes
BUFFERS = 4  # a chain's messages, likelihoods, backward messages and their gradient, at every site


class Pricer:
    """summed: latents that are laid out along axes; samples: draws S of the others."""

    def __init__(self, model: Model, summed: set[str], samples: int = 1, unrolled: tuple[str, ...] = ()):
        self.model = model
        self.summed = summed
        self.samples = samples
        self.unrolled = unrolled
        self.lets = {v.name: v for v in (*model.spec.variables, *model.spec.guide) if v.role == "let"}
        self.networks = {n.name: n for n in model.spec.networks}
        self.priced: set[str] = set()
        self.flops = 0.0
        self.bytes = 0.0

    # ------------------------------------------------------------ extents
    def axes(self, node) -> frozenset[str]:
        """Named axes that an expression varies over: S, B, plates, enumerated latents (with lags and sites)."""
        if isinstance(node, VariableRef):
            return self._variable_axes(node)
        if isinstance(node, PlateIndex):
            return frozenset({node.plate})
        inner = frozenset(a for c in node.children() for a in self.axes(c))
        if isinstance(node, Call) and node.over:
            inner = self._over(inner, node.over)
        return inner

    def _over(self, axes: frozenset[str], plate: str) -> frozenset[str]:
        """What an expression varies over once plate is stacked: an unrolled plate's latents appear site by site."""
        found = set(axes) - {plate}
        if plate in self.unrolled:
            for axis in list(found):
                name = axis.split("@")[0]
                if name in self.summed and plate in self.model.spec.variable(name).plates and "." not in axis:
                    found.discard(axis)
                    found |= {f"{name}.{i}" + axis[len(name) :] for i in range(min(self.model.extent(plate), 64))}
        return frozenset(found)

    def _variable_axes(self, node: VariableRef) -> frozenset[str]:
        copies = {s.plate: s.copy for s in node.at if isinstance(s, Again)}
        return frozenset(copies.get(a, a) for a in self._own_axes(node))

    def _own_axes(self, node: VariableRef) -> frozenset[str]:
        if node.name in self.lets:
            let = self.lets[node.name]
            return frozenset(a for c in let.clauses for b in bodies(c) for a in self.axes(b)) | frozenset(let.plates)
        variable = self.model.spec.variable(node.name)
        if node.name in self.summed:
            lag = sum(getattr(s, "k", 0) for s in node.at)
            axes = {node.name + (f"@{lag}" if lag else "")}
            if any(type(s).__name__ == "Stretch" for s in node.at):
                axes = set(self._over(frozenset(axes), next(s.plate for s in node.at if type(s).__name__ == "Stretch")))
            return frozenset(axes)
        sampled = {"S"} if variable.role == "latent" else set()
        return frozenset(sampled | ({"B"} if not variable.outside_batch else set()) | set(variable.plates))

    def extent(self, axes) -> float:
        return prod(self.length(a) for a in axes)

    def length(self, axis: str) -> int:
        if axis == "S":
            return self.samples
        if axis == "B":
            return self.model.sizes["B"]
        name = axis.split("@")[0].split(".")[0]
        if name in self.summed:
            return self.model.cardinality(name)
        return self.model.extent(name)

    # ------------------------------------------------------------ prices
    def expression(self, node) -> None:
        """Adds the price of evaluating an expression; a let variable is paid for once."""
        if isinstance(node, VariableRef) and node.name in self.lets:
            if node.name not in self.priced:
                self.priced.add(node.name)
                for clause in self.lets[node.name].clauses:
                    for body in bodies(clause):
                        self.expression(body)
            return
        for child in node.children():
            self.expression(child)
        if isinstance(node, (VariableRef, ParamRef)) or not isinstance(node, Expr):
            return
        numbers = self.extent(self.axes(node)) * self._events(node.type.shape)
        network = self.networks[node.network] if isinstance(node, Apply) else None
        self.flops += TRAINING * numbers * (self._per_output(network) if network else 1)
        if not isinstance(node, Index):
            self.bytes += FLOAT * numbers * (self._kept(network) if network else 1)

    def _events(self, shape) -> float:
        return prod(d.evaluate(self.model.sizes) if set(d.names) <= set(self.model.sizes) else 1 for d in shape)

    def _per_output(self, network) -> float:
        """Multiply-adds for one output number."""
        sizes = [d.evaluate(self.model.sizes) for d in network.arguments]
        if network.kind in ("LSTM", "BiLSTM", "GRU", "BiGRU", "RNN"):
            gates = {"LSTM": 4, "BiLSTM": 4, "GRU": 3, "BiGRU": 3, "RNN": 1}[network.kind]
            return gates * (sizes[0] + sizes[1])
        if network.kind == "Embedding":
            return 1
        return max(1.0, sum(a * b for a, b in zip(sizes, sizes[1:], strict=False)) / sizes[-1])

    def _kept(self, network) -> float:
        """Numbers that a network leaves for its backward pass, for one output number."""
        sizes = [d.evaluate(self.model.sizes) for d in network.arguments]
        if network.kind == "MLP":  # hidden layers before and after their activation
            return 1 + 2 * sum(sizes[1:-1]) / sizes[-1]
        return KEPT.get(network.kind, 1)

    def factor(self, variable: Variable) -> frozenset[str]:
        """Adds the price of a log-factor, and gives the axes that it varies over."""
        axes: set[str] = set()
        for clause in variable.clauses:
            for body in bodies(clause):
                self.expression(body)
                axes |= self.axes(body)
        body = variable.general.body
        if variable.role == "observed" or variable.name not in self.summed:
            axes |= {"B", *(p for p in variable.plates)}
        else:
            axes |= {variable.name}
        classes = 1.0
        if isinstance(body, Dist) and body.family in ("Categorical", "OneHotCategorical"):
            logits = body.arguments[0][1]
            classes = self._events(logits.type.shape[-1:])
            rows = self.extent(self.axes(logits))
            self.flops += TRAINING * rows * classes
            # a linear layer under the softmax runs in chunks: only the chosen symbol's number is kept
            fused = isinstance(logits, Apply) and not logits.bank and self.networks[logits.network].kind == "Linear"
            addends = logits.args if isinstance(logits, Call) and logits.function == "add" else (logits,)
            table = classes * sum(self.extent(self.axes(part)) for part in addends)
            self.bytes += FLOAT * (self.extent(axes) + (min(rows * classes, 2**20) if fused else table))
        else:
            self.flops += TRAINING * self.extent(axes) * self._events(variable.type.shape)
            self.bytes += FLOAT * self.extent(axes)
        return frozenset(axes)


def price_sum(model: Model, component: tuple[str, ...], unrolled: tuple[str, ...], chain: str | None = None) -> Cost:
    """Summing a connected set of latents out of every factor that reads one of them.

    chain: the plate along which it is a dynamic program. In the lean mode about sqrt T sites are there at a time, and
    the forward pass is done twice.
    """
    cost = _price_sum(model, component, unrolled)
    if chain is None or model.settings.get("memory") != "lean" or f"|{chain}|" not in model.sizes:
        return cost
    sites = model.sizes[f"|{chain}|"]
    block = replace(model, sizes={**model.sizes, f"|{chain}|": isqrt(sites)})
    held = _price_sum(block, component, unrolled, LEAN_BUFFERS).bytes
    if not site_by_site(model.spec, chain, component):  # potentials, and their gradient, are there as a whole
        states = prod(model.cardinality(n) for n in component)
        held += 2 * FLOAT * model.sizes["B"] * sites * states
    return Cost(cost.flops * (TRAINING + 1) / TRAINING, held)


def _price_sum(model: Model, component: tuple[str, ...], unrolled: tuple[str, ...], buffers: int = BUFFERS) -> Cost:
    pricer = Pricer(model, set(component), 1, unrolled)
    touched = [
        v for v in model.random() if v.name in component or any(r.name in component for r in model.reads(v.name))
    ]
    scopes = [s for v in touched for s in _site_scopes(pricer, v, pricer.factor(v))]
    latents = {a for s in scopes for a in s if _latent(a) in component}
    outer = {"B"} | {p for n in component for p in model.spec.variable(n).plates if p not in unrolled}
    scopes = [frozenset(s) & latents for s in scopes]
    if any("@" in a for a in latents):
        work = _chain_step(pricer, latents)
        widest = buffers * prod(float(pricer.length(a)) for a in latents if "@" in a)
    else:
        work = _elimination(pricer, scopes, latents)
        widest = max((prod(float(pricer.length(a)) for a in s) for s in scopes), default=1.0)
    extent = pricer.extent(outer)
    for name in component:
        cost = price_structure(model, model.spec.variable(name))
        pricer.flops += cost.flops
        pricer.bytes += cost.bytes
    return Cost(pricer.flops + TRAINING * extent * work, pricer.bytes + FLOAT * extent * widest)


def price_structure(model: Model, variable: Variable) -> Cost:
    """The algorithm of a distribution over structures, where the variable has one: for all examples."""
    structure = structure_of(variable)
    if structure is None:
        return Cost(0.0, 0.0)
    body = variable.general.body
    numbers = {"T": float(model.extent(body.over))}
    for name, value in body.arguments:
        for letter, size in zip(structure.axes_of(name), value.type.shape, strict=True):
            numbers[letter] = float(size.evaluate(model.sizes))
    rows = prod(model.extent(p) for p in variable.plates if p != body.over) * model.sizes["B"]
    return Cost(TRAINING * rows * structure.work(numbers), FLOAT * rows * structure.cells(numbers))


def _latent(axis: str) -> str:
    return axis.split("@")[0].split(".")[0]


def _site_scopes(pricer: Pricer, variable: Variable, axes: frozenset[str]) -> list[frozenset[str]]:
    """A factor's scope, once for each site of the unrolled plates that it lives on."""
    sites = [p for p in variable.plates if p in pricer.unrolled]
    if not sites:
        return [axes]
    count = min(prod(pricer.model.extent(p) for p in sites), 64)
    return [frozenset(_at_site(pricer, a, i) for a in axes) for i in range(count)]


def _at_site(pricer: Pricer, axis: str, site: int) -> str:
    name = _latent(axis)
    if "." in axis or name not in pricer.summed:
        return axis
    return f"{name}.{site}" + axis[len(name) :]


def _chain_step(pricer: Pricer, latents: set[str]) -> float:
    """One site of a dynamic program: the whole message, once for each state that arrives."""
    message = prod(float(pricer.length(a)) for a in latents if "@" in a)
    return message * sum(pricer.length(a) for a in latents if "@" not in a)


def _elimination(pricer: Pricer, scopes: list[frozenset[str]], latents: set[str]) -> float:
    """Σ over eliminated variables of the product of the sizes in their clique, smallest clique first."""
    work, left = 0.0, set(latents)
    while left:
        cliques = {a: frozenset({a}).union(*(s for s in scopes if a in s)) for a in left}
        chosen = min(sorted(left), key=lambda a: prod(float(pricer.length(b)) for b in cliques[a]))
        work += prod(float(pricer.length(b)) for b in cliques[chosen])
        scopes = [s for s in scopes if chosen not in s] + [cliques[chosen] - {chosen}]
        left.discard(chosen)
    return work


def price_sampling(model: Model, name: str, samples: int) -> Cost:
    """Every factor that depends on the latent, at S draws."""
    pricer = Pricer(model, set(), samples)
    for variable in model.random():
        if variable.name == name or any(r.name == name for r in model.reads(variable.name)):
            pricer.factor(variable)
    return Cost(pricer.flops, pricer.bytes)
