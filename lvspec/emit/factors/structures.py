"""Distributions over structures: one call of the runtime for a whole plate.

labels    log Σ_z p(z) Π_t exp f_t(z_t)      linear_chain_sum(f, mask, unary, pairwise)
yield     log Σ_tree p(x, tree)              pcfg_log_prob(x, mask, root, rules, terminals)
"""

from __future__ import annotations

import re

from lvspec.emit.factors.chains import Interface, potentials_of
from lvspec.emit.factors.factors import Factor, factors_of, plate_mask
from lvspec.emit.lowering.densities import lower_term
from lvspec.emit.lowering.lower import Lowering
from lvspec.emit.lowering.program import Program, input_value
from lvspec.emit.lowering.value import ALL, PRODUCT, Value, align, event_to_axis, join_draws, spelled, widen_draws
from lvspec.emit.text.text import docstring
from lvspec.ir.axes import axis_of, latent_of, shift_axis
from lvspec.ir.dims import Dim, ragged_plate
from lvspec.ir.plan import Plan
from lvspec.ir.reads import reader_of
from lvspec.ir.spec import Variable
from lvspec.ir.structured import has_segments, structure_of, window_axis
from lvspec.ir.structures import STRUCTURES


def is_structured(low: Lowering, axis: str) -> bool:
    return structure_of(low.spec.variable(latent_of(axis))) is not None


def arguments_of(low: Lowering, variable: Variable) -> dict[str, Value]:
    """The arguments, with `where` bindings in force."""
    term = low.with_bindings(variable.general, lambda c: lower_term(low, c.dist, variable.name))
    names = [name for name, _ in variable.general.dist.arguments]
    return {n: _named(low, f"{n}_{variable.name}", v) for n, v in zip(names, term.arguments, strict=True)}


def _named(low: Lowering, name: str, value: Value) -> Value:
    return value if value.is_name else low.scope.assign(name, value)


def spelled_arguments(variable: Variable, arguments: dict[str, Value], lead: tuple[str, ...]) -> list[str]:
    """As the runtime takes them: with every leading axis where they vary over one, bare where they do not."""
    structure, plate = STRUCTURES[variable.general.dist.family], variable.general.dist.plate
    rows = []
    for name, value in arguments.items():
        axes = (*lead, plate) if name in structure.along else lead
        rows.append(spelled(value, axes) if value.axes else value.code)
    return rows


def leading(low: Lowering, variable: Variable, values: list[Value], but: set[str]) -> tuple[str, ...]:
    """What whole structures differ over: the batch, draws, outer plates, latents that are summed later."""
    axes = {a for v in values for a in v.axes} | {"B", *variable.plates}
    return low.order.sort(axes - but - {variable.general.dist.plate})


def mask_code(low: Lowering, plate: str, lead: tuple[str, ...]) -> str:
    within = low.spec.plate(plate).within
    return align(Value(low.mask(plate), ("B", *((within,) if within else ()), plate)), (*lead, plate)).code


def full_mask(low: Lowering, plate: str, lead: tuple[str, ...]) -> str:
    """The same with as many rows as there are structures: repeated along plates that the sites do not depend on."""
    own, code = low.plate_axes(plate), mask_code(low, plate, lead)
    others = [a for a in lead if a in low.order.plates and a not in own]
    if not others:
        return code
    extents = [low.extent_code(a) if a in others else "-1" for a in lead]
    return f"{code}.expand({', '.join(extents)}, -1)"


def log_factors(low: Lowering, variable: Variable) -> list[Factor]:
    """The log-factors of a random variable: those of its sites, or one for a whole structure. A latent structure
    has none of its own: its sum takes all that reads it (structure_sum)."""
    if structure_of(variable) is None:
        return factors_of(low, variable)
    return [structure_factor(low, variable)] if variable.role == "observed" else []


def explain(low: Lowering, variable: Variable) -> None:
    """What a structure's sum is, as comments above its call."""
    row = STRUCTURES[variable.general.dist.family]
    low.scope.comment(f"{row.algorithm}, along {variable.general.dist.plate}:")
    for note in row.notes:
        low.scope.comment(f"    {note}")
    low.scope.comment("sites where the mask is false are not there")


# ---------------------------------------------------------------- a latent state at each site
def structure_sum(elimination, axis: str, factors: list[Factor]) -> Value:
    """log Σ over all labellings, of p(labels) times what reads them."""
    low = elimination.low
    variable = low.spec.variable(latent_of(axis))
    plate = variable.general.dist.plate
    arguments = arguments_of(low, variable)
    values = [*arguments.values(), *(f.value for f in factors)]
    inside = window_axis(plate, axis)
    lead = leading(low, variable, values, {axis, inside})
    interface = Interface(plate, {axis: 1}, (axis,), (shift_axis(axis, 1),))
    windows = [f.value for f in factors if inside in f.axes]
    potentials = potentials_of(elimination, interface, [f for f in factors if inside not in f.axes], lead)
    operands = [potentials.code, mask_code(low, plate, lead), *spelled_arguments(variable, arguments, lead)]
    if windows:
        operands.append(
            f"windows={spelled(_named(low, 'log_windows', low.plus(windows)), (*lead, plate, inside, axis))}"
        )
    if has_segments(variable):
        operands.append(f"begins={_begins(elimination, variable, lead)}")
    function = structure_function(low, variable.general.dist.family, "sum")
    explain(low, variable)
    if windows:
        low.scope.comment("`windows[t, i, j]` is added for site t + i of a segment of state j that begins at t")
    code = f"{function}({', '.join(operands)}, semiring={elimination.semiring})"
    return Value(code, lead, draws=join_draws(potentials, *windows, *arguments.values()))


def _begins(elimination, variable: Variable, lead: tuple[str, ...]) -> str:
    """What is asked about where segments begin, (lead, T, 2), or None."""
    plate, key = variable.general.dist.plate, f'"{variable.name}.begins"'
    asked = Value(f"tilt[{key}]", ("B", *variable.plates), (Dim.of(2),))
    aligned = align(asked, (*lead, plate)).code
    if aligned == asked.code:
        return f"tilt.get({key})"
    name = elimination.low.scope.names.fresh("begins")
    elimination.low.scope.line(f"{name} = {aligned} if {key} in tilt else None")
    return name


def structure_function(low: Lowering, family: str, what: str) -> str:
    """The runtime's function of a structure, imported: of NonProjectiveCRF non_projective_crf_draw."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", family).lower()
    return low.scope.use(f"{words}_{what}")


# ---------------------------------------------------------------- an observed yield
def structure_factor(low: Lowering, variable: Variable) -> Factor:
    """log p(x) of a whole plate: rows with a missing symbol count nothing."""
    arguments = arguments_of(low, variable)
    target = low.root(variable.name)
    lead = leading(low, variable, list(arguments.values()), set())
    explain(low, variable)
    value = Value(
        _call(low, variable, "log_prob", target, arguments, lead), lead, draws=join_draws(*arguments.values())
    )
    with low.scope.about(variable.name, "p"):
        value = low.scope.assign(f"log_p_{variable.name}", value)
    plate = variable.general.dist.plate
    rows = tuple(a for a in ("B", *variable.plates) if a != plate)
    low.scope.comment(f"0 for an example whose {variable.name} is not observed")
    complete = Value(f'{low.scope.use("complete_rows")}(batch, "{variable.name}")', rows)
    code = f"{low.scope.use('real_sites')}({value.code}, {align(complete, lead, 0).code})"
    return Factor(variable.name, low.scope.assign(f"log_p_{variable.name}_rows", value.with_(code=code)))


def _call(low: Lowering, variable: Variable, what: str, target: Value, arguments, lead: tuple[str, ...]) -> str:
    plate = variable.general.dist.plate
    operands = [align(target, (*lead, plate), 0).code, full_mask(low, plate, lead)]
    operands += spelled_arguments(variable, arguments, lead)
    operands += other_masks(low, arguments, plate, lead)
    return f"{structure_function(low, variable.general.dist.family, what)}({', '.join(operands)})"


def other_masks(low: Lowering, arguments, plate: str, lead: tuple[str, ...]) -> list[str]:
    """An argument as long as another ragged plate comes with that plate's mask."""
    others = dict.fromkeys(p for v in arguments.values() for d in v.shape if (p := ragged_plate(d)) and p != plate)
    return [mask_code(low, p, lead) for p in others]


# ---------------------------------------------------------------- labels under a guide
def label_factor(low: Lowering, variable: Variable) -> Factor:
    """log p of a whole labelling at its draw."""
    arguments = arguments_of(low, variable)
    target = low.root(variable.name)
    plate = variable.general.dist.plate
    lead = leading(low, variable, [*arguments.values(), target], set())
    draws = widen_draws(target, plate, ALL)
    explain(low, variable)
    value = Value(
        _call(low, variable, "log_prob", target, arguments, lead), lead, draws=join_draws(draws, *arguments.values())
    )
    return Factor(variable.name, low.scope.assign(f"log_p_{variable.name}", value))


def label_factors(low: Lowering, variable: Variable) -> list[Factor]:
    """log p of a labelling as what it is a sum of: scores of its sites, of neighbours, and -log Z."""
    structure, arguments = STRUCTURES[variable.general.dist.family], arguments_of(low, variable)
    plate, axis = variable.general.dist.plate, axis_of(variable.name)
    lead = leading(low, variable, list(arguments.values()), set())
    assert structure.site is not None  # plan/strategies/marginals.py
    sites = event_to_axis(arguments[structure.site], axis)
    value = sites
    initial: tuple[Value, ...] = ()
    if structure.pair:
        pair = arguments[structure.pair]
        pair = event_to_axis(event_to_axis(pair, shift_axis(axis, 1)), axis)
        value, initial = low.plus([sites, pair]), (sites,)
    known = Value("self.zero", ())
    zeros = [full_mask(low, plate, lead), *spelled_arguments(variable, arguments, lead)]
    family, size = variable.general.dist.family, low.size(variable.type.support.values)
    function = structure_function(low, family, "guide")
    code = f"{function}({', '.join(zeros)}, {known.code}.expand(1, {size})).log_partition"
    total = low.scope.assign(
        f"log_normaliser_{variable.name}", Value(code, lead, draws=join_draws(*arguments.values()))
    )
    normaliser = total.with_(code=f"-{total.code}", binds=PRODUCT)
    mask = plate_mask(low, plate)
    own = Factor(variable.name, low.scope.assign(f"scores_{variable.name}", value), initial, mask, along=plate)
    return [own, Factor(variable.name, normaliser)]


def structure_draw(low: Lowering, variable: Variable, axes: tuple[str, ...]) -> str:
    """A draw given how many sites there are."""
    plate, family = variable.general.dist.plate, variable.general.dist.family
    lead, arguments = tuple(a for a in axes if a != plate), arguments_of(low, variable)
    operands = [full_mask(low, plate, lead), *spelled_arguments(variable, arguments, lead)]
    operands += other_masks(low, arguments, plate, lead)
    return f"{structure_function(low, family, 'draw')}({', '.join(operands)})"


def borders_draw(low: Lowering, variable: Variable, axes: tuple[str, ...]) -> Value:
    """Where the segments of drawn states begin."""
    plate, family = variable.general.dist.plate, variable.general.dist.family
    lead = tuple(a for a in axes if a != plate)
    operands = [align(low.root(variable.name), (*lead, plate), 0).code, full_mask(low, plate, lead)]
    operands += spelled_arguments(variable, arguments_of(low, variable), lead)
    return Value(f"{structure_function(low, family, 'borders')}({', '.join(operands)})", axes)


def hidden_parts(plan: Plan) -> list[tuple[str, Variable, frozenset[str]]]:
    """Hidden parts that have a name, what they are parts of, and the latents that these read."""
    reader, rows = reader_of(plan.spec), []
    for summed in plan.structures:
        variable = plan.spec.variable(summed.name)
        read = {r.name for r in reader.of_variable(variable) if plan.spec.variable(r.name).role == "latent"}
        rows += [(summed.part, variable, frozenset(read))] if summed.part else []
    return rows


def drawn_parts(plan: Plan) -> list[tuple[str, Variable, frozenset[str]]]:
    """Those that read latents which are drawn, and no others."""
    drawn = {*plan.sampled, *plan.drawn_in_weights}
    return [row for row in hidden_parts(plan) if row[2] and row[2] <= drawn]


def parts_body(plan: Plan, imports: set[str], points: str = "") -> list[str]:
    """`parts = {"tree": pcfg_parts(x, ...)}`: what is asked of hidden parts that read no latent but points. points: the posteriors of
    latents, in Python."""
    program = Program(plan, imports, set(), ("batch", "samples", "drawn", "log_weight", "found", "parts"))
    low, items = program.low, []
    for part, variable, latents in hidden_parts(plan):
        if not latents <= {*plan.points}:
            continue
        for name in sorted(latents - set(low.known)):
            at = input_value(plan.spec.variable(name)).with_(code=f'{points}["{name}"].mode')
            low.known[name] = program.scope.assign(name, at, own=True)
        code = _asked(low, variable)
        name = low.scope.names.fresh(part)
        given = ", ".join((variable.name, *sorted(latents)))
        low.scope.comment(f"p({part} | {given}): what is asked of it are gradients of the same sum")
        low.scope.line(f"{name} = {code}")  # no tensor: it has no shape to tell
        items.append(f'"{part}": {name}')
    program.scope.line(f"parts = {{{', '.join(items)}}}")
    return program.text(whole=False) if items else []


def at_draws_method(plan: Plan, part: str) -> str:
    """`tree_at_draws`, which gives way to a name of the spec's."""
    name = f"{part}_at_draws"
    return name if name not in plan.spec.names else f"{name}_2"


def part_methods(plan: Plan, imports: set[str]) -> list[list[str]]:
    """`tree_at_draws(batch, draws)`: of each hidden part that reads latents which are drawn, what it is at draws of these."""
    methods = []
    for part, variable, latents in drawn_parts(plan):
        program = Program(plan, imports, set(), ("batch", "draws"))
        low, names = program.low, sorted(latents)
        for name in names:
            at = input_value(plan.spec.variable(name))
            at = at.with_(code=f'draws["{name}"]', axes=("S", *at.axes))
            low.known[name] = program.scope.assign(name, at, own=True)
        low.scope.line(f"return {_asked(low, variable)}")
        given = f"{variable.name}, {', '.join(names)}"
        about = f"p({part} | {given}) at draws of {' and '.join(names)}, a row for each draw of each example: what is asked of it are gradients of the same sum."
        methods.append(
            [
                f"    def {at_draws_method(plan, part)}(self, batch: dict, draws: dict):",
                *docstring(about, 2),
                *program.text(),
            ]
        )
    return methods


def _asked(low: Lowering, variable: Variable) -> str:
    """A hidden part as an object that answers questions."""
    arguments = arguments_of(low, variable)
    lead = leading(low, variable, list(arguments.values()), set())
    return _call(low, variable, "parts", low.root(variable.name), arguments, lead)
