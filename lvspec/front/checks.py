"""Checks over the whole file: sections, one namespace, sizes that data must have, and what nothing uses."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from lvspec.front.context import Declarations, unknown
from lvspec.front.dependence import edges, expressions
from lvspec.front.guide import named_parts
from lvspec.front.names import check_name, did_you_mean, nearest
from lvspec.front.nodes import Mapping
from lvspec.front.problems import Problems
from lvspec.front.story import StoryEntry
from lvspec.ir.dims import Dim
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.expr import (
    Again,
    Apply,
    At,
    Call,
    Choice,
    Dist,
    Here,
    Lag,
    ParamRef,
    PlateIndex,
    SizeRef,
    Stretch,
    VariableRef,
)
from lvspec.ir.functions import FUNCTIONS
from lvspec.ir.spec import Variable
from lvspec.ir.structured import structure_of
from lvspec.ir.types import Type

MAX_ENTRIES = 1_000
SECTIONS = (
    "lvspec",
    "name",
    "class",
    "description",
    "sizes",
    "plates",
    "given",
    "params",
    "networks",
    "latent",
    "let",
    "observed",
    "guide",
    "infer",
    "objective",
    "train",
    "data",
    "views",
    "phases",
)


def check_section_names(root: Mapping, problems: Problems) -> Mapping:
    """The sections; a misspelt one is noted, and read as the one that was meant."""
    found = []
    for entry in root.entries:
        meant = nearest(entry.key.value, SECTIONS) if entry.key.value not in SECTIONS else None
        missing = meant is not None and root.get(meant) is None
        found.append(replace(entry, key=replace(entry.key, value=meant)) if meant and missing else entry)
        if entry.key.value not in SECTIONS:
            known = did_you_mean(entry.key.value, SECTIONS, f"the sections are {', '.join(SECTIONS)}")
            problems.error(
                "unknown-section", entry.key.span, f"there is no section `{entry.key.value[:60]}`", help=known
            )
    root = replace(root, entries=tuple(found))
    lines = sum(len(e.value.entries) for e in root.entries if isinstance(e.value, Mapping))
    if lines > MAX_ENTRIES:
        problems.error(
            "too-large",
            root.entries[0].key.span,
            f"the sections of a spec have at most {MAX_ENTRIES:,} entries, these have {lines:,}",
        )
        problems.stop_if_any()
    stories = (root.get(name) for name in ("observed", "latent"))
    if not any(isinstance(story, Mapping) and story.entries for story in stories):
        problems.error(
            "empty-model",
            root.span,
            "the spec has no random variable",
            help="add `observed:` with a distribution, e.g. `x: Normal(0, 1)`",
        )
    return root


def gather_names(declared: Declarations, sections: list[dict[str, StoryEntry]], problems: Problems) -> None:
    """Sizes, plates, parameters, networks and variables share one namespace; only a guide repeats a latent's name."""
    rows = [(n, "size", s.span) for n, s in declared.sizes.items()]
    rows += [(n, "plate", p.span) for n, p in declared.plates.items()]
    rows += [(n, "parameter", p.span) for n, p in declared.params.items()]
    rows += [(n, "network", w.span) for n, w in declared.networks.items()]
    rows += [
        (n, "term" if t.role == "term" else f"{t.role} variable", t.span)
        for stated in sections[:-1]
        for n, t in stated.items()
    ]
    parts = [p for stated in sections[:-2] for p in named_parts(stated)]
    rows += [(p.name, "part of a structure", p.span) for p in parts if check_name(p.name, p.span, problems)]
    first: dict[str, tuple] = {}
    for name, kind, span in sorted(rows, key=lambda r: r[2]):
        if name in first:
            notes = ((first[name][1], f"the {first[name][0]} is here"),)
            problems.error(
                "name-clash",
                span,
                f"`{name}` is a {kind} here and a {first[name][0]} elsewhere",
                notes=notes,
                help="give one of them another name",
            )
        else:
            first[name] = (kind, span)
        if kind == "network" and (name in FUNCTIONS or name in FAMILIES):
            problems.error(
                "name-clash",
                span,
                f"`{name}(...)` is a {'function' if name in FUNCTIONS else 'distribution'} already",
                help="give the network another name",
            )
    for name, stated in sections[-1].items():
        if name in first and first[name][0] in ("size", "plate", "parameter", "network"):
            problems.error(
                "name-clash",
                stated.span,
                f"`{name}` is a {first[name][0]} already",
                notes=((first[name][1], f"the {first[name][0]} is here"),),
            )


# ---------------------------------------------------------------- sizes from data
def check_size_sources(declared: Declarations, variables: dict[str, Variable], problems: Problems) -> None:
    """`vocabulary(x)` needs x to be an integer below just this size, `features(x)` a vector as long."""
    for size in declared.sizes.values():
        if size.of is None:
            continue
        data = {n: v for n, v in variables.items() if v.role != "let"}
        if size.of in problems.wrong:
            continue
        if size.of not in data:
            problems.error(
                "size-source",
                size.span,
                f"`{size.name}` comes from `{size.of}`, which is no variable of the data",
                help=did_you_mean(size.of, data, "name an observed or given variable"),
            )
            continue
        variable = data[size.of]
        if unknown(variable.type):
            continue
        fixed = tuple(declared.plates[p].size for p in variable.plates if declared.plates[p].size is not None)
        shape = (*fixed, *variable.type.shape)
        found = (shape[-1] if shape else None) if size.source == "features" else variable.type.support.size
        if found != Dim.of(size.name):
            what = "as many entries" if size.source == "features" else "as many values"
            problems.error(
                "size-source",
                size.span,
                f"`{size.name}` is to be the {size.source} of `{size.of}`, but `{size.of}` has not {what}: {_shown(variable.type)}",
                help=f"use `{size.name}` where `{size.of}` gets its {'shape' if size.source == 'features' else 'number of values'}",
            )


def _shown(kind: Type) -> str:
    return f"it is {kind.support}" + (f" [{', '.join(map(str, kind.shape))}]" if kind.shape else ", a single value")


# ---------------------------------------------------------------- what nothing uses
def unused(
    declared: Declarations,
    variables: tuple[Variable, ...],
    guide: tuple[Variable, ...],
    mentioned: str,
    labelled: Collection[str],
    problems: Problems,
) -> None:
    """Warnings for names that nothing reads. mentioned: the text of sections that may name anything; labelled: what
    the data section has a place for."""
    detached = {n for w in declared.networks.values() if w.option("detached") for n in (w.name, w.option("detached"))}
    words = set(re.findall(r"\w+", mentioned)) | _words((*variables, *guide)) | _declared_words(declared)
    kinds = (
        ("size", declared.sizes),
        ("plate", declared.plates),
        ("parameter", declared.params),
        ("network", declared.networks),
    )
    for kind, names in kinds:
        for name, one in names.items():
            if name not in words and name not in detached:
                problems.warning("unused-name", one.span, f"nothing uses the {kind} `{name}`", help="remove it")
    for variable in (*variables, *guide):
        if variable.role == "let" and variable.name not in words:
            problems.warning("unused-name", variable.span, f"nothing reads `{variable.name}`", help="remove it")
    _unused_latents(declared, variables, [v for v in guide if v.role == "term"], labelled, problems)


def _unused_latents(
    declared: Declarations,
    variables: tuple[Variable, ...],
    terms: list[Variable],
    labelled: Collection[str],
    problems: Problems,
) -> None:
    """Latents that change neither what is observed, nor a term of the objective, nor what a conditional model predicts:
    latents with labels."""
    conditional = any(v.role == "given" for v in variables)
    predicted = {v.name for v in variables if v.role == "latent" and v.name in labelled} if conditional else set()
    read = predicted | {v.name for v in (*variables, *terms) if v.role in ("observed", "term")}
    read |= {str(p.length) for p in declared.plates.values()}
    links = edges((*variables, *terms))
    for _ in (*variables, *terms):  # at most one round a variable: each adds what the ones before read
        more = {e.source for e in links if e.reader in read} - read
        if not more:
            break
        read |= more
    for variable in variables:
        # a structure is predicted as a whole, with labels or without
        labels = structure_of(variable) is not None
        if variable.role == "latent" and variable.name not in read and not labels:
            problems.warning(
                "unused-latent",
                variable.span,
                f"no observed variable depends on the latent `{variable.name}`",
                help="remove it, or let something observed read it",
            )


def _declared_words(declared: Declarations) -> set[str]:
    found: set[str] = set()
    dims = [d for p in declared.params.values() for d in p.shape]
    dims += [d for n in declared.networks.values() for d in (*n.sizes, *n.bank)]
    dims += [p.size for p in declared.plates.values() if p.size is not None]
    for d in dims:
        found.update(d.names)
    for plate in declared.plates.values():
        found.update(str(v) for _, v in plate.options)
        found.update([plate.within] if plate.within else [])
    for param in declared.params.values():
        found.update(w for _, v in param.options for w in re.findall(r"\w+", str(v)))
    return found


def _words(variables: tuple[Variable, ...]) -> set[str]:
    """Every name that the variables' clauses read, and the plates that they stand on."""
    found: set[str] = set()
    for variable in variables:
        found.update(variable.plates)
        for d in (*variable.type.shape, variable.type.support.size):
            found.update(d.names if d is not None else ())
        for clause in variable.clauses:
            for dist in _dists(clause.body):
                found.update(n for d in dist.source.copies for n in d.names)
                found.update(name for name, _ in dist.through)
                found.update([dist.over] if dist.over else [])
            for expr in expressions(clause):
                found.update(_of(expr))
    return found


def _dists(body) -> tuple[Dist, ...]:
    return (body,) if isinstance(body, Dist) else (body.then, body.otherwise) if isinstance(body, Choice) else ()


def _of(expr) -> set[str]:
    match expr:
        case ParamRef(name):
            return {name}
        case Apply(network, _, _):
            return {network}
        case VariableRef(name, sites):
            others = {s.copy for s in sites if isinstance(s, Again)}
            others |= {s.inside for s in sites if isinstance(s, Stretch) and s.inside}
            return {name, *others, *(s.plate for s in sites if isinstance(s, Here | Lag | Stretch | At))}
        case Call(_, _, over):
            return {over} if over else set()
        case PlateIndex(plate):
            return {plate}
        case SizeRef(dim):
            return set(dim.names)
    return set()
