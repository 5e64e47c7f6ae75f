"""What the language can say and no engine computes yet: declined in plain words, never left out silently."""

from __future__ import annotations

from collections.abc import Iterator

from lvspec.errors import Span
from lvspec.ir.dims import Shape, ragged_plate
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.expr import Apply, Call, Dist, Expr, Index, Number, ParamRef, Stretch, VariableRef, walk
from lvspec.ir.functions import FUNCTIONS
from lvspec.ir.reads import Reader, bodies
from lvspec.ir.spec import Spec

PLATE_OPTIONS = {"counts": "ids with counts"}
PARAM_OPTIONS = {"tied": "tied parameters"}


def parts_without_engine(spec: Spec) -> Iterator[tuple[Span, str]]:
    """(place, message) for each part of the spec that would otherwise be ignored."""
    for plate in spec.plates:
        for option, value in plate.options:
            if option in PLATE_OPTIONS and value:
                yield plate.span, f"{PLATE_OPTIONS[option]} (plate {plate.name}) have no engine yet"
    for param in spec.params:
        for option, value in param.options:
            if value and option in PARAM_OPTIONS:
                yield param.span, f"{PARAM_OPTIONS[option]} ({param.name}) have no engine yet"
    yield from _of_examples(spec)
    place = spec.variables[0].span if spec.variables else Span(1, 1, 1, 1)
    for section, value in spec.unread:
        if value:
            yield place, f"`{section}` has no engine yet"
    for variable in (*spec.variables, *spec.guide, *spec.terms):
        for clause in variable.clauses:
            for node in (n for body in bodies(clause) for n in walk(body)):
                if isinstance(node, Apply) and len(node.bank) > 1:
                    yield node.span, f"a bank of networks with {len(node.bank)} indices has no engine yet"
                if _reads_segments(node) and variable in spec.guide:
                    yield node.span, "a guide that reads a stretch within its segment has no engine yet"
                if isinstance(node, Call) and _reads_part(node):
                    yield (
                        node.span,
                        f"`{node.function}` over a part of a sequence (x[<t]) has no engine yet: a recurrent network reads one",
                    )
                if isinstance(node, Call) and node.function == "flatten" and _ragged(spec, node.over):
                    yield node.span, f"a vector as long as the ragged plate {node.over} has no engine yet"
                for mixed in _mixed_ragged(node):
                    yield (
                        node.span,
                        f"this mixes the entries of a vector as long as the ragged plate {mixed}: no engine yet",
                    )
            if isinstance(clause.body, Dist):
                for given in _ragged_arguments(clause.body.source):
                    message = f"{clause.body.source.family} with an argument as long as the ragged plate {given}"
                    yield clause.body.span, f"{message} has no engine yet; Categorical has one"


def rows_beyond(spec: Spec, sizes: dict[str, int]) -> Iterator[tuple[Span, str]]:
    """(place, message) for each number that indexes a table which, at these sizes, ends before it."""
    for variable in (*spec.variables, *spec.guide, *spec.terms):
        for node in (n for c in variable.clauses for body in bodies(c) for n in walk(body)):
            pairs = zip(node.indices, node.base.type.shape, strict=False) if isinstance(node, Index) else ()
            for index, axis in pairs:
                if isinstance(index, Number) and set(axis.names) <= set(sizes) and index.value >= axis.evaluate(sizes):
                    yield (
                        index.span,
                        f"entry {index.value} of an axis that has the entries 0 to {axis.evaluate(sizes) - 1}",
                    )


MOST_SITES = 10_000


def averages_of_draws(spec: Spec, reader: Reader, latents: set[str], summed: set[str]) -> Iterator[tuple[Span, str]]:
    """(place, latents) for each `expected(e)` of which nothing is summed: e of a draw in place of its average."""
    for node in (n for term in spec.terms for body in bodies(term.general) for n in walk(body)):
        if isinstance(node, Call) and node.function == "expected":
            read = dict.fromkeys(r.name for r in reader.of(node, frozenset()) if r.name in latents)
            if read and not summed & set(read):
                yield node.span, " and ".join(read)


def empty_axes(spec: Spec, sizes: dict[str, int]) -> Iterator[tuple[Span, str]]:
    """(place, message) for each axis that, at these sizes, has no entry: `[K - 5]` where K is 3."""
    axes = [(p.span, d) for p in spec.params for d in p.shape]
    axes += [(n.span, d) for n in spec.networks for d in (*n.arguments, *n.bank)]
    axes += [(p.span, p.size) for p in spec.plates if p.size is not None]
    axes += [(v.span, d) for v in spec.of_role("given") for d in v.type.shape]
    axes += [(v.span, v.type.support.size) for v in spec.of_role("given") if v.type.support.size is not None]
    clauses = [c for v in (*spec.variables, *spec.guide) for c in v.clauses if isinstance(c.body, Dist)]
    axes += [(c.dist.span, d) for c in clauses for d in c.dist.copies]
    for span, axis in axes:
        if axis.names and set(axis.names) <= set(sizes) and axis.evaluate(sizes) < 1:
            at = ", ".join(f"{name} = {sizes[name]}" for name in sorted(axis.names))
            yield span, f"`{axis}` is {axis.evaluate(sizes)} at {at}, and an axis has at least one entry"


def too_many_sites(spec: Spec, unrolled: tuple[str, ...], sizes: dict[str, int]) -> Iterator[tuple[Span, str]]:
    """(place, message) for each plate whose sites stand in the module one by one, and are more than anybody reads."""
    for plate in map(spec.plate, unrolled):
        if (count := plate.extent.evaluate(sizes)) > MOST_SITES:
            read = f"sites of {plate.name} are read together, one by one"
            yield plate.span, f"{read}: at most {MOST_SITES:,} can be, and there are {count:,}"


def _reads_segments(node: Expr) -> bool:
    return isinstance(node, VariableRef) and any(isinstance(s, Stretch) and s.inside for s in node.at)


def _of_examples(spec: Spec) -> Iterator[tuple[Span, str]]:
    """Free parameters of each example belong to q: one that the model had would say nothing of other examples."""
    own = {p.name for p in spec.params if p.per_example}
    for variable in (*spec.variables, *spec.terms, *(v for v in spec.guide if v.outside_batch)):
        for clause in variable.clauses:
            for node in (n for body in bodies(clause) for n in walk(body)):
                if isinstance(node, ParamRef) and node.name in own:
                    where = f"{variable.name} reads it, one for the whole data set" if variable.outside_batch else ""
                    reason = where or f"the model's own {variable.name} reads it, and other examples have none"
                    yield node.span, f"{node.name} is one for each example of the training data: {reason}"


def _reads_part(node: Call) -> bool:
    """A reduction of a prefix or suffix: one value per site, that only a recurrent network gives so far."""
    if FUNCTIONS[node.function].kind != "reduce" and node.function not in ("last", "first", "length"):
        return False
    return any(a.type.reach is not None and a.type.reach.reach != "whole" for a in node.args)


def _ragged(spec: Spec, plate: str | None) -> bool:
    return plate is not None and spec.plate(plate).ragged


def _mixed_ragged(node: Expr) -> list[str]:
    """Ragged plates along which a node combines the entries of a vector: only what is done entry by entry leaves the
    entries beyond an example's own where they are, for the Categorical to leave out."""
    if not isinstance(node, (Call, Apply)) or isinstance(node, Call) and _entry_by_entry(node):
        return []
    return [p for a in node.children() for p in _ragged_axes(a.type.shape)]


def _entry_by_entry(node: Call) -> bool:
    return FUNCTIONS[node.function].kind == "elementwise" or node.function == "stack" or node.over is not None


def _ragged_axes(shape: Shape) -> list[str]:
    return [p for d in shape if (p := ragged_plate(d)) is not None]


def _ragged_arguments(dist: Dist) -> list[str]:
    """Ragged plates of arguments that no engine takes: all but the one vector of a Categorical, and structures'."""
    if FAMILIES[dist.family].event == "structure":
        return []
    found = []
    for _, argument in dist.arguments:
        if dist.family != "Categorical" or len(argument.type.shape) > 1 or dist.copies:
            found += _ragged_axes(argument.type.shape)
    return found
