"""Ancestral draws along a plate, one site after the other: each reads those before it, and a network keeps its state.

    z[t]: Categorical(logits=transition[z[t-1]])     z_t = Categorical(self.transition[z_sites[-1]]).sample()
    h[t]: writer(words(x[<t]))                       writer_t, writer_state = self.writer.step(self.words(x_before), writer_state)
    h[t]: writer(words(x[<t in z]))                  the same, of restarted(writer_state, z_begins[:, t] > 0)

Work and memory are linear in the sites. What reads no draw of the loop is computed for all sites before it, as in the
loops of a guide (emit/guide/sites.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lvspec.emit.guide.site_clauses import SiteClauses
from lvspec.emit.guide.sites import Member, SiteLoop
from lvspec.emit.lowering.densities import Term, lower_term, unfused
from lvspec.emit.lowering.extents import sampled
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.sizes import size_code
from lvspec.emit.lowering.value import ATOM, SUM, Value, align, select
from lvspec.ir.components import strongly_connected
from lvspec.ir.dims import Dim
from lvspec.ir.expr import (
    Apply,
    At,
    Call,
    Dist,
    Expr,
    Here,
    Lag,
    LocalRef,
    PlateIndex,
    SiteOf,
    Stretch,
    VariableRef,
    walk,
)
from lvspec.ir.guides import GuideStep
from lvspec.ir.networks import NETWORKS
from lvspec.ir.reads import bodies, is_improper, reader_of
from lvspec.ir.spec import Clause, Variable

ARGUMENTS = (
    "n",
    "given",
    "lengths",
    "ends",
    "batch",
    "self",
    "draw",
)  # of `sample`: no number of a site has such a name


class NotBySite(Exception):
    """A clause reads draws in a way that needs more than a few earlier sites or the state of a network."""


def drawn_along(program: Program, plate: str, variables: list[Variable]) -> bool:
    """Writes the loop that draws these variables, where their clauses can be read site by site; else nothing."""
    low, scope = program.low, program.scope
    saved = list(scope.lines), scope.indent, dict(low.lets), set(scope.names.taken), set(scope.imports)
    try:
        SampledLoop(program, plate, variables).write()
    except NotBySite:
        scope.lines[:], scope.indent, low.lets, scope.names.taken = saved[:4]
        scope.imports.intersection_update(saved[4])
        return False
    return True


@dataclass(frozen=True)
class Stepped:
    """A network over a prefix: `here` is what it gives at a site for `read`, `state` goes on to the next. bank: which one of
    several alike, where it is. inside: the latent in each of whose segments it begins anew."""

    local: str
    network: str
    read: Expr
    bank: Expr | None
    here: str
    state: str
    size: Dim
    inside: str | None


@dataclass(frozen=True)
class Before:
    """The draw before this site, under the name `here`; `begin` stands before the first one, and before the first of each segment
    of the latent `inside`, where it names one."""

    variable: str
    here: str
    begin: str
    inside: str | None


class SampledClauses(SiteClauses):
    """steps: the networks with a state that each variable reads, inner ones first. before: draws before this site, by local name."""

    def __init__(self, low, scope, step: GuideStep, lets: set[str]):
        super().__init__(low, scope, step)
        self.lets = lets
        self.steps: dict[str, list[Stepped]] = {}
        self.before: dict[str, Before] = {}

    def at_site(self, clause: Clause, name: str) -> Clause:
        body = clause.body
        if isinstance(body, Dist) and (body.through or body.over or body.parts) or clause.body is None:
            raise NotBySite
        self.reader = name
        return super().at_site(clause, name)

    def site(self, expr: Expr, clause: Clause, inside: set[str], apart: dict[str, str], label: str) -> Expr:
        if isinstance(expr, VariableRef) and expr.name not in self.step.names and self.depends(expr, inside):
            return self.elsewhere(expr, lambda e: self.site(e, clause, inside, apart, label))
        if self.depends(expr, inside) and not isinstance(expr, (VariableRef, LocalRef)):
            if isinstance(expr, SiteOf) or isinstance(expr, Call) and expr.over == self.plate:
                raise NotBySite
            if isinstance(expr, Apply) and any(a.type.reach is not None for a in expr.args):
                return self.stepped(expr, inside, label)
        return super().site(expr, clause, inside, apart, label)

    def elsewhere(self, expr: VariableRef, change) -> VariableRef:
        """The site of a variable of other plates that a draw names: `memory[a[t]]`."""
        if self.plate in self.low.plates_of(expr.name):
            raise NotBySite
        if expr.name in self.low.definitions:
            self.low.let(self.low.definitions[expr.name])  # before the loop
        return replace(expr, at=tuple(replace(s, index=change(s.index)) if isinstance(s, At) else s for s in expr.at))

    def draw(self, expr: VariableRef) -> str:
        for plate, site in zip(self.low.plates_of(expr.name), expr.at, strict=True):
            back = isinstance(site, Lag) and site.k > 0 and plate == self.plate
            whole = isinstance(site, Stretch) and plate != self.plate and not self.low.spec.plate(plate).ragged
            if not (isinstance(site, Here) or back or whole):
                raise NotBySite
        return super().draw(expr)

    # ------------------------------------------------------------ networks with a state
    def stepped(self, expr: Apply, inside: set[str], label: str) -> LocalRef:
        """A recurrent network over a prefix, as what it gives at this site."""
        network, reach = self.low.networks[expr.network], expr.args[0].type.reach
        causal = NETWORKS[network.kind].reads == "causal"  # its state is taken from site to site
        if not causal or reach is None or reach.plate != self.plate:
            raise NotBySite
        if reach.reach not in ("before", "through") or reach.inside is not None and reach.inside not in self.low.begins:
            raise NotBySite
        read = self.of_prefix(expr.args[0], inside, label)
        bank = self.index_at_site(expr.bank[0], inside, label) if expr.bank else None
        fresh, known = self.scope.names.fresh, self.steps.setdefault(self.reader, [])
        local = f"step {self.reader} {len(known)}"
        here, state = fresh(f"{network.name}_{self.plate}"), fresh(f"{network.name}_state")
        known.append(Stepped(local, network.name, read, bank, here, state, network.arguments[-1], reach.inside))
        return LocalRef(local, type=expr.type, span=expr.span)

    def index_at_site(self, expr: Expr, inside: set[str], label: str) -> Expr:
        """Which network of a bank is read at this site."""
        if isinstance(expr, PlateIndex):
            raise NotBySite  # all of them, along an axis
        if not self.depends(expr, inside):
            return LocalRef(self.known(self.whole(expr, label)), type=expr.type, span=expr.span)
        if not isinstance(expr, VariableRef):
            raise NotBySite
        return LocalRef(self.draw(expr), type=expr.type, span=expr.span)

    def of_prefix(self, expr: Expr, inside: set[str], label: str, begin: str | None = None) -> Expr:
        """What a network with a state is fed at this site. begin: the number that an embedding has for what stands before
        the first one."""
        if not self.depends(expr, inside):
            return LocalRef(self.known(self.whole(expr, label)), type=expr.type, span=expr.span)
        if isinstance(expr, VariableRef):
            return LocalRef(self.fed(expr, begin), type=expr.type, span=expr.span)
        if isinstance(expr, Apply):
            network = self.low.networks[expr.network]
            reads = NETWORKS[network.kind].reads
            if reads == "causal":  # a state is taken from site to site
                return self.stepped(expr, inside, label)
            if expr.bank or reads != "site" or network.path:
                raise NotBySite
            begin = size_code(network.arguments[0]) if network.kind == "Embedding" else None
            return self.rebuilt(expr, lambda e: self.of_prefix(e, inside, label, begin))
        if not isinstance(expr, Call) or expr.over is not None:
            raise NotBySite
        return self.rebuilt(expr, lambda e: self.of_prefix(e, inside, label))

    def fed(self, expr: VariableRef, begin: str | None) -> str:
        """The local name of the draw at this site, x[<=t], or of the one before, x[<t]."""
        sites = dict(zip(self.low.plates_of(expr.name), expr.at, strict=True))
        along = sites[self.plate]
        if not all(isinstance(s, Here) for p, s in sites.items() if p != self.plate) or not isinstance(along, Stretch):
            raise NotBySite
        if along.reach == "through":
            local = f"{expr.name} 0"
            self.read[local] = (expr.name, 0, ())
            return local
        if expr.name in self.lets or expr.type.support.discrete and begin is None:
            raise NotBySite  # what stands before the first site is the lowering's to say
        local = f"{expr.name} before {begin} in {along.inside}"
        if local not in self.before:
            here = self.scope.names.fresh(f"{expr.name}_before")
            self.before[local] = Before(expr.name, here, begin or "0.0", along.inside)
        return local

    def names(self, members: dict) -> dict[str, Value]:
        found = super().names(members)
        for local, before in self.before.items():
            m = members[before.variable]
            found[local] = Value(before.here, m.axes, m.factor.type.shape, integer=m.factor.type.support.discrete)
        return found


class SampledLoop(SiteLoop):
    """The loop over the sites of a plate that draws variables, and computes what they need of one another at each."""

    reads: SampledClauses

    def __init__(self, program: Program, plate: str, variables: list[Variable]):
        if plate in ARGUMENTS or any(map(is_improper, variables)):
            raise NotBySite
        known = _with_lets(program, variables)
        if any(plate not in v.plates for v in known.values()):
            raise NotBySite
        step = GuideStep(_in_order(known, plate), plate)
        self.drawn = {v.name for v in variables}
        super().__init__(
            program, step, known, SampledClauses(program.low, program.scope, step, set(known) - self.drawn)
        )

    def member(self, factor: Variable) -> Member:
        axes = ("B", *factor.plates) if factor.name in self.drawn else factor.plates
        clauses = [self.reads.at_site(c, factor.name) for c in (*factor.initial, factor.general)]
        here = self.scope.names.fresh(f"{factor.name}_{self.plate}")
        steps = self.reads.steps.get(factor.name, [])
        if (
            len(clauses) == 1
            and steps
            and isinstance(clauses[0].body, LocalRef)
            and clauses[0].body.name == steps[-1].local
        ):
            steps[-1] = replace(steps[-1], here=here)  # it is what the network gives
        self.scope.names.taken.add(f"{factor.name}_sites")
        return Member(factor, here, self.low.order.sort(a for a in axes if a != self.plate), clauses, [])

    def write(self) -> dict[str, Term]:
        self.program.scope.comment("one site after the other, each given those before it")
        return super().write()

    def open(self, m: Member) -> None:
        if self.kept(m):
            self.scope.line(f"{m.name}_sites = []")
        for before in (b for b in self.reads.before.values() if b.variable == m.name):
            self.scope.line(f"{before.here} = {self.first_of(before, m)}", "what stands before the first site")
        for step in self.reads.steps.get(m.name, ()):
            self.scope.line(f"{step.state} = None")

    def first_of(self, before: Before, m: Member) -> str:
        """What stands before the first site."""
        if before.begin == "0.0":
            return self.zeros(m)
        return f"torch.full({self.tuple_of(m.axes, m.factor.type.shape)}, {before.begin}, device=self.zero.device)"

    def kept(self, m: Member) -> bool:
        """Whether values of earlier sites are needed again."""
        return m.name in self.drawn or bool(self.reads.reach.get(m.name))

    def zeros(self, m: Member) -> str:
        return f"self.zero.expand({self.extents(m.axes, m.factor.type.shape)})"

    # ------------------------------------------------------------ one site
    def begin(self) -> None:
        """Where a segment begins, nothing of the one before is read."""
        for before in self.reads.before.values():
            if before.inside is None:
                continue
            m = self.members_by_name()[before.variable]
            anew = align(self.segment(before.inside), m.axes, len(m.factor.type.shape)).code
            self.scope.line(f"{before.here} = torch.where({anew}, {before.begin}, {before.here})")

    def segment(self, latent: str) -> Value:
        """Whether a segment begins at this site."""
        begins = select(self.low.begins[latent], self.plate, self.plate)
        return begins.with_(code=f"{begins.code} > 0", binds=SUM)

    def locals_of(self, m: Member, written: bool = False) -> dict[str, Value]:
        """What the clauses of a variable read here; `written`: with the statements that take its networks a site further."""
        low, found = self.low, self.reads.names(self.members_by_name())
        for step in self.reads.steps.get(m.name, ()):
            saved, low.locals = low.locals, found
            values = [low.real(low.concrete(low.lower(step.read)))]
            values += [low.concrete(low.lower(step.bank))] if step.bank is not None else []
            low.locals = saved
            values_axes = {a for v in values for a in v.axes}
            values_axes |= set(low.begins[step.inside].axes) - {self.plate} if step.inside is not None else set()
            axes = low.order.sort({*values_axes, "B"})
            if written:
                fed = ", ".join(self.spread_to(v, axes) for v in reversed(values))
                state = step.state
                if step.inside is not None:
                    anew = self.spread_to(self.segment(step.inside), axes)
                    state = f"{self.scope.use('restarted')}({state}, {anew})"
                self.scope.line(f"{step.here}, {step.state} = self.{step.network}.step({fed}, {state})")
            found = found | {step.local: Value(step.here, axes, (step.size,))}
        return found

    def spread_to(self, value: Value, axes: tuple[str, ...]) -> str:
        if value.axes == axes:
            return value.code
        return f"{self.scope.use('spread')}({align(value, axes).code}, {self.tuple_of(axes, value.shape)}, self.zero)"

    def arguments(self, m: Member, clause: Clause) -> list[Value]:
        """What is computed at this site, or the arguments of what is drawn."""
        return self.lowered(m, clause, self.locals_of(m))

    def lowered(self, m: Member, clause: Clause, found: dict[str, Value]) -> list[Value]:
        low = self.low

        def lower(c: Clause) -> list[Value]:
            if not isinstance(c.body, Dist):
                return [low.concrete(low.lower(c.value))]
            return [low.concrete(v) for v in unfused(low, lower_term(low, c.body, m.name)).arguments]

        saved, low.locals = low.locals, found
        values = low.with_bindings(clause, lower)
        low.locals = saved
        return values

    def settle(self, m: Member, terms: list[list[Value]]) -> None:
        m.arguments = [max((t[0].shape for t in terms), key=len)] if m.name not in self.drawn else []

    def at_one_site(self, m: Member) -> None:
        scope, found = self.scope, self.locals_of(m, written=True)
        before, several, drawn = set(scope.names.taken), len(m.clauses) > 1, m.name in self.drawn
        at = ", ".join([*([":"] * self.low.order.sort((*m.axes, self.plate)).index(self.plate)), self.plate])
        given, word = f'batch["{m.name}"][{at}]', "if"
        if several and drawn:
            scope.line(f'if "{m.name}" in batch:')
            scope.line(f"    {m.here} = {given}")
            word = "elif"
        for clause in m.clauses:
            if several:
                scope.names.taken = set(before)  # no branch reads what another one names
                scope.line("else:" if clause.initial is None else f"{word} {self.plate} == {clause.initial}:")
                scope.indent += 1
                word = "elif"
            values = self.lowered(m, clause, found)
            code = self.draw_code(m, clause, values) if drawn else self.full(m, values[0], m.arguments[0])
            if drawn and not several:
                code = f'{given} if "{m.name}" in batch else {code}'
            if code != m.here:
                scope.line(f"{m.here} = {code}")
            if several:
                scope.indent -= 1

    def keep(self, m: Member) -> None:
        if self.kept(m):
            self.scope.line(f"{m.name}_sites.append({m.here})")
        for before in (b for b in self.reads.before.values() if b.variable == m.name):
            self.scope.line(f"{before.here} = {m.here}")

    def draw_code(self, m: Member, clause: Clause, arguments: list[Value]) -> str:
        return sampled(self.program, clause.dist, arguments, m.axes, m.factor.type.shape)

    def close(self) -> dict[str, Term]:
        for m in self.members:
            if m.name in self.drawn:
                integer, shape = m.factor.type.support.discrete, m.factor.type.shape
                axes = self.low.order.sort((*m.axes, self.plate))
                value = Value(self.stacked(m, f"{m.name}_sites", shape, integer), axes, shape, integer=integer)
                self.low.known[m.name] = self.scope.assign(m.name, value.with_(binds=ATOM), own=True)
        return {}


def _with_lets(program: Program, variables: list[Variable]) -> dict[str, Variable]:
    """The variables, and what is computed of their draws on the way from one to the next."""
    reader = reader_of(program.plan.spec)
    found = {v.name: v for v in variables}

    def named(variable: Variable) -> list[str]:
        nodes = (e for c in variable.clauses for b in bodies(c) for e in walk(b))
        return [e.name for e in nodes if isinstance(e, VariableRef)]

    roots = [n for v in variables for n in named(v) if n in reader.lets]
    for name in dict.fromkeys(let for root in roots for let in reader.lets_below(root, lambda _: False)):
        if any(n in found for n in named(reader.lets[name])):
            found[name] = reader.lets[name]
    return found


def _in_order(known: dict[str, Variable], plate: str) -> tuple[str, ...]:
    """Sources before readers at one site."""

    def here(ref: VariableRef) -> bool:
        along = dict(zip(known[ref.name].plates, ref.at, strict=True))[plate]
        return not (isinstance(along, Lag) or isinstance(along, Stretch) and along.reach == "before")

    sources = {}
    for name, variable in known.items():
        nodes = (e for c in variable.clauses for b in bodies(c) for e in walk(b))
        sources[name] = [e.name for e in nodes if isinstance(e, VariableRef) and e.name in known and here(e)]
    parts = strongly_connected(sources)
    if any(len(part) > 1 or part[0] in sources[part[0]] for part in parts):
        raise NotBySite
    return tuple(name for part in parts for name in part)
