"""The whole front end on one page: text → sections → names → types → graph → guide → `Spec`.

Every stage notes all its problems; a stage that cannot be trusted without the one before stops there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePath

from lvspec.errors import Source
from lvspec.front import reader
from lvspec.front.checks import check_section_names, check_size_sources, gather_names, unused
from lvspec.front.context import Context, Declarations, Seen
from lvspec.front.cycles import check_cycles
from lvspec.front.declarations import read_sizes
from lvspec.front.dependence import check_graph, in_dependence_order
from lvspec.front.guide import check_guide, named_parts, split_guide
from lvspec.front.header import read_header
from lvspec.front.lengths import check_lengths
from lvspec.front.networks import read_networks
from lvspec.front.nodes import Mapping
from lvspec.front.one_hots import number_one_hots
from lvspec.front.params import read_params
from lvspec.front.plate_order import in_index_order
from lvspec.front.plates import read_plates
from lvspec.front.problems import Problems
from lvspec.front.segments import check_segments
from lvspec.front.settings import Settings, read_settings
from lvspec.front.story import ROLES, StoryEntry, read_story
from lvspec.front.terms import build_terms
from lvspec.front.together import check_together, join_together
from lvspec.front.variables import build, check_determined, find_types
from lvspec.ir.spec import Spec, Variable
from lvspec.ir.types import STRUCTURE, Type

# where variables are told, and their roles
SECTIONS = (*((role, role) for role in ROLES), ("objective", "term"), ("guide", "guide"))


def load(text: str, name: str, allow_modules: Iterable[str] = (), derived: str = "") -> Spec:
    """The checked spec of a text; `name` is shown in messages. Raises SpecError with every problem found.

    derived: further lines of `networks:` and `guide:`, a guide that nobody wrote.
    """
    text = reader.clean(text)
    source = Source(name, text)
    problems = Problems(source)
    root = reader.read(text, problems)
    problems.stop_if_any()
    assert root is not None  # a missing root has been noted
    header = read_header(root, text, PurePath(name).stem, problems)
    root = check_section_names(root, problems)
    if derived:
        root = _with_lines(root, derived, problems)
    declared, stated, guide, added = _declarations(root, tuple(allow_modules), problems)
    variables, factors, terms = _variables(declared, stated, guide, added, problems)
    check_determined((*variables.values(), *factors), {**stated, **guide}, problems)
    plates = tuple(p for p in declared.plates.values() if p.like is None)
    plates = in_index_order(plates, (*variables.values(), *factors, *terms), problems)
    settings = read_settings(root, declared, variables, problems)
    problems.stop_if_any()
    ordered = in_dependence_order(variables)
    ordered, factors, terms, settings = join_together(ordered, factors, terms, settings, stated)
    ordered, factors, terms = number_one_hots(ordered, factors, terms)
    unused(declared, ordered, (*factors, *terms), settings.mentioned, dict(settings.data), problems)
    spec = _spec(source, header, declared, plates, ordered, factors, terms, settings, problems)
    return replace(spec, derived=derived)


def _with_lines(root: Mapping, derived: str, problems: Problems) -> Mapping:
    """The sections with the entries of a second text behind their own."""
    other = reader.read(derived, problems)
    assert other is not None  # it was written by the planner
    more = {e.key.value: e for e in other.entries}
    entries = []
    for entry in root.entries:
        added = more.pop(entry.key.value, None)
        if added is not None and isinstance(entry.value, Mapping):
            assert isinstance(added.value, Mapping)  # networks and guide
            added = replace(entry, value=replace(entry.value, entries=(*entry.value.entries, *added.value.entries)))
        entries.append(added or entry)
    return replace(root, entries=(*entries, *more.values()))


def _declarations(root: Mapping, allowed: tuple[str, ...], problems: Problems):
    sizes = read_sizes(root.get("sizes"), problems)
    plates = read_plates(root.get("plates"), sizes, problems)
    params = read_params(root.get("params"), sizes, problems)
    networks = read_networks(root.get("networks"), sizes, allowed, problems)
    declared = Declarations(sizes, plates, params, networks)
    sections = [read_story(root.get(section), role, plates, problems) for section, role in SECTIONS]
    gather_names(declared, sections, problems)
    stated: dict[str, StoryEntry] = {}
    for found in sections[:-2]:
        stated |= {n: t for n, t in found.items() if n not in stated}
    return declared, stated, sections[-1], sections[-2]


def _variables(
    declared: Declarations,
    stated: dict[str, StoryEntry],
    guide: dict[str, StoryEntry],
    added: dict[str, StoryEntry],
    problems: Problems,
) -> tuple[dict[str, Variable], tuple[Variable, ...], tuple[Variable, ...]]:
    """The model's variables, the guide's, and the terms of the objective."""
    factors, lets = split_guide(guide, stated, problems)
    ctx = Context(declared, {}, problems, wrong=frozenset(problems.wrong), hidden=frozenset(lets))
    parts = {p.name: Seen(p.name, "latent", (), Type(support=STRUCTURE)) for p in named_parts(stated)}
    ctx = ctx.with_(variables=parts)
    seen = {**parts, **find_types(stated, ctx)}
    variables = build(stated, ctx.with_(variables=seen))
    check_size_sources(declared, variables, problems)
    check_lengths(declared, variables, problems)
    check_cycles(variables, declared, problems)
    check_graph(variables, declared, stated, problems)
    check_segments(variables.values(), variables, problems)
    inside = ctx.with_(variables=seen, guide=True, hidden=frozenset())
    known = {**seen, **find_types(lets, inside)}
    inside = inside.with_(variables=known)
    written = {**build(lets, inside), **build(factors, inside)}
    check_together(variables, written.values(), stated, declared, problems)
    check_segments(written.values(), variables, problems)
    terms = build_terms(added, inside)
    return variables, check_guide(written, factors, variables, declared, problems), terms


def _spec(
    source, header, declared: Declarations, plates, ordered, factors, terms, settings: Settings, problems: Problems
) -> Spec:
    return Spec(
        source=source,
        name=header.name,
        class_name=header.class_name,
        description=header.description,
        sizes=tuple(declared.sizes.values()),
        plates=plates,
        params=tuple(declared.params.values()),
        networks=tuple(declared.networks.values()),
        variables=ordered,
        guide=factors,
        overrides=settings.overrides,
        infer=settings.infer,
        kl_weight=settings.kl_weight,
        free_bits=settings.free_bits,
        terms=terms,
        unread=settings.unread,
        phases=settings.phases,
        data=settings.data,
        train=settings.train,
        warnings=problems.warnings,
        copies=tuple(p for p in declared.plates.values() if p.like is not None),
    )
