"""Of models whose symbols can be decoded: what `sample` does at one site as a method, which `decode` calls as well.

above_t(batch, draw)     what stands above the sites of t, and what they read that is the same at all of them
at_t(batch, draw)        site t: `draw(name, distribution)` says what each variable is, and what is carried on goes back into the
                         batch, every tensor of it with the rows first
"""

from __future__ import annotations

from collections import Counter

from lvspec.emit.lowering.densities import lower_term, unfused
from lvspec.emit.lowering.extents import distribution_along
from lvspec.emit.lowering.program import Program, bare_names
from lvspec.emit.lowering.value import ATOM, Value
from lvspec.emit.methods.docstrings import above_doc, at_site_doc, decode_doc
from lvspec.emit.methods.inputs import short
from lvspec.emit.methods.posterior import latent_sizes
from lvspec.emit.methods.sampled_sites import NotBySite, SampledLoop
from lvspec.emit.methods.sampling import (
    draw_parts,
    draws_of,
    draws_returned,
    empty_batch,
    sample_body,
    sample_method,
)
from lvspec.emit.text.text import wrap
from lvspec.emit.text.unused import names, without_unused
from lvspec.ir.decodable import Decodable, decodable
from lvspec.ir.expr import Dist
from lvspec.ir.plan import Plan
from lvspec.ir.reads import is_improper, reader_of
from lvspec.ir.spec import Clause, Variable
from lvspec.ir.structured import structure_of


def sampling_methods(plan: Plan, imports: set[str]) -> list[list[str]]:
    """`sample`, and where symbols can be decoded `decode`, with the methods that both call."""
    found = decodable(plan.spec)
    if isinstance(found, Decodable):
        saved = set(imports)
        try:
            return SiteMethods(plan, imports, found).written()
        except NotBySite:
            imports.intersection_update(saved)
    return [sample_body(plan, imports)]


class SiteMethods:
    """The methods of one model."""

    def __init__(self, plan: Plan, imports: set[str], found: Decodable):
        self.plan, self.imports, self.found, self.plate = plan, imports, found, found.plate
        self.program, self.random = draws_of(plan, imports, "", "batch", "draw", "draws")
        self.unasked: list[str] = []  # latents that are drawn as they are, without asking `draw`
        self.above_name, self.at_name = (_free(f"{n}_{self.plate}", plan) for n in ("above", "at"))

    def written(self) -> list[list[str]]:
        program, scope, spec, found = self.program, self.program.scope, self.plan.spec, self.found
        for variable in _in_turn(spec, found.above):
            self.above(variable)
        loop = CarriedLoop(program, self.plate, [spec.variable(n) for n in found.along])
        body = loop.body()
        above, scope.lines = scope.lines, []
        loop.close()
        drawn = {*found.above, *found.along}
        draw_parts(program, [v for v in self.random if v.name not in drawn])
        scope.line(draws_returned(program, self.random, found.above))
        after = scope.lines
        return [self.above_method(above, body, after, loop), self.site_method(body, loop), *self.ends(after)]

    # ------------------------------------------------------------ what is drawn before the sites
    def above(self, variable: Variable) -> None:
        """`z = draw("z", Normal(loc, scale))`; what is no plain distribution is drawn as in other models."""
        program, low = self.program, self.program.low
        if len(variable.clauses) > 1 or any(p.ordered and p.ragged for p in map(low.spec.plate, variable.plates)):
            raise NotBySite
        clause = variable.general
        plain = isinstance(clause.body, Dist) and not clause.body.through and structure_of(variable) is None
        if not plain or is_improper(variable):
            self.unasked.append(variable.name)
            draw_parts(program, [variable])
            return

        def asked(clause: Clause) -> Value:
            term = unfused(low, lower_term(low, clause.dist, variable.name))
            axes = low.order.sort({"B", *variable.plates})
            arguments = [low.concrete(v) for v in term.arguments]
            code = asking(program, variable, term.dist, arguments, axes)
            return Value(code, axes, variable.type.shape, integer=variable.type.support.discrete)

        value = low.clauses(variable, asked)
        low.known[variable.name] = program.scope.assign(variable.name, value, own=True).with_(binds=ATOM)

    # ------------------------------------------------------------ the methods
    def above_method(self, lines: list[str], body: list[str], after: list[str], loop: CarriedLoop) -> list[str]:
        wanted = bare_names("\n".join([*body, *after])) - loop.carried.keys()
        local = [n for n in dict.fromkeys(_assigned(lines)) if n in wanted or n in self.found.above]
        self.kept = [n for n in local if self.axes_of(n)[:1] == ("B",)]
        self.fixed = [n for n in local if n not in self.kept]
        items = [f"{n}={code}" for n, code in {**{n: n for n in self.kept}, **loop.carried}.items()]
        without_rows = ", ".join(f'"{n}": {n}' for n in self.fixed)
        start = f'batch | {{"{self.plate}.fixed": {{{without_rows}}}}}' if self.fixed else "batch"
        lines = without_unused([*lines, *_returned(start, items)])
        self.draws_above = "draw" in bare_names("\n".join(lines))
        return [
            f"    def {self.above_name}(self, batch: dict{', draw' * self.draws_above}) -> dict:",
            *above_doc(self.plan, self.found),
            *short(self.plan, self.imports, drawn=True),
            *self.program.inputs_of(lines),
            *lines,
        ]

    def axes_of(self, name: str) -> tuple[str, ...]:
        known = self.program.low.known.get(name)
        found = self.program.scope.axes.get(name, known.axes if known is not None else None)
        if found is None:
            raise NotBySite  # a local of which nobody says whether it has the rows first
        return found

    def of_above(self, lines: list[str]) -> list[str]:
        """A line for each value that these lines read of what `above` has put into the batch."""
        read, shapes = bare_names("\n".join(lines)), self.program.scope.shapes
        entries = {n: f'batch["{n}"]' for n in self.kept} | {
            n: f'batch["{self.plate}.fixed"]["{n}"]' for n in self.fixed
        }
        return [
            f"        {n} = {code}{f'  # {shapes[n]}' if n in shapes else ''}"
            for n, code in entries.items()
            if n in read
        ]

    def site_method(self, body: list[str], loop: CarriedLoop) -> list[str]:
        lines = [*body, *_returned("batch", [f"{n}={code}" for n, code in loop.after().items()])]
        count = Counter(names("\n".join(lines)))
        for m in (m for m in loop.members if m.name in loop.drawn and count[m.here] == len(m.clauses)):
            lines = [line.replace(f"{m.here} = draw(", "draw(") for line in lines]  # nothing reads it, but it is asked
        lines = without_unused(lines)
        read = bare_names("\n".join(lines))
        carried = [f'        {n} = batch["{n}"]' for n in loop.carried if n in read]
        carried += [f"        {self.plate} = draw.site"] if self.plate in read else []
        return [
            f"    def {self.at_name}(self, batch: dict, draw) -> dict:",
            *at_site_doc(self.plan, self.found),
            *self.program.inputs_of(lines),
            *self.of_above(lines),
            *carried,
            *lines,
        ]

    def ends(self, after: list[str]) -> list[list[str]]:
        """`sample` and `decode`."""
        plan, plate, imports = self.plan, self.plate, self.imports
        imports.update(("SiteDraws", "decode", "Decoded"))
        places = {
            n: self.program.low.order.sort({"B", *plan.spec.variable(n).plates}).index(plate) for n in self.found.along
        }
        along = ", ".join(f"{n}={place}" for n, place in places.items())
        lines, drawn = without_unused(after), (*self.found.above, *self.found.along)
        sample = [
            *wrap(f"draws = SiteDraws(batch, {along})", 2),
            f"        batch = self.{self.above_name}(batch{', draws' * self.draws_above})",
            f'        for {plate} in range(batch["{plate}.mask"].shape[-1]):',
            f"            batch = self.{self.at_name}(batch, draws.at({plate}))",
            *self.program.inputs_of(lines),
            *self.of_above(lines),
            *lines,
        ]
        summed = tuple(n for n in drawn if n in summed_in(plan))
        sizes = ", ".join(f'"{n}": {size}' for n, size in latent_sizes(plan, summed).items())
        apart = [v.name for v in self.random if v.name not in self.found.above]
        start = "batch" if self.draws_above else f"self.{self.above_name}(batch)"
        options = [f"above=self.{self.above_name}"] if self.draws_above else []
        options += [f'symbol="{self.found.symbol}"', f'plate="{plate}"', "like=self.zero"]
        options += [f"summed={{{sizes}}}"] if summed else []
        options += [
            f"{word}={_listed(names)}" for word, names in (("unasked", self.unasked), ("apart", apart)) if names
        ]
        decode = [
            "    @torch.no_grad()",
            "    def decode(self, n: int, given: dict | None = None, lengths: dict | None = None, **how) -> Decoded:",
            *decode_doc(plan, self.found, summed),
            *empty_batch(plan.spec),
            *wrap(f"return decode({start}, self.{self.at_name}, {', '.join(options)}, **how)", 2),
        ]
        return [sample_method(plan, imports, self.random, sample), decode]


def summed_in(plan: Plan) -> set[str]:
    """Finite latents that are summed where symbols are decoded: those of which training draws nothing."""
    finite = {v.name for v in plan.spec.of_role("latent") if v.type.support.finite}
    return finite - {*plan.sampled, *plan.points}


def asking(program: Program, variable: Variable, dist: Dist, arguments: list[Value], axes: tuple[str, ...]) -> str:
    """`draw("z", Normal(loc, scale))`."""
    code, lead = distribution_along(program, dist, arguments, axes, variable.type.shape)
    return f'draw("{variable.name}", {code}{f", {lead}" if lead else ""})'


def _returned(batch: str, items: list[str]) -> list[str]:
    """The batch with further entries."""
    return wrap(f"return dict({', '.join([batch, *items])})" if items else f"return {batch}", 2)


def _free(name: str, plan: Plan) -> str:
    """A name for a method that nothing of the spec has."""
    while name in plan.spec.names:
        name += "_"
    return name


def _listed(names: list[str]) -> str:
    """A tuple of texts."""
    return f"""({", ".join(f'"{n}"' for n in names)}{"," if len(names) == 1 else ""})"""


def _in_turn(spec, names: tuple[str, ...]) -> list[Variable]:
    """Parents first, as a spec's variables are."""
    return [spec.variable(n) for n in names]


def _assigned(lines: list[str]) -> list[str]:
    """Names that statements of a method give a value, in order."""
    found = []
    for line in lines:
        target, equals, _ = line.partition(" = ")
        if equals and all(n.strip().isidentifier() for n in target.split(",")):
            found += [n.strip() for n in target.split(",")]
    return found


class CarriedLoop(SampledLoop):
    """The statements of one site, each variable asked of `draw`. carried: what goes on from site to site by name, and what that is
    before the first one."""

    def __init__(self, program: Program, plate: str, variables: list[Variable]):
        self.carried: dict[str, str] = {}
        super().__init__(program, plate, variables)
        reader = reader_of(program.plan.spec)
        for let in (m.factor for m in self.members if m.name not in self.drawn and self.kept(m)):
            if any(r.name in summed_in(program.plan) for r in reader.of_variable(let)):
                raise NotBySite  # what is carried on would differ from value to value of what is summed here
        for name, back, _ in self.reads.read.values():
            if not back and program.plan.spec.variable(name).role == "observed":
                raise NotBySite  # a symbol is chosen when its site is over

    def body(self) -> list[str]:
        scope = self.scope
        self.settle_shapes()
        for m in self.members:
            self.open(m)
        start, lets = len(scope.lines), dict(self.low.lets)
        self.begin()
        for m in self.members:
            self.at_one_site(m)
        self.low.lets = lets
        lines = scope.lines[start:]
        del scope.lines[start:]
        return lines

    def open(self, m) -> None:
        if self.kept(m):
            self.carried[f"{m.name}_sites"] = "[]"
        self.carried |= {b.here: self.first_of(b, m) for b in self.reads.before.values() if b.variable == m.name}
        self.carried |= {step.state: "None" for step in self.reads.steps.get(m.name, ())}

    def kept(self, m) -> bool:
        return bool(self.reads.reach.get(m.name))

    def at_one_site(self, m) -> None:
        scope, found = self.scope, self.locals_of(m, written=True)
        taken, several, word = set(scope.names.taken), len(m.clauses) > 1, "if"
        for clause in m.clauses:
            if several:
                scope.names.taken = set(taken)  # no branch reads what another one names
                scope.line("else:" if clause.initial is None else f"{word} {self.plate} == {clause.initial}:")
                scope.indent += 1
                word = "elif"
            values = self.lowered(m, clause, found)
            if m.name in self.drawn:
                code = asking(self.program, m.factor, clause.dist, values, m.axes)
            else:
                code = self.full(m, values[0], m.arguments[0])
            if code != m.here:
                scope.line(f"{m.here} = {code}")
            if several:
                scope.indent -= 1

    def after(self) -> dict[str, str]:
        """What is carried on behind the site."""
        found = {}
        for m in self.members:
            if self.kept(m):
                found[f"{m.name}_sites"] = f"[*{m.name}_sites, {m.here}][-{self.reads.reach[m.name]}:]"
            found |= {b.here: m.here for b in self.reads.before.values() if b.variable == m.name}
            found |= {step.state: step.state for step in self.reads.steps.get(m.name, ())}
        return found

    def stacked(self, m, sites: str, shape: tuple, integer: bool) -> str:
        return super().stacked(m, f'draws["{m.name}"]', shape, integer)
