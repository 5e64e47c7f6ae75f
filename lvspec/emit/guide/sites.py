"""Factors of a guide that read their own earlier sites (or later ones): one site is drawn after the other.

q(z[t] | z[t-1], x)         h = self.reader.backwards(x, ...)                 what reads no draw: all sites at once
                            for t in range(T):
                                loc, scale = self.combine(concat(z_sites[-1], h[:, t])).chunk(2, -1)
                                z_t = Normal(loc, softplus(scale)).draw(noise)
                                z_sites.append(z_t)
                            z = stack_sites(z_sites, dim=2, ...)

The draws, and the arguments of their factors, are then tensors over all sites like any others: divergences and scores
do not know that there was a loop.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from lvspec.emit.guide.site_clauses import SiteClauses
from lvspec.emit.lowering.densities import Term, lower_term, unfused
from lvspec.emit.lowering.distribution import distribution
from lvspec.emit.lowering.extents import argument_ranks, extent_code, noise_shape
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.value import ALL, ATOM, FROM, Value, align, join_draws, select, widen_draws
from lvspec.ir.dims import Dim
from lvspec.ir.expr import Dist, LocalRef
from lvspec.ir.guides import GuideStep
from lvspec.ir.spec import Clause, Variable


@dataclass
class Member:
    """One variable of the loop, at one site. factor: its guide factor, or its definition where it is a let variable.

    here: the name of its value at the site; axes: that value's. clauses: initial ones first. names, arguments: of what its
    distribution takes, the names and the shapes (of a let variable: no name, its own shape).
    """

    factor: Variable
    here: str
    axes: tuple[str, ...]
    clauses: list[Clause]
    names: list[str]
    arguments: list[tuple] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.factor.name

    @property
    def drawn(self) -> bool:
        return self.factor.role == "guide"


class SiteLoop:
    """The loop over the sites of one step's plate. known: variables by name, those of the step among them. reads: their
    clauses at one site. reparameterized: latents whose gradient passes through draws. given_at: the statements that put
    what the batch gives of a latent in place of its draw.
    """

    def __init__(
        self,
        program: Program,
        step: GuideStep,
        known: dict[str, Variable],
        reads: SiteClauses,
        reparameterized: Set[str] = frozenset(),
        given_at=None,
    ):
        self.program, self.step, self.reads = program, step, reads
        self.reparameterized, self.given_at = reparameterized, given_at
        assert step.plate is not None
        self.low, self.scope, self.plate = program.low, program.scope, step.plate
        self.members: list[Member] = []
        self.members += [self.member(known[n]) for n in step.names]

    def member(self, factor: Variable) -> Member:
        plates = [p for p in factor.plates if p != self.plate]
        axes = self.low.order.sort({*plates, *(("S", "B") if factor.role == "guide" else ())})
        clauses = [self.reads.at_site(c, factor.name) for c in (*factor.initial, factor.general)]
        fresh = self.scope.names.fresh
        arguments = factor.general.dist.arguments if factor.role == "guide" else ()
        names = [fresh(f"{n}_{factor.name}") for n, _ in arguments]
        self.scope.names.taken |= {f"{n}_{end}" for n in (factor.name, *names) for end in ("sites", "after")}
        return Member(factor, fresh(f"{factor.name}_{self.plate}"), axes, clauses, names)

    def write(self) -> dict[str, Term]:
        """The statements; the latents' factors over all sites. Their draws are `low.known` then."""
        self.settle_shapes()
        for m in self.members:
            self.open(m)
        extent = extent_code(self.program, self.plate)
        sites = f"reversed(range({extent}))" if self.step.backwards else f"range({extent})"
        self.scope.line(f"for {self.plate} in {sites}:")
        lets = dict(self.low.lets)
        self.scope.indent += 1
        self.begin()
        for m in self.members:
            self.at_one_site(m)
        for m in self.members:  # at the end: to the others at this site, z[t-1] is the last one that is kept
            self.keep(m)
        self.scope.indent -= 1
        self.low.lets = lets
        return self.close()

    # ------------------------------------------------------------ what varies over what
    def settle_shapes(self) -> None:
        """Axes and shapes of everything at one site: a draw varies over what its parents, draws before it, vary over."""
        saved = list(self.scope.lines), dict(self.low.lets), set(self.scope.names.taken), set(self.scope.imports)
        while True:
            before = [m.axes for m in self.members]
            for m in self.members:
                terms = [self.arguments(m, c) for c in m.clauses]
                values = [v for t in terms for v in t]
                m.axes = self.low.order.sort({*m.axes, *(a for v in values for a in v.axes)})
                self.settle(m, terms)
            if [m.axes for m in self.members] == before:
                break
        self.scope.lines[:], self.low.lets, self.scope.names.taken = saved[:3]
        self.scope.imports.intersection_update(saved[3])

    def settle(self, m: Member, terms: list[list[Value]]) -> None:
        """The shapes of what is computed for a variable at one site."""
        m.arguments = [max((t[i].shape for t in terms), key=len) for i in range(len(terms[0]))]
        if not m.drawn:
            return
        if len(m.arguments[0]) < len(m.factor.type.shape):
            m.arguments[0] = m.factor.type.shape
        ranks = argument_ranks(m.factor.general.dist, m.factor.type.shape)
        ranks = ranks * len(m.arguments) if len(ranks) == 1 else ranks
        # a number beside a vector has an axis of one entry: both have the same axes in front
        m.arguments = [(Dim.of(1),) * (r - len(s)) + s for s, r in zip(m.arguments, ranks, strict=True)]

    def arguments(self, m: Member, clause: Clause) -> list[Value]:
        """What the distribution takes at this site, or the value of a let variable."""
        low = self.low
        saved, low.locals = low.locals, self.reads.names(self.members_by_name())

        def lower(c: Clause) -> list[Value]:
            if not isinstance(c.body, Dist):
                return [low.concrete(low.lower(c.value))]
            return [low.concrete(v) for v in unfused(low, lower_term(low, c.body, m.name)).arguments]

        found = low.with_bindings(clause, lower)
        low.locals = saved
        return found

    def members_by_name(self) -> dict[str, Member]:
        return {m.name: m for m in getattr(self, "members", ())}

    # ------------------------------------------------------------ statements
    def begin(self) -> None:
        """What comes first at each site."""

    def lists(self, m: Member) -> list[str]:
        """The names under which sites are collected: of the value, and of each argument of its factor."""
        return [f"{m.name}_sites", *(f"{n}_sites" for n in m.names)]

    def open(self, m: Member) -> None:
        names = self.lists(m)
        self.scope.line(f"{', '.join(names)} = {', '.join(['[]'] * len(names))}")
        if self.step.backwards:
            count = self.reads.reach.get(m.name, 0)
            code = f"self.zero.expand({self.extents(m.axes, m.factor.type.shape)})"
            code += ".long()" if m.factor.type.support.discrete else ""
            copies = f" * {count}" if count > 1 else ""
            if count:
                self.scope.line(f"{m.name}_after = [{code}]{copies}", "what stands beyond the last site")

    def extents(self, axes: tuple[str, ...], shape: tuple) -> str:
        sizes = [*(extent_code(self.program, a) for a in axes), *(self.low.size(d) for d in shape)]
        return ", ".join(sizes)

    def tuple_of(self, axes: tuple[str, ...], shape: tuple) -> str:
        return f"({self.extents(axes, shape)}{',' if len(axes) + len(shape) == 1 else ''})"

    def at_one_site(self, m: Member) -> None:
        scope, targets = self.scope, m.names or [m.here]
        before = set(scope.names.taken)
        for i, clause in enumerate(m.clauses):
            if len(m.clauses) > 1:
                scope.names.taken = set(before)  # no branch reads what another one names
                word = (
                    "else:" if clause.initial is None else f"{'elif' if i else 'if'} {self.plate} == {clause.initial}:"
                )
                scope.line(word)
                scope.indent += 1
            if m.drawn:
                read = zip(targets, (e for _, e in clause.dist.arguments), strict=True)
                scope.called = {e.name: target for target, e in read if isinstance(e, LocalRef)}
            values = [self.full(m, v, s) for v, s in zip(self.arguments(m, clause), m.arguments, strict=True)]
            scope.called = {}
            for target, value in zip(targets, values, strict=True):
                if target != value:
                    scope.line(f"{target} = {value}")
            if len(m.clauses) > 1:
                scope.indent -= 1
        if m.drawn:
            self.draw(m, targets)

    def keep(self, m: Member) -> None:
        """What sites that come later read."""
        scope = self.scope
        for name, value in zip(self.lists(m), [m.here, *(m.names if m.drawn else ())], strict=True):
            scope.line(f"{name}.append({value})")
        if self.step.backwards and self.reads.reach.get(m.name):
            mask = Value(self.low.mask(self.plate), self.low.plate_axes(self.plate))
            mask = align(select(mask, self.plate, self.plate), m.axes, len(m.factor.type.shape))
            zero = "0" if m.factor.type.support.discrete else "0.0"
            scope.line(f"{m.name}_after.append(torch.where({mask.code}, {m.here}, {zero}))")

    def full(self, m: Member, value: Value, shape: tuple) -> str:
        """The value over all axes of the site: sites are put side by side."""
        if value.axes == m.axes and value.shape == shape:
            return value.code
        value = align(value, m.axes, len(shape) if value.axes or value.shape else len(value.shape))
        return f"{self.scope.use('spread')}({value.code}, {self.tuple_of(m.axes, shape)}, self.zero)"

    def draw(self, m: Member, arguments: list[str]) -> None:
        scope = self.scope
        with scope.about(m.name, "q"):
            for (name, _), code in zip(m.factor.general.dist.arguments, arguments, strict=True):
                scope.stands(code, m.axes, name)
        q = distribution(scope, m.factor.general.dist.family, arguments)
        axes = self.low.order.sort((*m.axes, self.plate))
        at = ", ".join([*([":"] * axes.index(self.plate)), self.plate])
        given = f'draws["{m.name}"][{at}] if "{m.name}" in draws else '
        pathwise, event = m.name in self.reparameterized, m.factor.type.shape
        self.program.may_fix(m.name, axes, noise_shape(m.factor.general.dist.family, event) if pathwise else event)
        if pathwise:
            scope.line(f"noise = {given}{q}.noise()")
            scope.line(f"{m.here} = {q}.draw(noise)", "reparameterized")
        else:
            scope.line(f"{m.here} = {given}{q}.sample()", "drawn from q, scored below")
        if m.factor.type.support.finite:
            value = Value(m.here, m.axes, m.factor.type.shape, integer=True)
            self.low.bound[self.plate] = self.plate
            self.given_at(m.name, value)
            del self.low.bound[self.plate]

    # ------------------------------------------------------------ after the loop
    def close(self) -> dict[str, Term]:
        """Sites side by side, under the spec's names."""
        plate, scope = self.plate, self.scope
        widest = ALL if self.step.backwards else FROM
        own = Value("", draws=tuple((m.name, ()) for m in self.members if m.drawn))
        draws = join_draws(widen_draws(join_value(own, *self.reads.outer.values()), plate, widest))
        terms = {}
        for m in self.members:
            axes = self.low.order.sort((*m.axes, plate))
            integer = m.factor.type.support.discrete
            value = Value(
                self.stacked(m, f"{m.name}_sites", m.factor.type.shape, integer),
                axes,
                m.factor.type.shape,
                integer=integer,
            )
            value = scope.assign(m.name, value, own=True).with_(draws=draws)
            if not m.drawn:
                self.low.lets[(m.name, (), False)] = value
                continue
            self.low.known[m.name] = value
            found = []
            for name, shape in zip(m.names, m.arguments, strict=True):
                code = self.stacked(m, f"{name}_sites", shape, False)
                found.append(scope.assign(name, Value(code, axes, shape), own=True).with_(draws=draws))
            terms[m.name] = Term(m.factor.general.dist, tuple(found))
        return terms

    def stacked(self, m: Member, sites: str, shape: tuple, integer: bool) -> str:
        at = self.low.order.sort((*m.axes, self.plate)).index(self.plate)
        sites = f"{sites}[::-1]" if self.step.backwards else sites
        like = "self.zero.long()" if integer else "self.zero"
        return f"{self.scope.use('stack_sites')}({sites}, dim={at}, shape={self.tuple_of(m.axes, shape)}, like={like})"


def join_value(*values: Value) -> Value:
    """Something that depends on all that the values depend on."""
    return Value("", draws=join_draws(*values), binds=ATOM)
