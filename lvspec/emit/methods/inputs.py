"""What an emitted module holds of its inputs: the table of what a batch may hold, and `prepare`.

batch_inputs    names, axes and supports, from the spec's declarations: what does not fit is refused by name
prepare         masks, lengths, places of real sites; what is missing, and read by a factor that counts, is refused
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isinf

from lvspec.emit.lowering.sizes import size_code
from lvspec.emit.text.text import docstring, entry, wrap
from lvspec.ir.dims import ragged_plate
from lvspec.ir.expr import Here, LogProb, VariableRef, walk
from lvspec.ir.numbered import numbered
from lvspec.ir.plan import Plan
from lvspec.ir.reads import HERE, LAG, WIDE, Read, Reader, bodies, reader_of
from lvspec.ir.spec import Spec, Variable
from lvspec.ir.structured import structure_of
from lvspec.ir.types import Support

RANDOM = ("latent", "observed")
FILLERS = {
    "real": 0.0,
    "positive": 1.0,
    "nonnegative": 1.0,
    "unit": 0.5,
}  # of the runtime: SAFE in lvspec/runtime/core/observed.py


def batch_inputs(plan: Plan, imports: set[str]) -> list[str]:
    """The method that says what a batch holds."""
    imports.add("Input")
    rows = [
        "    def batch_inputs(self) -> dict:",
        '        """What a batch may hold, by variable: (B, *plates, *shape). latent: known values; hidden: nothing."""',
        "        return {",
    ]
    for variable in plan.spec.variables:
        if variable.role in (*RANDOM, "given"):
            rows += entry(variable.name, "Input", _input(plan.spec, variable), 3)
    return [*rows, "        }"]


def _input(spec: Spec, variable: Variable) -> list[str]:
    """The arguments of what is said of one variable."""
    support = variable.type.support
    given = variable.role == "latent" and support.finite and not variable.outside_batch
    role = "hidden" if variable.role == "latent" and not given else variable.role
    arguments = [f'"{role}"', f'"{support.kind}"']
    plates = [f'"{p.name}": {None if p.ragged else size_code(p.extent)}' for p in map(spec.plate, variable.plates)]
    shape = [f'"{p}"' if (p := ragged_plate(d)) else size_code(d) for d in variable.type.shape]
    if plates:
        arguments.append(f"plates={{{', '.join(plates)}}}")
    if shape:
        arguments.append(f"shape=({', '.join(shape)}{',' if len(shape) == 1 else ''})")
    if support.size is not None:
        plate = ragged_plate(support.size)
        arguments.append(f"below={size_code(support.size)}" if plate is None else f'below="{plate}"')
        around = spec.plate(plate).within if plate else None
        if around in variable.plates:
            arguments.append(f"along={1 + variable.plates.index(around)}")
    if variable.role == "observed" and (filler := _filler(support)) is not None:
        arguments.append(f"filler={filler:g}")
    if variable.one_hot:
        arguments.append("one_hot=True")
    if variable.outside_batch:
        arguments.append("shared=True")
    return arguments


def _filler(support: Support) -> float | None:
    """A number between those that a variable may have, where its kind's own filler is none."""
    low, high = support.range.low, support.range.high
    if support.kind not in FILLERS or low < FILLERS[support.kind] < high or not low < high:
        return None
    if isinf(low):
        return high - 1
    return low + 1 if isinf(high) else (low + high) / 2


def prepare(plan: Plan, imports: set[str]) -> list[str]:
    """The method that every other one calls on its batch."""
    spec = plan.spec
    imports.add("prepare_batch")
    counted = [p for p in spec.plates if p.ragged and _is_counted(spec, p.name)]
    plates = [f'"{p.name}": {p.within and chr(34) + p.within + chr(34)}' for p in counted]
    own = [f'"{p.name}"' for p in spec.params if p.per_example]
    more = f", own=({', '.join(own)}{',' if len(own) == 1 else ''})" if own else ""
    prepared = f"prepare_batch(batch, self.batch_inputs(), self.zero, {{{', '.join(plates)}}}{more})"
    refusals = short(plan, imports) + _missing(spec, imports)
    return [
        "    def prepare(self, batch: dict) -> dict:",
        *docstring(
            "The batch with masks and `rows`, the numbers 0 to B - 1 of its examples, for the other methods; made once, outside a "
            "compiled step. Names that nothing reads, and shapes and values that do not fit, raise `BadBatch`.",
            2,
        ),
        '        if "rows" in batch:  # it is prepared',
        "            return batch",
        *wrap(f"{'batch =' if refusals else 'return'} {prepared}", 2),
        *refusals,
        *(["        return batch"] if refusals else []),
    ]


def _is_counted(spec: Spec, plate: str) -> bool:
    """Whether something stands on a plate, or is computed over it: the lengths alone say how many sites it has, if nothing
    else does."""
    variables = (*spec.variables, *spec.guide, *spec.terms)
    nodes = [n for v in variables for c in v.clauses for b in bodies(c) for n in walk(b)]
    named = {q for n in nodes for q in (getattr(n, "over", None), getattr(n, "plate", None)) if q is not None}
    standing = {q for v in variables for p in v.plates for q in (p, spec.plate(p).within) if q is not None}
    return plate in {spec.plate(q).sites for q in named | standing}


def short(plan: Plan, imports: set[str], drawn: bool = False) -> list[str]:
    """Refusals of a batch in which a factor that counts reads, by its number, a site that its example does not have. drawn: of
    one that is drawn into, by the model's own factors."""
    rows = []
    for n in numbered(plan.spec, () if drawn else plan.guide):
        if drawn and n.reader.role not in RANDOM:
            continue
        imports.add("refuse_short")
        ragged = [p for p in n.reader.plates if plan.spec.plate(p).ragged]
        counts = (
            f"{n.reader.name}.mask"
            if n.reader.role == "observed" and not drawn
            else f"{ragged[-1]}.mask"
            if ragged
            else None
        )
        around = plan.spec.plate(n.plate).within
        more = f', counts="{counts}"' if counts else ""
        more += f", beyond={n.beyond}" if n.beyond > 0 else ""
        more += f', around="{around}.mask"' if around else ""
        arguments = f'batch, "{n.plate}", {n.site}, "{n.name}", "{n.reader.name}"{more}'
        rows += wrap(f"batch = refuse_short({arguments})", 2)
    return rows + _without_values(plan, imports, drawn)


def _without_values(plan: Plan, imports: set[str], drawn: bool) -> list[str]:
    """Refusals of a batch in which a latent is one of the sites of a plate that has none there, and q speaks of it, or it is drawn;
    where it is summed, such an example has the probability 0."""
    spec, rows = plan.spec, []
    guided = {p.name for p in plan.latents if not p.treated.marginal}
    for latent in spec.of_role("latent"):
        size = latent.type.support.size
        plate = ragged_plate(size) if size is not None else None
        if plate is None or plate in latent.plates or not (drawn or latent.name in guided):
            continue
        imports.add("refuse_empty")
        ragged, around = [p for p in latent.plates if spec.plate(p).ragged], spec.plate(plate).within
        more = f', counts="{ragged[-1]}.mask"' if ragged else ""
        more += f', around="{around}.mask"' if around else ""
        rows += wrap(f'batch = refuse_empty(batch, "{plate}", "{latent.name}"{more})', 2)
    return rows


# ---------------------------------------------------------------- what is missing
def _missing(spec: Spec, imports: set[str]) -> list[str]:
    """Refusals of a batch in which a factor that counts reads what is not observed; q may read it, as 0."""
    observed, rows = {v.name: v for v in spec.of_role("observed")}, []
    for variable in observed.values():
        if structure_of(variable) is not None:
            imports.add("refuse_parts")
            rows += wrap(f'batch = refuse_parts(batch, "{variable.name}")', 2)
    for variable, reads in _reads_of_factors(spec):
        for name, back in dict.fromkeys(_back(observed[r.name], variable, r) for r in reads if r.name in observed):
            imports.add("refuse_missing")
            one = "" if _summable(observed[name]) else ", summable=False"
            rows += wrap(f'batch = refuse_missing(batch, "{name}", read_by="{variable.name}"{back}{one})', 2)
    return rows


def _summable(variable: Variable) -> bool:
    """Whether a latent in place of an observed variable could be summed: what a structure yields is observed only."""
    structure = structure_of(variable)
    return variable.type.support.finite and (structure is None or bool(structure.labels))


def _reads_of_factors(spec: Spec) -> Iterator[tuple[Variable, tuple[Read, ...]]]:
    """What each factor that counts, and each term, reads."""
    reader = reader_of(spec)
    for variable in (*(v for v in spec.variables if v.role in RANDOM), *spec.terms):
        yield (
            variable,
            tuple(_term_reads(reader, variable) if variable.role == "term" else reader.of_variable(variable)),
        )


def read_where_it_counts(spec: Spec) -> set[str]:
    """Variables whose missing values are refused, at those sites that a factor or a term reads."""
    return {r.name for _, reads in _reads_of_factors(spec) for r in reads}


def _back(read: Variable, reader: Variable, how: Read) -> tuple[str, str]:
    """(name, how many sites back along each of its plates), as Python; "" where any site may be read."""
    if reader.role not in RANDOM or reader.plates != read.plates or structure_of(reader) is not None:
        return read.name, ""
    if reader.role == "latent" and not how.lag:  # which counts at every site, this one included
        return read.name, ""
    ways = []
    for plate in read.plates:
        way, k = how.way(plate)
        if way in (HERE, LAG):
            ways.append(f'"{plate}": {k}')
        elif way == WIDE and read.name == reader.name:  # a prefix: nothing else of its own could be read
            ways.append(f'"{plate}": "any"')
        else:
            return read.name, ""
    return read.name, f", sites_back={{{', '.join(ways)}}}"


def _term_reads(reader: Reader, term: Variable) -> list[Read]:
    """What a term of the objective reads of the model's variables (what the guide computes is q's), but for values whose
    log-density is 0 where they are missing."""

    def of(node) -> list[Read]:
        if isinstance(node, VariableRef):
            return reader.of(node, frozenset()) if node.name in reader.variables else []
        there = isinstance(node, LogProb) and isinstance(node.value, VariableRef)
        counted = there and all(isinstance(s, Here) for s in node.value.at)
        return [r for child in (node.dist if counted else node).children() for r in of(child)]

    return [r for body in bodies(term.general) for r in of(body)]
