"""What the planner knows of a model before it chooses: reads, the dependency graph, guides, sizes, budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lvspec.ir.distributions import family_of
from lvspec.ir.expr import Choice, Dist, VariableRef, walk
from lvspec.ir.guides import GuideOrder
from lvspec.ir.reads import LAG, OVER, WIDE, Read, Reader, bodies, is_improper, reader_of
from lvspec.ir.spec import Override, Spec, Variable
from lvspec.ir.structured import structure_of
from lvspec.plan.coupled import coupled
from lvspec.plan.graph import DependencyGraph, dependency_graph, guide_reads, lagged_plates, readers_of, reads_of
from lvspec.plan.own import with_own

BUDGET_FLOPS = 1e12  # multiply-adds of one step: about ten seconds on one core
BUDGET_BYTES = 4 * 2**30
NOMINAL = {"B": 32, "sites": 32}


@dataclass(frozen=True)
class Model:
    """A spec seen by the planner. graph: see plan/graph.py. guide_reads: by latent with a written q-factor."""

    spec: Spec
    sizes: dict[str, int]
    nominal: tuple[str, ...]
    graph: DependencyGraph
    guide_reads: dict[str, tuple[Read, ...]]
    overrides: dict[str, Override]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def budget(self) -> tuple[float, float]:
        return (
            float(self.settings.get("budget_flops") or BUDGET_FLOPS),
            float(self.settings.get("budget_bytes") or BUDGET_BYTES),
        )

    @cached_property
    def _guide(self) -> dict[str, Variable]:
        return {v.name: v for v in self.spec.guide if v.role == "guide"}

    @cached_property
    def _mentions(self) -> dict[str, list[Variable]]:
        found: dict[str, list[Variable]] = {}
        for variable in (*self.spec.variables, *self.spec.guide, *self.spec.terms):
            nodes = (n for c in variable.clauses for b in bodies(c) for n in walk(b))
            for name in {n.name for n in nodes if isinstance(n, VariableRef)}:
                found.setdefault(name, []).append(variable)
        return found

    @cached_property
    def reader(self) -> Reader:
        """How expressions reach variables, the guide's own let variables included."""
        return reader_of(self.spec, self.spec.guide)

    @cached_property
    def of_layouts(self) -> dict:
        """What prices know of expressions and let variables, by how the model is laid out (price.py)."""
        return {}

    @cached_property
    def guide_order(self) -> GuideOrder:
        """In which steps the written guide is drawn."""
        return GuideOrder(self.spec, self.spec.guide)

    def guide_of(self, name: str) -> Variable | None:
        return self._guide.get(name)

    def mentions(self, name: str) -> list[Variable]:
        """What the clauses of name a variable themselves: variables of every role, factors of q, terms."""
        return self._mentions.get(name, [])

    @cached_property
    def _random(self) -> tuple[Variable, ...]:
        return tuple(v for v in self.spec.variables if v.role in ("latent", "observed"))

    def random(self) -> tuple[Variable, ...]:
        return self._random

    def reads(self, name: str) -> list[Read]:
        """How a variable's factor reaches its parents."""
        return reads_of(self.graph, name)

    def readers_of(self, name: str) -> list[tuple[Variable, Read]]:
        """Random variables whose factor reads `name`, once for each way."""
        return readers_of(self.graph, self.spec, name)

    def seen_by(self, name: str) -> list[tuple[Variable, Read]]:
        """The same, and the terms of the objective that read `name`."""
        terms = [(t, r) for t in self.spec.terms for r in self.reader.of_variable(t) if r.name == name]
        return self.readers_of(name) + terms

    def cardinality(self, name: str) -> int:
        return self.spec.variable(name).type.support.values.evaluate(self.sizes)

    def extent(self, plate: str) -> int:
        size = self.spec.plate(plate).size
        return self.sizes[f"|{self.spec.plate(plate).sites}|"] if size is None else size.evaluate(self.sizes)


def study(spec: Spec, sizes: dict[str, int] | None) -> Model:
    """The model with every size as a number: declared, given by the caller, or nominal."""
    spec, settings = with_own(spec), dict(spec.infer)
    known = spec.nominal() | {k: v for k, v in (settings.get("nominal") or {}).items()} | dict(sizes or {})
    nominal = [s.name for s in spec.sizes if s.source != "number" and s.name not in (sizes or {})]
    for name, default in (("B", NOMINAL["B"]), *((f"|{p.name}|", NOMINAL["sites"]) for p in spec.plates if p.ragged)):
        if name not in known:
            known[name] = default
        nominal.append(name)
    overrides = {o.name: o for o in spec.overrides}
    return Model(spec, known, tuple(nominal), dependency_graph(spec), guide_reads(spec), overrides, settings)


# ---------------------------------------------------------------- facts that rules share
def without_engine(model: Model, variable: Variable, point: bool = False) -> str | None:
    """Why a variable's distribution or plates cannot be scored yet, in plain words. point: where one value stands for it."""
    if is_improper(variable) and not point:
        more = f": write `{variable.name}: Delta(...)` in `guide:`" if variable.role == "latent" else ""
        return f"ImproperUniform has no total mass, so that a value of {variable.name} alone can be told{more}"
    for clause in variable.clauses:
        body = clause.body
        if isinstance(body, Choice):
            return "a choice between two distributions (if / then / else) has no engine yet"
        if isinstance(body, Dist):
            if not family_of(body.source.family).engine:
                return f"{body.source.family} has no engine yet"
            if body.over or body.parts:
                reason = structure_reason(model, variable)
                if reason:
                    return reason
    reason = segments_reason(model, variable)
    if reason:
        return reason
    for plate in variable.plates:
        kind = model.spec.plate(plate).kind
        if kind == "segments":
            return f"plate {plate} (segments) has no engine yet"
        if kind == "latent_length" and variable.role == "observed":
            return f"{variable.name} is observed, so the length of its plate {plate} is no variable: no engine yet"
    return None


def structure_reason(model: Model, variable: Variable) -> str | None:
    """Why a distribution over structures cannot be summed as one, or None."""
    body, structure = variable.general.dist, structure_of(variable)
    if structure is None:
        return f"{body.family} over a plate has no engine yet"
    if model.spec.plate(body.plate).kind != "sequence":
        return f"{body.family} runs over an ordered plate, and {body.plate} is a {model.spec.plate(body.plate).kind}"
    if structure.value == "yield" and variable.role != "observed":
        return f"{body.family} is summed where its yield {variable.name} is observed; a latent yield has no engine yet"
    if variable.plates[-1] != body.plate:
        return f"{body.family} runs over the last of the plates of {variable.name}"
    if variable.initial or body.copies:
        return f"{body.family} over {body.plate} is one clause, without copies"
    for name, argument in body.arguments:
        if body.plate in argument.type.plates and name not in structure.along:
            return f"`{name}` of {body.family} is the same at every site of {body.plate}"
    return None


def segments_reason(model: Model, variable: Variable) -> str | None:
    """Why a factor that reads stretches that begin with a segment cannot be computed, or None."""
    insides = tuple(dict.fromkeys(r.inside for r in model.reads(variable.name) if r.inside))
    if not insides:
        return None
    anew = f"{variable.name} reads a network that begins anew in each segment of {insides[0]}"
    if len(insides) > 1:
        return f"{anew}, and one of {insides[1]}: no engine yet"
    if variable.role != "observed" or structure_of(variable) is not None:
        return f"{anew}: no engine yet but for what is observed site by site"
    if variable.initial:
        return f"{anew}, and has clauses for first sites: no engine yet"
    return None


def crf_guide(model: Model, name: str) -> Variable | None:
    """The written q-factor of a latent, where it is one structure over the latent's sites: a conditional random field."""
    factor = model.guide_of(name)
    return factor if factor is not None and structure_of(factor) else None


def finite_reason(model: Model, variable: Variable) -> str | None:
    """Why a latent cannot be summed value by value, or None."""
    if not variable.type.support.finite:
        kind = variable.type.support.kind
        return f"its support ({kind}) is {'unbounded' if kind == 'count' else 'continuous'}"
    if variable.type.shape:
        return f"{variable.name} is a vector of {variable.type.shape[0]} discrete values; declare a plate to sum them one by one"
    return None


def reach_reason(model: Model, name: str) -> str | None:
    """Why other sites of a latent are reached in a way that no exact sum follows, or None."""
    for reader, read in model.seen_by(name):
        if structure_of(reader) and reader.general.dist.plate in model.spec.variable(name).plates:
            return f"{reader.name} is normalised over all its sites at once, so its scores join every site of {name}"
        for plate, way, k in read.ways:
            if way == WIDE:
                return (
                    f"{reader.name} reads a whole stretch of {name} along {plate}, so every site depends on all others"
                )
            if way == LAG and k < 0:
                return f"{reader.name} reads {name} ahead of its own site"
    lagged = [p for p in chain_plates(model, name) if not structure_of(model.spec.variable(name))]
    if len(lagged) > 1:
        return f"{name} reaches back along two plates, {' and '.join(sorted(lagged))}"
    return None


def chain_plates(model: Model, name: str) -> list[str]:
    """The plate over which a latent is one structure; the ordered plates along which its earlier sites are read."""
    variable = model.spec.variable(name)
    over = [variable.general.dist.plate] if structure_of(variable) else []
    lagged = [p for _, read in model.seen_by(name) for p, way, _ in read.ways if way == LAG]
    return list(dict.fromkeys((*over, *lagged)))


def is_chain(model: Model, name: str) -> bool:
    """Whether some factor reads the latent at an earlier site."""
    return bool(lagged_plates(model.graph, name))


def unrolled_by(model: Model, names: set[str]) -> tuple[str, ...]:
    """Fixed plates whose sites are summed jointly: something reads a summed latent over them, or couples its chains there."""
    plates = {p for n in names for _, r in model.seen_by(n) for p, way, _ in r.ways if way == OVER}
    latents = [v.name for v in model.spec.of_role("latent") if v.name in names]
    for found in coupled(model.spec, model.graph, latents, plates):
        if not any(model.spec.plate(p).ragged for p in found.apart):
            plates |= set(found.apart)
    return tuple(p.name for p in model.spec.plates if p.name in plates)
