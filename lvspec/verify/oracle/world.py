"""One example of a batch: its sites, its data, and log p and log q of one site under one joint assignment.

A latent is, as the plan says, summed over (its value stands in `memory.assignment`) or sampled (its value, or
the noise that it is made of, is read from the draws of the sample that `SAMPLE` names).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import product

import torch
from torch import Tensor

from lvspec.ir import expr as E
from lvspec.ir.dims import Shape
from lvspec.ir.spec import Clause, Plate, Variable
from lvspec.ir.structured import structure_of
from lvspec.verify.oracle.clauses import has_borders
from lvspec.verify.oracle.densities import log_density
from lvspec.verify.oracle.divergences import divergence, divergences
from lvspec.verify.oracle.evaluate import Names, Sites, bind, evaluate
from lvspec.verify.oracle.facts import DRAWN, NO_SITE, POINT, SAMPLE, Facts
from lvspec.verify.oracle.flows import is_flow, origin, out_of_flows
from lvspec.verify.oracle.instance import Instance
from lvspec.verify.oracle.lengths import counts
from lvspec.verify.oracle.memory import Memory, Site
from lvspec.verify.oracle.missing import filler, read_by_the_model
from lvspec.verify.oracle.networks import NamedWeights
from lvspec.verify.oracle.relaxed import relaxed_draw, relaxed_log_density
from lvspec.verify.oracle.stretch import Begin, Value, every_value, number, tensor
from lvspec.verify.oracle.structured import log_normaliser, structure_score
from lvspec.verify.oracle.transport import stratum, transport

BORDER = "border of "  # before a latent's name: whether one of its segments begins at a site


class TooMany(Exception):
    """More joint assignments than brute force should be asked for."""


class World:
    """Row `row` of an instance's batch."""

    def __init__(self, instance: Instance, row: int):
        self.instance, self.row = instance, row
        self.spec, self.weights, self.batch = instance.spec, NamedWeights(instance.weights), instance.batch
        self.modules = instance.modules
        self.networks = {n.name: n for n in instance.networks or instance.spec.networks}
        self.variables = {v.name: v for v in instance.spec.variables}
        for v in instance.guide:
            if v.role != "guide":
                self.variables.setdefault(v.name, v)
        self.factors = {v.name: v for v in instance.guide if v.role == "guide"}
        self._facts = Facts(self)
        self.memory = Memory(self._facts, instance.roots())
        self._sizes: dict[str, int] = {}
        self._lengths: dict[Site, int] = {}
        self.guiding = False

    # ------------------------------------------------------------ plates
    def extent(self, plate: str, sites: Sites) -> int:
        """How many sites the plate has here."""
        p = self.spec.plate(plate)
        if not p.ragged:
            return self._sized(p)
        self.memory.read(("lengths", "", ()))  # all at once: where one differs, most that is computed does
        key = (p.sites, () if p.within is None else (sites[p.within],))
        found = self._lengths.get(key)
        if found is None:
            found = self._lengths[key] = self._facts.length(*key)
        return found

    def _sized(self, plate: Plate) -> int:
        """Of a plate of a fixed size."""
        found = self._sizes.get(plate.name)
        if found is None:
            found = self._sizes[plate.name] = plate.extent.evaluate(self.instance.sizes)
        return found

    def is_ragged(self, plate: str) -> bool:
        return self.spec.plate(plate).ragged

    def sites(self, plates: tuple[str, ...]) -> list[tuple[int, ...]]:
        """Every real site, in order; a nested plate's extent depends on the plate around it."""
        found: list[tuple[int, ...]] = [()]
        for i, plate in enumerate(plates):
            found = [(*s, j) for s in found for j in range(self.extent(plate, dict(zip(plates[:i], s, strict=True))))]
        return found

    def shape(self, shape: Shape, sites: Sites) -> tuple[int, ...]:
        """Symbolic sizes as numbers; `|t|` is the extent of plate t."""
        if not shape:
            return ()
        sizes = dict(self.instance.sizes)
        for dim in shape:
            for name in dim.names:
                if name.startswith("|"):
                    sizes[name] = self.extent(name.strip("|"), sites)
        return tuple(dim.evaluate(sizes) for dim in shape)

    # ------------------------------------------------------------ values
    def parameter(self, name: str) -> Tensor:
        """A parameter; of one that each example has for itself, this example's."""
        own = name in self._per_example
        return self.weights[name][self.memory.read(("index", "", ()))] if own else self.weights[name]

    def plates_of(self, name: str) -> tuple[str, ...]:
        return self.variables[name].plates

    def segment_begin(self, latent: str, at: tuple[int, ...]) -> int:
        """The first site of the latent's segment around a site."""
        here = at[-1]
        while here > 0 and not self.memory.read((BORDER + latent, (*at[:-1], here))):
            here -= 1
        return here

    def is_given(self, name: str, at: tuple[int, ...]) -> bool:
        """Whether the batch holds the value at this site."""
        return self.memory.read(("given", name, at))

    def is_summed(self, name: str) -> bool:
        return self.memory.read(("treatment", name, ())) == "collapsed"

    def is_noisy(self, name: str) -> bool:
        """Whether its draws are noise."""
        return self.memory.read(("drawn", name, ()))[0]

    def is_random(self, name: str) -> bool:
        return self.variables[name].role in ("latent", "observed")

    def value(self, name: str, at: tuple[int, ...]) -> Value:
        variable = self.variables[name]
        sites = dict(zip(variable.plates, at, strict=True))
        for p, i in sites.items():
            if not 0 <= i < self.extent(p, sites):
                return Begin(variable.type.support, self.shape(variable.type.shape, sites))
        if variable.role == "let":
            return self.memory.recall(("let", name, at, self.guiding), lambda: self._let(variable, at, sites))
        if self.guiding and variable.role == "observed" and not self.is_given(name, at):
            return filler(variable, self.shape(variable.type.shape, sites))
        answer = self.memory.read((name, at))
        if answer is DRAWN:
            return self.memory.recall(("draw", name, at), lambda: self._draw(name, at))
        if answer is POINT:
            return self.memory.recall(("point", name, at), lambda: self.density(self.factors[name], at)[1]["value"])
        discrete = variable.type.support.discrete
        found = self._facts.tensors.get((discrete, answer))
        if found is None:
            found = torch.tensor(answer, dtype=None if discrete else torch.float64)
            self._facts.tensors[discrete, answer] = found
        return found

    def _let(self, variable: Variable, at: tuple[int, ...], sites: Sites) -> Value:
        clause = self.clause(variable, at)
        with self.reading(self.guiding or all(v.name != variable.name for v in self.spec.variables)):
            return evaluate(clause.value, self, sites, bind(clause, self, sites))

    @contextmanager
    def reading(self, guiding: bool) -> Iterator[None]:
        """guiding: what is evaluated here belongs to the guide, and reads fillers where an observation is missing."""
        before, self.guiding = self.guiding, guiding
        try:
            yield
        finally:
            self.guiding = before

    def clause(self, variable: Variable, at: tuple[int, ...]) -> Clause:
        """The initial clause of a site where there is one, else the general one."""
        if variable.along is not None:
            here = at[variable.plates.index(variable.along)]
            for clause in variable.initial:
                if clause.initial == here:
                    return clause
        return variable.general

    # ------------------------------------------------------------ draws
    @property
    def parents_of_draws(self) -> dict[str, tuple[str, ...]]:
        return self.instance.parents_of_draws

    def _draw(self, name: str, at: tuple[int, ...]) -> Tensor:
        flows = is_flow(self.factors[name])
        return out_of_flows(self, self.factors[name], at)[0] if flows else self.base(name, at)

    def base(self, name: str, at: tuple[int, ...]) -> Tensor:
        """A draw before it goes through flows, if it does."""
        return self.memory.recall(("base", name, at), lambda: self._drawn(name, at))

    def _drawn(self, name: str, at: tuple[int, ...]) -> Tensor:
        noisy, stratified, _ = self.memory.read(("drawn", name, ()))
        answer = self.memory.read(("noise", name, at))
        drawn = self._facts.tensors[self.variables[name].type.support.discrete, answer]
        if not noisy:
            return drawn
        family, arguments = self.density(self.factors[name], at)
        if relaxation := self.memory.read(("relaxed", name, ())):
            return relaxed_draw(family, arguments, drawn, relaxation)
        if stratified:
            return stratum(arguments, drawn, self.memory.read(SAMPLE))
        return transport(family, arguments, drawn)

    # ------------------------------------------------------------ densities of one site
    def density(self, variable: Variable, at: tuple[int, ...]) -> tuple[str, dict[str, Tensor]]:
        """The family of a site and its arguments; those of the base, where flows follow."""
        key = ("density", variable.role, variable.name, at)
        return self.memory.recall(key, lambda: self._density(variable, at))

    def _density(self, variable: Variable, at: tuple[int, ...]) -> tuple[str, dict[str, Tensor]]:
        sites = dict(zip(variable.plates, at, strict=True))
        clause = self.clause(variable, at)
        with self.reading(guiding=variable.role == "guide"):
            names = bind(clause, self, sites)
            dist = self._chosen(clause, sites, names).source
            if self.guiding and self.instance.refinement and variable.name in self.instance.refinement.names:
                return dist.family, self.refined[variable.name, at]
            return dist.family, {n: number(evaluate(e, self, sites, names)) for n, e in dist.arguments}

    # the parameters of refined factors at each site
    refined = cached_property(lambda self: self.instance.refinement.arguments(self.instance, self.row))

    def _chosen(self, clause: Clause, sites: Sites, names: Names) -> E.Dist:
        body = clause.body
        if not isinstance(body, E.Choice):
            return clause.dist
        return body.then if bool(number(evaluate(body.condition, self, sites, names)) > 0.5) else body.otherwise

    def _log(self, variable: Variable, at: tuple[int, ...]) -> Tensor:
        if structure_of(variable) is not None:
            return self._log_structure(variable, at)
        sites = dict(zip(variable.plates, at, strict=True))
        family, arguments = self.density(variable, at)
        shape = self.shape(variable.type.shape, sites)
        if self.is_relaxed(variable.name, at):
            relaxation = self.memory.read(("relaxed", variable.name, ()))
            return relaxed_log_density(family, arguments, tensor(self.value(variable.name, at)), relaxation)
        if is_flow(variable):
            base, volume = origin(self, variable, at)
            return log_density(family, arguments, base, shape) - volume
        return log_density(family, arguments, number(self.value(variable.name, at)), shape)

    def is_relaxed(self, name: str, at: tuple[int, ...]) -> bool:
        """Whether the value at a site is a point between values."""
        if name not in self.instance.relaxed or not self.memory.read(("relaxed", name, ())):
            return False
        return not self.is_given(name, at)

    def _log_structure(self, variable: Variable, at: tuple[int, ...]) -> Tensor:
        """log p of a whole plate's values, counted at its first site and nowhere else; of a guide's, given the values
        that the batch has, at the first site that it has not."""
        body = variable.general.dist
        sites, known = self.run(variable, at), None
        if variable.role == "guide":
            known = self.known_values(variable.name, sites)
        if at[-1] == NO_SITE:
            return structure_score(body.family, [], [self.density(variable, at)[1]], None)
        if at != next((s for s, k in zip(sites, known or [None] * len(sites), strict=True) if k is None), None):
            return torch.zeros((), dtype=torch.float64)
        values = [int(tensor(self.value(variable.name, site))) for site in sites]
        cut = has_borders(variable)
        borders = [self.memory.read((BORDER + variable.name, site)) for site in sites[1:]] if cut else None
        total = self.memory.recall(
            ("log Z", variable.role, variable.name, at, None if known is None else tuple(known)),
            lambda: log_normaliser(body.family, self.arguments(variable, at), known),
        )
        return structure_score(body.family, values, self.arguments(variable, at), borders) - total

    def known_values(self, name: str, sites: list[tuple[int, ...]]) -> list[int | None]:
        """The values that the batch gives."""
        return [int(tensor(self.value(name, s))) if self.is_given(name, s) else None for s in sites]

    def run(self, variable: Variable, at: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The sites that one structure runs over."""
        plates = dict(zip(variable.plates, at, strict=True))
        return [(*at[:-1], i) for i in range(self.extent(variable.general.dist.plate, plates))]

    def arguments(self, variable: Variable, at: tuple[int, ...]) -> list[dict[str, Tensor]]:
        key = ("arguments", variable.role, variable.name, at)
        return self.memory.recall(key, lambda: [self.density(variable, site)[1] for site in self.run(variable, at)])

    def log_p(self, name: str, at: tuple[int, ...]) -> Tensor:
        """log p of one site given its parents."""
        return self.memory.recall(
            ("p", name, at), lambda: counts(self, self.variables[name], at) * self._log(self.variables[name], at)
        )

    def log_q(self, name: str, at: tuple[int, ...]) -> Tensor:
        """log q of one latent site given what its guide factor reads, if the site counts."""
        return self.memory.recall(
            ("q", name, at), lambda: counts(self, self.factors[name], at) * self.log_chance(name, at)
        )

    def log_chance(self, name: str, at: tuple[int, ...]) -> Tensor:
        """The same of any site: what q weighs values by."""
        return self.memory.recall(("chance", name, at), lambda: self._log(self.factors[name], at))

    def kl(self, name: str, at: tuple[int, ...]) -> Tensor:
        """KL(q || p) of one latent site in closed form, given the parents on both sides."""
        return self.memory.recall(
            ("kl", name, at), lambda: counts(self, self.factors[name], at) * self._divergence(name, at)
        )

    def kl_each(self, name: str, at: tuple[int, ...]) -> Tensor:
        """KL(q || p) of each entry of a latent vector."""
        (family, q), (_, p) = self.density(self.factors[name], at), self.density(self.variables[name], at)
        return divergences(family, q, p, self.shape(self.variables[name].type.shape, {}))

    def _divergence(self, name: str, at: tuple[int, ...]) -> Tensor:
        family, q = self.density(self.factors[name], at)
        other, p = self.density(self.variables[name], at)
        if family != other:
            raise ValueError(f"no closed form for KL({family} || {other})")
        shape = self.shape(self.variables[name].type.shape, dict(zip(self.variables[name].plates, at, strict=True)))
        return divergence(family, q, p, shape)

    # ------------------------------------------------------------ terms of the objective
    def term(self, name: str, at: tuple[int, ...]) -> Tensor:
        """A term of the objective at one site."""
        term = next(t for t in self.spec.terms if t.name == name)
        sites = dict(zip(term.plates, at, strict=True))
        self._told = term.general
        value = evaluate(term.general.value, self, sites, bind(term.general, self, sites))
        return counts(self, term, at) * number(value)

    def known_at(self, e: E.VariableRef, sites: Sites) -> bool:
        return self.is_given(e.name, tuple(sites[p] for p in self.variables[e.name].plates))

    def has_value(self, e: E.VariableRef, sites: Sites) -> bool:
        """Whether an observed variable is there; all others have values."""
        observed = e.name in self.variables and self.variables[e.name].role == "observed"
        here = all(isinstance(s, E.Here) for s in e.at)
        return not (observed and here) or self.known_at(e, sites)

    def expected(self, e: E.Expr, sites_of_term: Sites) -> Tensor:
        """Σ q(e) e over what is summed under its guide, given the draws; what `where` binds goes with it."""
        # what is drawn is no part of it, even if it is tried
        treatments = dict(self.memory.read(("treatments", "", ())))
        sites = [s for s in self.hidden() if treatments.get(s[0]) == "enumerated"]
        before, total = dict(self.memory.assignment), torch.zeros((), dtype=torch.float64)
        for values in product(*(self.values(*s) for s in sites)):
            self.memory.assignment.update(zip(sites, values, strict=True))
            q = torch.stack([self.log_chance(*s) for s in sites]).sum().exp() if sites else 1.0
            names = bind(self._told, self, sites_of_term)
            total = total + q * number(evaluate(e, self, sites_of_term, names))
        self.memory.assignment.clear()
        self.memory.assignment.update(before)
        return total

    # ------------------------------------------------------------ what is random here
    def random_sites(self, role: str) -> list[Site]:
        """Every site of the latents, or of the observed variables, in the spec's order; what is missing and read
        by nothing sums to one and is left out, and so is what an integral accounts for."""
        sites = [(v.name, at) for v in self.spec.variables if v.role == role for at in self.sites(v.plates)]
        sites = [s for s in sites if s[0] not in self.absorbed]
        if role == "latent":
            return sites
        return [s for s in sites if self._counts(*s)] + self.empty()

    def empty(self) -> list[Site]:
        """Where frames spell nothing, which has a probability as other targets have."""
        spelled = [v for v in self.spec.of_role("observed") if (s := structure_of(v)) is not None and s.framed]
        places = [(v, (*at, NO_SITE)) for v in spelled for at in self.sites(v.plates[:-1])]
        return [(v.name, at) for v, at in places if not self.run(v, at)]

    def _counts(self, name: str, at: tuple[int, ...]) -> bool:
        """Whether an observed site has a factor: a yield has one where all of its symbols are there."""
        variable = self.variables[name]
        if structure_of(variable) is None:
            return self.is_given(name, at) or self._is_named(name)
        extent = self.extent(variable.general.dist.plate, dict(zip(variable.plates, at, strict=True)))
        return all(self.is_given(name, (*at[:-1], i)) for i in range(extent))

    @cached_property
    def absorbed(self) -> set[str]:
        """Variables whose factors stand inside an integral (integrals.py)."""
        return {n for i in self.instance.integrations for n in i.names}

    def _is_named(self, observed: str) -> bool:
        named = self.instance.generative and self.variables[observed].type.support.finite
        return named or observed in self._read

    _read = cached_property(lambda self: read_by_the_model(self.spec))
    _per_example = cached_property(lambda self: {p.name for p in self.spec.params if p.per_example})

    def hidden(self) -> list[Site]:
        """The sites whose values the batch does not hold."""
        sites = self.random_sites("latent") + self.random_sites("observed")
        sites = [s for s in sites if self.instance.treatments.get(s[0]) != "point"]
        return [s for s in sites if not self.is_given(*s)] + self.borders()

    def borders(self) -> list[Site]:
        """Where a segment may begin, of structures whose segments the states do not tell apart."""
        cut = [v for v in self.spec.variables if has_borders(v)]
        return [(BORDER + v.name, at) for v in cut for at in self.sites(v.plates) if at[-1] > 0]

    def share(self, site: Site) -> float:
        """How much of a site's log p and log q is this example's: the data set shares what is global."""
        shared = not site[0].startswith(BORDER) and self.variables[site[0]].outside_batch
        return 1 / self.instance.dataset_size if shared else 1.0

    def values(self, name: str, at: tuple[int, ...]) -> list[object]:
        """The values of a discrete site with a finite support."""
        if name.startswith(BORDER):
            return [0, 1]
        variable = self.variables[name]
        sites = dict(zip(variable.plates, at, strict=True))
        if not variable.type.support.finite:
            raise TooMany(f"{name} has infinitely many values")
        cardinality = self.shape((variable.type.support.values,), sites)[0]
        return every_value(cardinality, self.shape(variable.type.shape, sites))
