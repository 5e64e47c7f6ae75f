"""An expression as Python for one example and one site, over torch alone: what `compile --self-check` compares a module with.

    transition[z[t-1]]           model.transition[z[t - 1]]
    writer(words(x[<t]))         model.writer(model.words(x_before))[t]
    dot(h[t], memory[m]) over m  torch.stack([h[t] @ memory[m] for m in range(len(s))])

Networks are the module's own. There are no masks, draws or axes of latents here: an example has its own sites only, a latent one value.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.emit.lowering.sizes import size_code
from lvspec.errors import UsageError
from lvspec.ir import expr as E
from lvspec.ir.dims import Dim, ragged_plate
from lvspec.ir.networks import NETWORKS
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Binding, Clause, Variable

INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**"}
OF_TORCH = ("exp", "log", "sqrt", "square", "abs", "sigmoid", "tanh", "relu")
REDUCED = {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin", "prod": "prod", "logsumexp": "logsumexp"}


class Unwritten(UsageError):
    """What is not written out for one example, by name."""


@dataclass
class OneExample:
    """plan: its spec's plates and networks. imports: gains what is called beside torch. begins: variables that are read shifted by a
    site, under the name of the shifted one. bindings: what a clause's `where` bound, where it is not named by a statement."""

    plan: Plan
    imports: set[str]
    begins: dict[str, str]
    bindings: tuple[Binding, ...] = ()

    # ------------------------------------------------------------ sizes and sites
    def size(self, size: Dim) -> str:
        plate = ragged_plate(size)
        return size_code(size, "model") if plate is None else self.extent(plate)

    def extent(self, name: str) -> str:
        """How many sites a plate has: as many as a variable of the batch, or drawn, has along it."""
        plate = self.plan.spec.plate(name)
        if plate.size is not None:
            return self.size(plate.size)
        standing = [v for r in ("observed", "given", "latent") for v in self.plan.spec.of_role(r) if name in v.plates]
        if plate.within or plate.like or not standing:
            raise Unwritten(f"the sites of {name} are not gone through")
        axis = standing[0].plates.index(name)
        return f"{standing[0].name}.shape[{axis}]" if axis else f"len({standing[0].name})"

    def over(self, code: str, plate: str) -> str:
        return f"torch.stack([{code} for {plate} in range({self.extent(plate)})])"

    # ------------------------------------------------------------ a value at a site
    def at_site(self, e: E.Expr) -> str:
        """The expression where the clause stands, as an operand."""
        code = self.code(e)
        infix = isinstance(e, E.Call) and (e.function in INFIX or e.function == "negative")
        return f"({code})" if infix or isinstance(e, E.Number) and e.value < 0 else code

    def code(self, e: E.Expr) -> str:
        """The expression where the clause stands."""
        reach = e.type.reach
        if reach is not None:
            if reach.reach == "whole":
                raise Unwritten(f"all of {reach.plate} at one of its sites is not written out")
            return f"{self.along(e)}[{reach.plate}]"
        if isinstance(e, E.Number):
            return repr(e.value)
        if isinstance(e, E.SizeRef):
            return self.size(e.dim)
        if isinstance(e, E.ParamRef):
            return f"model.{e.name}"
        if isinstance(e, E.LocalRef):
            return self.bound(e.name)
        if isinstance(e, E.PlateIndex):
            return e.plate
        if isinstance(e, E.VariableRef):
            return self.variable(e)
        if isinstance(e, E.Index):
            return f"{self.at_site(e.base)}[{', '.join(self.index(i) for i in e.indices)}]"
        if isinstance(e, E.SiteOf):
            return f"{self.along(e.base)}[{e.plate}]"
        if isinstance(e, E.Apply):
            return self.applied(e)
        if isinstance(e, E.Call):
            return self.called(e)
        raise Unwritten(f"{type(e).__name__} is not written out")

    def index(self, e: E.Expr) -> str:
        return f"{self.at_site(e)}.long()" if e.type.support.kind == "boolean" else self.code(e)

    def bound(self, name: str) -> str:
        """What `where` bound: by its name, or in its place."""
        binding = next((b for b in self.bindings if name in b.names), None)
        if binding is None:
            return name
        if isinstance(binding.value, E.Call) and binding.value.function == "split":
            return f"{self.split(binding)}[{binding.names.index(name)}]"
        return f"({self.code(binding.value)})"

    def split(self, binding: Binding) -> str:
        assert isinstance(binding.value, E.Call)
        return f"{self.at_site(binding.value.args[0])}.chunk({len(binding.names)}, -1)"

    def variable(self, e: E.VariableRef) -> str:
        at = []
        for site in e.at:
            if isinstance(site, E.Here):
                at.append(site.plate)
            elif isinstance(site, E.Again):
                at.append(site.copy)
            elif isinstance(site, E.Lag) and site.k > 0:
                at.append(f"{site.plate} - {site.k}")
            elif isinstance(site, E.At):
                at.append(self.code(site.index))
            elif isinstance(site, E.Stretch) and site.reach == "whole":
                at.append(":")
            else:
                raise Unwritten(f"{e.name} at later sites is not written out")
        while at and at[-1] == ":":
            at.pop()
        return f"{e.name}[{', '.join(at)}]" if at else e.name

    def applied(self, e: E.Apply) -> str:
        network = next(n for n in self.plan.networks if n.name == e.network)
        if network.bank or network.kind == "Module" or len(e.args) != 1:
            raise Unwritten(f"the network {e.network} is not called for one example")
        (argument,) = e.args
        if NETWORKS[network.kind].reads == "site":
            return f"model.{e.network}({self.code(argument)})"
        assert argument.type.reach is not None  # front/applications.py
        return f"{self.read(e)}[{argument.type.reach.plate}]"

    def called(self, e: E.Call) -> str:
        name, args = e.function, e.args
        if e.over is not None:
            stacked = self.over(self.code(args[0]), e.over)
            if name == "stack":
                return stacked
            if name == "flatten":
                return f"{stacked}.reshape(-1)"
            if name in ("softmax", "log_softmax"):
                return f"{stacked}.{name}(0)" + (f"[{e.over}]" if e.over in e.type.plates else "")
            return f"{stacked}.{REDUCED[name]}(0)"
        if name in ("last", "first"):
            return f"{self.whole(args[0])}[{-1 if name == 'last' else 0}]"
        if name in REDUCED and args[0].type.reach is not None:
            return f"{self.whole(args[0])}.{REDUCED[name]}(0)"
        return self.of_values(e, [self.at_site(a) for a in args])

    def of_values(self, e: E.Call, values: list[str]) -> str:
        """A function of values, the event axes last."""
        name, first = e.function, values[0]
        if name in INFIX:
            return f"{first} {INFIX[name]} {values[1]}"
        if name == "negative":
            return f"-{first}"
        if name == "softplus":
            self.imports.add("softplus")
            return f"softplus({_tensor(e.args[0], first)})"
        if name in OF_TORCH:
            return f"torch.{name}({_tensor(e.args[0], first)})"
        if name == "detach":
            return first
        if name in REDUCED:
            return f"{first}.{REDUCED[name]}(-1)"
        if name in ("softmax", "log_softmax"):
            return f"{first}.{name}(-1)"
        if name == "concat" and all(len(a.type.shape) == 1 for a in e.args):
            return f"torch.cat([{', '.join(values)}], -1)"
        if name == "reshape":
            sizes = [self.size(d) for d in e.type.shape[1 - len(e.args) :]]
            return f"{first}.unflatten(-1, ({', '.join(sizes)}{',' * (len(sizes) == 1)}))"
        if name == "flatten":
            return f"{first}.reshape(-1)"
        if name == "onehot":
            return f"torch.nn.functional.one_hot({first}, {self.size(e.type.shape[-1])}).double()"
        if name == "matmul" or name == "dot" and all(len(a.type.shape) == 1 for a in e.args):
            return f"{first} @ {values[1]}"
        raise Unwritten(f"{name}(...) is not written out")

    # ------------------------------------------------------------ a value at each site of a stretch
    def whole(self, e: E.Expr) -> str:
        assert e.type.reach is not None  # front/shapes.py
        if e.type.reach.reach != "whole":
            raise Unwritten(f"what is read of {e.type.reach.plate} so far is not written out")
        return self.along(e)

    def read(self, e: E.Apply) -> str:
        """A network that reads a stretch, at all of its sites."""
        network = next(n for n in self.plan.networks if n.name == e.network)
        reach = e.args[0].type.reach
        if reach is None or reach.inside or reach.reach in ("after", "from") or network.bank or len(e.args) != 1:
            raise Unwritten(f"the network {e.network} is not called for one example")
        rows = self.along(e.args[0])
        if NETWORKS[network.kind].reads == "whole":
            return f"model.{e.network}({rows}, torch.tensor({self.extent(reach.plate)}))"
        return f"model.{e.network}({rows})"

    def along(self, e: E.Expr) -> str:
        """The expression at each site of its stretch, (sites, ...)."""
        reach = e.type.reach
        assert reach is not None
        if reach.inside or reach.reach in ("after", "from"):
            raise Unwritten(f"what is read of {reach.plate} from its end, or within segments, is not written out")
        if isinstance(e, E.VariableRef):
            if len(e.at) != 1:
                raise Unwritten(f"a stretch of {e.name}, which stands on several plates, is not written out")
            return self.shifted(e.name) if reach.reach == "before" else e.name
        if isinstance(e, E.Apply):
            network = next(n for n in self.plan.networks if n.name == e.network)
            if NETWORKS[network.kind].reads != "site":
                return self.read(e)
            if network.bank or network.kind == "Module":
                raise Unwritten(f"the network {e.network} is not called for one example")
            return f"model.{e.network}({self.along(e.args[0])})"
        if isinstance(e, E.Call) and e.over is None:
            ranks = [len(a.type.shape) for a in e.args if a.type.reach is not None]
            if e.function in INFIX and min(ranks) < len(e.type.shape):
                raise Unwritten(f"{e.function}(...) of numbers and vectors of a stretch is not written out")
            rows = [self._row(a, self.extent(reach.plate)) for a in e.args]
            return f"({self.of_values(e, rows)})" if e.function in INFIX else self.of_values(e, rows)
        raise Unwritten(f"{type(e).__name__} of a stretch is not written out")

    def _row(self, e: E.Expr, sites: str) -> str:
        """An argument of a function that is asked at each site."""
        if e.type.reach is not None:
            return self.along(e)
        if not e.type.shape:
            return self.at_site(e)
        return f"{self.at_site(e)}.expand({sites}, {', '.join(['-1'] * len(e.type.shape))})"

    def shifted(self, name: str) -> str:
        variable = self.plan.spec.variable(name)
        if variable.type.support.kind != "integer":
            raise Unwritten(f"what stands before the first {name} is no symbol")
        return self.begins.setdefault(name, f"{name}_before")

    def begin(self, name: str) -> str:
        """`x_before`: what is before each site."""
        size = self.size(self.plan.spec.variable(name).type.support.values)
        return f"{self.begins[name]} = torch.cat([torch.tensor([{size}]), {name}])[:-1]"

    # ------------------------------------------------------------ a variable at all of its sites
    def sites(self, variable: Variable, code: str) -> str:
        """`[code for t in range(T)]`: what is written of a site, for each."""
        loops = "".join(f" for {p} in range({self.extent(p)})" for p in variable.plates)
        return f"[{code}{loops}]"

    def chosen(self, variable: Variable, codes: list[tuple[Clause, str]]) -> str:
        """A site's clause: those of first sites by their number, else the general one."""
        *first, (_, general) = codes
        return "".join(f"{code} if {variable.along} == {clause.initial} else " for clause, code in first) + general

    def computed(self, variable: Variable) -> str:
        """A `let` variable, (*plates, *shape)."""
        reads = (n for c in variable.clauses for e in (*(b.value for b in c.bindings), c.value) for n in E.walk(e))
        if any(isinstance(n, E.VariableRef) and n.name == variable.name for n in reads):
            raise Unwritten(f"{variable.name}, which reads its own earlier sites, is not written out")
        own = [self._own(variable, clause) for clause in variable.clauses]
        if len(own) == 1 and own[0]:
            return own[0]
        codes = [(c, self._inside(c).code(c.value)) for c in variable.clauses]
        code = self.chosen(variable, codes)
        for plate in reversed(variable.plates):
            code = self.over(code, plate)
        return code

    def _inside(self, clause: Clause) -> OneExample:
        return OneExample(self.plan, self.imports, self.begins, clause.bindings)

    def _own(self, variable: Variable, clause: Clause) -> str:
        """Where the clause is a site of something along the variable's only plate: that, as it is."""
        body, inside = clause.value, self._inside(clause)
        if len(variable.plates) != 1 or clause.initial is not None:
            return ""
        if isinstance(body, E.SiteOf) and body.plate == variable.plates[0]:
            return inside.along(body.base)
        network = next((n for n in self.plan.networks if isinstance(body, E.Apply) and n.name == body.network), None)
        if network is None or NETWORKS[network.kind].reads == "site" or not isinstance(body, E.Apply):
            return ""
        reach = body.args[0].type.reach
        return inside.read(body) if reach is not None and reach.plate == variable.plates[0] else ""


def _tensor(e: E.Expr, code: str) -> str:
    return f"torch.tensor({float(e.value)})" if isinstance(e, E.Number) else code
