"""Ancestral sampling: every variable from its own conditional, parents first.

Along plates whose sites read earlier ones, sites are drawn one after the other (emit/methods/sampled_sites.py). Where a site reads
a prefix through something without a state that could be kept, or sites reach back along two plates, the conditionals are
computed for the whole stretch and the draw at the current site is kept: O(T²) work, and the code is the model's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lvspec.emit.factors.structures import borders_draw, structure_draw
from lvspec.emit.lowering.densities import lower_term, unfused
from lvspec.emit.lowering.extents import extent_code, sampled
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.value import ATOM, Value
from lvspec.emit.methods.docstrings import sample_doc
from lvspec.emit.methods.inputs import short
from lvspec.emit.methods.sampled_sites import drawn_along
from lvspec.emit.text.text import WIDTH, wrap
from lvspec.ir.components import strongly_connected
from lvspec.ir.plan import Plan
from lvspec.ir.reads import HERE, LAG, Read, is_improper, reader_of
from lvspec.ir.spec import Plate, Spec, Variable
from lvspec.ir.structured import structure_of


def sample_body(plan: Plan, imports: set[str]) -> list[str]:
    """`sample(self, n, given, lengths)`: a dictionary of draws by name."""
    program, random = draws_of(plan, imports, named_rows(plan.spec))
    draw_parts(program, random)
    program.scope.line(draws_returned(program, random))
    return sample_method(plan, imports, random, [*short(plan, imports, drawn=True), *program.text()])


def named_rows(spec: Spec) -> str:
    """The argument `n`, where nothing else has its name."""
    named = {v.name for v in spec.variables} | {
        n for v in spec.variables for c in v.clauses for b in c.bindings for n in b.names
    }
    return "" if "n" in named else "n"


def draws_of(plan: Plan, imports: set[str], rows: str, *arguments: str) -> tuple[Program, list[Variable]]:
    """A program to draw in, in which nothing random is known, and what is random. rows: the name of the number of examples."""
    program = Program(plan, imports, set(), (rows, "given", "lengths", "ends", *arguments))
    program.low.unrolled, program.rows = (), rows
    program.inputs = [v for v in plan.spec.variables if v.role == "given"]
    random = [v for v in plan.spec.variables if v.role in ("latent", "observed")]
    for variable in random:
        program.low.known.pop(variable.name, None)
    return program, random


def draw_parts(program: Program, variables: list[Variable]) -> None:
    """The statements that draw these, parents first."""
    for part in _order(program.plan.spec, variables):
        if not isinstance(part, Loop):
            _draw(program, part)
        elif len(part.variables()) > len(part.body) or not drawn_along(program, part.plate, part.variables()):
            _open(program, part)
            _loop(program, part, {})


def draws_returned(program: Program, random: list[Variable], within: tuple[str, ...] = ()) -> str:
    """The line that gives what is random by name, and how many sites there are. within: what stands in the batch."""
    spec, ending = program.plan.spec, _ending(program.plan.spec)
    items = [f'"{v.name}": {_outside(program, v, v.name in within)}' for v in random]
    for plate in (p.name for p in spec.plates if p.ragged):
        length = f'batch["{plate}"]'
        if plate in ending:
            ends = f'(ends or {{}}).get("{plate}")'
            length = f"{program.scope.use('until_end')}({ending[plate]}, {length}, {ends})"
        items.append(f'"{plate}": {length}')
    return f"return {{{', '.join(items)}}}"


def _ending(spec: Spec) -> dict[str, str]:
    """Plates that an end symbol may close, each with the variable that has it."""
    found = {}
    for plate in (p for p in spec.plates if p.end):
        own = (plate.within, plate.name) if plate.within else (plate.name,)
        symbol = next((v for v in spec.of_role("observed") if v.plates == own), None)
        if symbol is not None:
            found[plate.name] = symbol.name
    return found


def sample_method(plan: Plan, imports: set[str], random: list[Variable], lines: list[str]) -> list[str]:
    """The method, of the lines that draw what is random and give it."""
    imports.add("sample_batch")
    ending = bool(_ending(plan.spec))
    ends = ", ends: dict | None = None" if ending else ""
    return [
        "    @torch.no_grad()",
        f"    def sample(self, n: int, given: dict | None = None, lengths: dict | None = None{ends}) -> dict:",
        *sample_doc(plan, [v.name for v in random], ending),
        *empty_batch(plan.spec, ", ends" if ending else ""),
        *lines,
    ]


def empty_batch(spec: Spec, ends: str = "") -> list[str]:
    """`batch = sample_batch(n, ...)`. ends: a further argument."""
    plates = ", ".join(f'"{p.name}": {p.within and chr(34) + p.within + chr(34)}' for p in spec.plates if p.ragged)
    return wrap(f"batch = sample_batch(n, given, lengths, self.batch_inputs(), self.zero, {{{plates}}}{ends})", 2)


def _outside(program: Program, variable: Variable, within: bool) -> str:
    """A draw as the caller knows it. within: whether it stands in the batch."""
    code = f'batch["{variable.name}"]' if within else variable.name
    if not variable.one_hot:
        return code
    size = program.low.size(variable.type.support.values)
    return f"{program.scope.use('one_hot')}({code}, {size}, self.zero)"


@dataclass(frozen=True)
class Loop:
    """What is drawn at one site of a plate after the other: variables, and loops along further plates."""

    plate: str
    body: list[Variable | Loop]

    def variables(self) -> list[Variable]:
        return [v for part in self.body for v in (part.variables() if isinstance(part, Loop) else [part])]


def _order(spec: Spec, random: list[Variable]) -> list[Variable | Loop]:
    """Parents first: a variable whose sites are drawn at once, or a loop over those that read one another's earlier sites."""
    reader, names = reader_of(spec), {v.name for v in random}
    return _ordered(spec, random, {v.name: [r for r in reader.of_variable(v) if r.name in names] for v in random})


def _ordered(spec: Spec, variables: list[Variable], reads: dict[str, list[Read]]) -> list[Variable | Loop]:
    found: list[Variable | Loop] = []
    for part in strongly_connected({n: [r.name for r in rows] for n, rows in reads.items()}):
        members = [v for v in variables if v.name in part]
        inside = {v.name: [r for r in reads[v.name] if r.name in part] for v in members}
        apart = {p for rows in inside.values() for r in rows for p, way, _ in r.ways if way != HERE}
        plate = next((p.name for p in spec.plates if p.name in apart and _site_by_site(p, members)), None)
        if plate is None:
            found += members
            continue
        # what is read at an earlier site is there; of a stretch that may be this site, the other plates still count
        left = {n: [_at_site(r, plate) for r in rows if r.way(plate)[0] != LAG] for n, rows in inside.items()}
        found.append(Loop(plate, _ordered(spec, members, left)))
    return found


def _at_site(read: Read, plate: str) -> Read:
    """The read, as it is at one site of the plate."""
    return replace(read, ways=tuple((p, HERE, 0) if p == plate else (p, way, k) for p, way, k in read.ways))


def _site_by_site(plate: Plate, variables: list[Variable]) -> bool:
    return plate.ordered and plate.ragged and all(plate.name in v.plates and structure_of(v) is None for v in variables)


def _draw(program: Program, variable: Variable) -> None:
    if is_improper(variable):
        axes = program.low.order.sort(("B", *variable.plates))
        value = Value(f'{program.scope.use("given_alone")}("{variable.name}")', axes, variable.type.shape)
    else:
        value = _conditional(program, variable)
    program.scope.either(variable.name, "batch", variable.name, value.code, program.scope.shape_comment(value))
    program.low.known[variable.name] = value.with_(code=variable.name, binds=ATOM)
    if variable.name in program.low.windows.told_borders:
        drawn = borders_draw(program.low, variable, value.axes)
        program.low.begins[variable.name] = program.scope.assign(f"{variable.name}_begins", drawn)


def _conditional(program: Program, variable: Variable) -> Value:
    """A draw from p(variable | parents) at all sites at once."""
    low = program.low
    axes = low.order.sort({*(() if variable.outside_batch else ("B",)), *variable.plates})
    if structure_of(variable):
        return Value(structure_draw(low, variable, axes), axes, integer=True)

    def draw(clause) -> Value:
        term = unfused(low, lower_term(low, clause.body, variable.name))
        code = sampled(program, term.dist, [low.concrete(v) for v in term.arguments], axes, variable.type.shape)
        for flow in term.flows:
            code = f"{flow.module}({code}{flow.arguments(axes, len(variable.type.shape))})[0]"
        value = Value(code, axes, variable.type.shape, integer=variable.type.support.discrete)
        if not variable.initial:
            return value
        label = "drawn" if clause.initial is None else f"at_{clause.initial}"
        return program.scope.assign(f"{variable.name}_{label}", value)

    return low.clauses(variable, draw)


def _open(program: Program, loop: Loop) -> None:
    """Zeros for what a loop draws."""
    low = program.low
    for variable in loop.variables():
        axes = low.order.sort({"B", *variable.plates})
        shape = [extent_code(program, a) for a in axes] + [low.size(d) for d in variable.type.shape]
        kind = "torch.int64" if variable.type.support.discrete else "self.zero.dtype"
        code = f"torch.zeros({', '.join(shape)}, dtype={kind}, device=self.zero.device)"
        value = Value(code, axes, variable.type.shape, integer=variable.type.support.discrete)
        low.known[variable.name] = program.scope.assign(variable.name, value, own=True)
    program.scope.comment("every site is drawn given the sites so far, and site i is kept")


def _loop(program: Program, loop: Loop, sites: dict[str, str]) -> None:
    """`for i in range(T)`: site i of every variable of the plate. sites: where the loops around it are."""
    low, scope = program.low, program.scope
    site = scope.names.fresh("ijklmn"[len(sites)])
    sites = sites | {loop.plate: site}
    scope.line(f"for {site} in range({low.mask(loop.plate)}.shape[-1]):")
    scope.indent += 1
    lets = dict(low.lets)
    for part in loop.body:
        if isinstance(part, Loop):
            _loop(program, part, sites)
        else:
            value = _conditional(program, part)
            slots = [sites.get(a, ":") for a in value.axes]
            while slots[-1] == ":":
                slots.pop()
            scope.line(_site_line(program, part.name, value, ", ".join(slots)))
        low.lets = dict(lets)
    scope.indent -= 1


def _site_line(program: Program, name: str, value: Value, at: str) -> str:
    """`z[:, i] = ...`: the given value where there is one, else the draw."""

    def line(draw: str) -> str:
        return f'{name}[{at}] = (batch["{name}"] if "{name}" in batch else {draw})[{at}]'

    if 4 * program.scope.indent + len(line(value.code)) > WIDTH:
        value = program.scope.assign(f"{name}_drawn", value)
    return line(value.code)
