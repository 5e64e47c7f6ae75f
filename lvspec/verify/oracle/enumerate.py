"""Sums over every joint assignment, term by term.

    log Σ_c p(x, c)                                       nothing sampled, no guide
    Σ_e q(e) [ log Σ_c p(x, c, e, z) − KLs − log q ]      e summed under its guide, z at its draws

Each joint assignment is named; what is saved is only computing an equal factor twice (see memory.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from itertools import product
from math import prod
from operator import add, itemgetter
from typing import Any

import torch
from torch import Tensor

from lvspec.verify.oracle.crf_guides import expected_log_q, has_entropy
from lvspec.verify.oracle.eliminate import eliminated
from lvspec.verify.oracle.integrals import integral_terms
from lvspec.verify.oracle.lengths import summed_lengths
from lvspec.verify.oracle.memory import Site
from lvspec.verify.oracle.schemes import sample_shares
from lvspec.verify.oracle.world import BORDER, SAMPLE, Instance, TooMany, World

Term = Callable[[], Tensor]


LIMIT = 60_000


def assignments(world: World, sites: list[Site]) -> list[tuple[Any, ...]]:
    """Every joint assignment of the sites."""
    if not can_be_named(world, sites):
        raise TooMany(f"{len(sites)} sites have more than {LIMIT:,} joint assignments")
    return list(product(*(world.values(*s) for s in sites)))


def can_be_named(world: World, sites: list[Site]) -> bool:
    """Whether the joint assignments of the sites are few enough."""
    return prod(len(world.values(*s)) for s in sites) <= LIMIT


def with_treatment(world: World, treatment: str) -> list[Site]:
    """The hidden sites that are treated so; what nothing is said about is summed out."""
    return [s for s in world.hidden() if world.instance.treatments.get(s[0], "collapsed") == treatment]


def treated(world: World, *treatments: str) -> list[Site]:
    """The latents' sites that are treated so, what the batch gives of them as well."""
    sites = world.random_sites("latent")
    return [s for s in sites if world.instance.treatments.get(s[0], "collapsed") in treatments]


def table(
    world: World, sites: list[Site], rows: list[tuple[Any, ...]], terms: Sequence[Term], summed: bool = False
) -> Tensor:
    """(rows, terms): each term under each assignment of the sites, the rest of the assignment as it is. summed: only the sum
    of each row is asked for, and what follows a term of -inf is not computed."""
    if not terms or not rows:
        return torch.zeros(len(rows), len(terms), dtype=torch.float64)
    cells: dict[int, int] = {}
    distinct: list[Tensor] = []
    impossible: dict[int, int] = {}  # of rows, the cell of -inf
    columns = []
    for term in terms:
        known: dict[
            tuple[int, ...], tuple[Callable, dict[Hashable, int]]
        ] = {}  # cells by the values that a term looked at
        column: list[int] = []
        for number, row in enumerate(rows):
            if number in impossible:
                column.append(impossible[number])
                continue
            for values, found in known.values():
                if (cell := found.get(values(row))) is not None:
                    break
            else:
                world.memory.assignment.update(zip(sites, row, strict=True))
                value, looked_at = world.memory.watch(term)
                if (cell := cells.setdefault(id(value), len(distinct))) == len(distinct):
                    distinct.append(value)
                places = tuple(i for i, site in enumerate(sites) if site in looked_at)
                values, found = known.setdefault(places, (_values_at(places), {}))
                found[values(row)] = cell
            column.append(cell)
        columns.append(column)
        if summed:
            none = {cell for cell in set(column) if distinct[cell] == -torch.inf}
            impossible |= {number: cell for number, cell in enumerate(column) if cell in none}
    world.memory.assignment.update(zip(sites, rows[-1], strict=True))
    return torch.stack(distinct)[torch.tensor(columns).T]


def _values_at(places: tuple[int, ...]) -> Callable[[tuple[object, ...]], Hashable]:
    return itemgetter(*places) if places else lambda row: ()


def joint_terms(world: World, sites: list[Site] | None = None) -> list[Term]:
    """log p of every random site, of what all examples share this one's part: their sum is log p(x, z). Of given sites, log p."""
    if sites is not None:
        return [partial(world.log_p, *s) for s in sites]
    every = world.random_sites("latent") + world.random_sites("observed")

    def shared(site: Site) -> Tensor:
        return world.log_p(*site) * world.share(site)

    return [partial(shared, s) for s in every]


def log_sum(terms: Tensor) -> Tensor:
    """log Σ exp over the last axis; -inf, without a gradient, where nothing is possible."""
    impossible = (terms == -torch.inf).all(-1, keepdim=True)
    return torch.logsumexp(terms.masked_fill(impossible, 0.0), -1).masked_fill(impossible.squeeze(-1), -torch.inf)


@dataclass(frozen=True)
class Posterior:
    """p(z | x) of one example by enumeration: rows are joint assignments of `sites`."""

    sites: list[Site]
    rows: list[tuple[Any, ...]]
    log_weights: Tensor  # (rows,) log p(x, z)

    @property
    def log_marginal(self) -> Tensor:
        return log_sum(self.log_weights)

    def detached(self) -> Posterior:
        """The same without a gradient."""
        return replace(self, log_weights=self.log_weights.detach())

    def probabilities(self) -> Tensor:
        return torch.softmax(self.log_weights.detach(), 0)

    def marginal(self, site: Site, size: int) -> Tensor:
        """p(z_site = k | x) for k below size."""
        column = self.sites.index(site)
        values = torch.tensor([int(row[column]) for row in self.rows], dtype=torch.int64)
        return torch.zeros(size, dtype=torch.float64).index_add(0, values, self.probabilities())

    def over(self, names: set[str]) -> Posterior:
        """Of some variables alone: all else, as missing observations are, is summed."""
        kept = [i for i, site in enumerate(self.sites) if site[0] in names]
        if len(kept) == len(self.sites):
            return self
        found: dict[tuple, list[int]] = {}
        for i, row in enumerate(self.rows):
            found.setdefault(tuple(row[k] for k in kept), []).append(i)
        weights = [log_sum(self.log_weights[rows]) for rows in found.values()]
        return Posterior([self.sites[k] for k in kept], list(found), torch.stack(weights))

    def modes(self, tolerance: float = 1e-9) -> list[dict[Site, object]]:
        """The best joint assignments: one, or several that tie."""
        best = (self.log_weights >= self.log_weights.max() - tolerance).nonzero().flatten()
        return [dict(zip(self.sites, self.rows[i], strict=True)) for i in best.tolist()]

    def entropy(self) -> float:
        p = self.probabilities()
        return float(-(p * torch.where(p > 0, p, torch.ones_like(p)).log()).sum())


def posterior(instance: Instance, row: int) -> Posterior:
    """Every joint assignment of the hidden sites of one example, with its log p(x, z)."""
    world = World(instance.treating(**summed_lengths(instance.spec)), row)
    sites = world.hidden()
    rows = assignments(world, sites)
    terms = [*joint_terms(world), *integral_terms(world)]
    return Posterior(sites, rows, table(world, sites, rows, terms, summed=True).sum(1))


def log_marginal(instance: Instance) -> Tensor:
    """log p(x) of every example (B,), differentiable in the weights."""
    return torch.stack(log_marginals(instance))


def log_marginals(instance: Instance) -> list[Tensor]:
    """log p(x) of one example after the other."""
    return [log_marginal_of(instance, row) for row in range(instance.rows())]


def log_marginal_of(instance: Instance, row: int) -> Tensor:
    """log p(x) of one example, by naming every joint assignment where they are not too many."""
    world = World(instance.treating(**summed_lengths(instance.spec)), row)
    sites = world.hidden()
    if can_be_named(world, sites):
        return posterior(instance, row).log_marginal
    return eliminated(world, sites, [*joint_terms(world), *integral_terms(world)])


def terms_of(instance: Instance, row: int) -> dict[str, Tensor]:
    """Each term of the objective, summed over its sites, where it reads nothing that is summed or drawn."""
    world = World(instance, row)
    none = torch.zeros((), dtype=torch.float64)
    return {t.name: sum((world.term(t.name, at) for at in world.sites(t.plates)), none) for t in world.spec.terms}


def log_joint(instance: Instance, row: int, assignment: dict[Site, object]) -> Tensor:
    """log p(x, z) of one example under one joint assignment."""
    world = World(instance, row)
    world.memory.assignment.update(assignment)
    return torch.stack([term() for term in joint_terms(world)]).sum()


@dataclass(frozen=True)
class ExampleBound:
    """elbo = reconstruction − Σ kl, as contract.md has them; scalars of one example. each: KLs by entry, where some of them
    is free. terms: those of `objective:`."""

    elbo: Tensor
    kl: dict[str, Tensor]
    each: dict[str, Tensor] = field(default_factory=dict)
    terms: dict[str, Tensor] = field(default_factory=dict)


def elbo(instance: Instance, row: int, samples: int, analytic: frozenset[str]) -> ExampleBound:
    """The mean over the samples of Σ_e q(e) [log Σ_c p(x, c, e, z) − Σ KL or log q/p], for one example."""
    world = World(instance, row)
    parts, shares = [one_sample(world, s, analytic) for s in range(samples)], sample_shares(world, samples)

    def mean(values: list[Tensor]) -> Tensor:
        stacked = torch.stack(values, -1)
        held = shares != 0  # 0 times -inf is 0
        return torch.where(held, shares * torch.where(held, stacked, 0.0), 0.0).sum(-1)

    kl = {n: mean([p.kl[n] for p in parts]) for n in parts[0].kl}
    terms = {n: mean([p.terms[n] for p in parts]) for n in parts[0].terms}
    each = {n: mean([p.each[n] for p in parts]) for n in parts[0].each}
    return ExampleBound(mean([p.elbo for p in parts]), kl, each, terms)


def one_sample(world: World, sample: int, analytic: frozenset[str]) -> ExampleBound:
    """The same at one sample of the draws."""
    world.memory.assignment[SAMPLE] = sample
    enumerated, collapsed = with_treatment(world, "enumerated"), with_treatment(world, "collapsed")
    drawn = with_treatment(world, "sampled")
    closed = [s for s in drawn if s[0] in analytic]
    guided = enumerated + [s for s in drawn if s[0] not in analytic]
    every = world.random_sites("latent") + world.random_sites("observed")
    outer, inner = assignments(world, enumerated), assignments(world, collapsed)
    sites = enumerated + collapsed

    explained = [s for s in every if s not in closed]
    q = table(world, enumerated, outer, [partial(world.log_chance, *s) for s in enumerated]).sum(1).exp()
    if not torch._C._functorch.is_batchedtensor(q):  # at many points of noise at once, nobody can look
        outer = [row for row, mass in zip(outer, q.tolist(), strict=True) if mass > 0]
        q = q[q > 0]
    rows = [(*o, *i) for o in outer for i in inner]
    log_p = (table(world, sites, rows, joint_terms(world, explained)) * _shares(world, explained)).sum(1)
    log_p = log_p + table(world, sites, rows, integral_terms(world)).sum(1)
    inside = log_sum(log_p.reshape(len(outer), len(inner)))
    whole = {s for s in drawn if has_entropy(world, s[0])}
    terms = [partial(expected_log_q, world, *s) if s in whole else partial(world.log_q, *s) for s in guided]
    log_q = table(world, enumerated, outer, terms) * _shares(world, guided)
    divergences = table(world, enumerated, outer, [partial(world.kl, *s) for s in closed]) * _shares(world, closed)
    value = (q * (inside - log_q.sum(1) - divergences.sum(1))).sum()
    kl = {name: torch.zeros((), dtype=torch.float64) for name in _named(guided + closed)}
    for (name, _), gap in zip(closed, (q[:, None] * divergences).sum(0), strict=True):
        kl[name] = kl[name] + gap
    for (name, _), log_ratio in zip(guided, log_q.unbind(1), strict=True):
        kl[name] = kl[name] + (q * log_ratio).sum()
    known = [s for s in treated(world, "enumerated", "sampled") if world.is_given(*s)]  # KL(δ_z ‖ p) = -log p(z)
    waiting: dict[str, list[Site]] = {}
    for site in guided + known:
        prior = _prior(world, site, enumerated, outer, collapsed)
        if prior is None:
            waiting.setdefault(site[0], []).append(site)
        else:
            kl[site[0]] = kl.get(site[0], 0.0) - (q * prior * world.share(site)).sum()
    if waiting:
        factors = treated(world, "collapsed")
        before = _summed_out(world, factors, enumerated, outer, collapsed)
        summed = {BORDER + name for name, _ in factors}  # of others' borders nothing is said
        borders = [s for s in collapsed if s[0].startswith(BORDER) and s[0] not in summed]
        before = before - len(borders) * math.log(2)
        for name in (v.name for v in world.spec.variables if v.name in waiting):
            factors = factors + waiting[name]
            after = _summed_out(world, factors, enumerated, outer, collapsed)
            ratio = after - before.masked_fill(before == -torch.inf, 0.0)  # of what is impossible, -inf
            kl[name], before = kl.get(name, 0.0) - (q * ratio).sum(), after
    added: dict[str, Tensor] = {}
    for term in world.spec.terms:
        places = [partial(world.term, term.name, at) for at in world.sites(term.plates)]
        added[term.name] = (q * table(world, enumerated, outer, places).sum(1)).sum()
    free = {n for n, bits in world.spec.free_bits if bits.unit == "dimension"}
    each = {
        n: sum(p * e for p, e in zip(q, _each(world, n, enumerated, outer), strict=True))
        for n in dict.fromkeys(n for n, _ in closed)
        if {n, ""} & free
    }
    return ExampleBound(value, kl, each, added)


def _each(world: World, name: str, enumerated: list[Site], outer: list) -> list[Tensor]:
    """KL of each entry of a latent vector, for each value of what is enumerated."""
    found = []
    for row in outer:
        world.memory.assignment.update(zip(enumerated, row, strict=True))
        found.append(world.kl_each(name, ()))
    return found


def _shares(world: World, sites: list[Site]) -> Tensor:
    return torch.tensor([world.share(s) for s in sites], dtype=torch.float64)


def log_weights(instance: Instance, row: int, samples: int) -> Tensor:
    """log Σ_c p(x, c, z) / q(z | c) at each sample's draws, c all that is summed, given what is global: (S,)."""
    return log_sum(joint_log_weights(World(instance, row), samples)[2])


def joint_log_weights(world: World, samples: int) -> tuple[list[Site], list[tuple[Any, ...]], Tensor]:
    """The sites that are summed, their joint assignments c, and log p(x, c, z) / q(z | c) of each, (S, rows)."""
    summed = with_treatment(world, "collapsed")
    local = [s for s in with_treatment(world, "sampled") if not world.variables[s[0]].outside_batch]
    every = world.random_sites("latent") + world.random_sites("observed")
    rows = assignments(world, summed)
    terms = joint_terms(world, [s for s in every if not world.variables[s[0]].outside_batch])

    def less_q(site: Site) -> Tensor:
        return -world.log_q(*site)

    terms += [*integral_terms(world), *(partial(less_q, s) for s in local)]
    found = []
    for sample in range(samples):
        world.memory.assignment[SAMPLE] = sample
        found.append(table(world, summed, rows, terms).sum(1))
    return summed, rows, torch.stack(found)


def log_ratio(instance: Instance, samples: int) -> Tensor:
    """log p(b) - log q(b) at each sample's draws, b what is sampled and all examples share: (S,)."""
    world = World(instance, 0)
    sites = [s for s in with_treatment(world, "sampled") if world.variables[s[0]].outside_batch]
    found = []
    for sample in range(samples):
        world.memory.assignment[SAMPLE] = sample
        found.append(reduce(add, (world.log_p(*s) - world.log_q(*s) for s in sites)))
    return torch.stack(found)


def _prior(world: World, site: Site, enumerated: list[Site], outer: list, collapsed: list[Site]) -> Tensor | None:
    """log p of a guided site under each assignment of the enumerated ones; None where it depends on collapsed
    latents, which have no value there."""
    for c in collapsed:
        world.memory.assignment.pop(c, None)
    try:
        return table(world, enumerated, outer, [lambda: world.log_p(*site)])[:, 0]
    except KeyError:
        return None


def _summed_out(
    world: World, factors: list[Site], enumerated: list[Site], outer: list, collapsed: list[Site]
) -> Tensor:
    """log Σ_c of the factors of some sites, for each assignment of the enumerated ones; c: the collapsed latents."""
    inner = assignments(world, collapsed)
    rows = [(*o, *i) for o in outer for i in inner]
    log_p = table(world, enumerated + collapsed, rows, joint_terms(world, factors)) * _shares(world, factors)
    return log_sum(log_p.sum(1).reshape(len(outer), len(inner)))


def _named(sites: list[Site]) -> Iterator[str]:
    return iter(dict.fromkeys(name for name, _ in sites))
