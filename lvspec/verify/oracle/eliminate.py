"""log Σ_z Π_i f_i(z) where there are too many z to name: each factor as a table over what it reads, one site after the other
summed out of the tables that it stands in.

f(a) f(b | a) f(c | b)   ->   b: Σ_b f(b | a) f(c | b) is a table over a, c   ->   ...

What a factor reads is found by computing it: an assignment that lacks a site tells which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, product
from math import prod

import torch
from torch import Tensor

from lvspec.verify.oracle.memory import Site
from lvspec.verify.oracle.world import TooMany, World

ENTRIES = 20_000  # of one table


@dataclass(frozen=True)
class FactorTable:
    """log-values over every joint assignment of the sites: one axis for each, in order."""

    sites: tuple[Site, ...]
    values: Tensor


def eliminated(world: World, sites: list[Site], terms: list[Callable[[], Tensor]]) -> Tensor:
    """log Σ exp Σ terms over every joint assignment of the sites; the rest of the assignment as it is."""
    sizes = {site: len(world.values(*site)) for site in sites}
    tables = dict(enumerate(tabulated(world, term, sizes) for term in terms))
    fresh = count(len(tables))
    places: dict[Site, set[int]] = {site: set() for site in sizes}  # the tables that read each site
    for number, one in tables.items():
        for site in one.sites:
            places[site].add(number)
    width = {site: _entries({s for n in found for s in tables[n].sites}, sizes) for site, found in places.items()}
    while width:
        site = min(width, key=lambda s: width[s])
        mine = places.pop(site)
        width.pop(site)
        number = next(fresh)
        tables[number] = summed([tables.pop(n) for n in sorted(mine)], site, sizes)
        for other in tables[number].sites:
            places[other] = places[other] - mine | {number}
            width[other] = _entries({s for n in places[other] for s in tables[n].sites}, sizes)
    return torch.stack([t.values for t in tables.values()]).sum()


def tabulated(world: World, term: Callable[[], Tensor], sizes: dict[Site, int]) -> FactorTable:
    """A term as a table over the sites that it reads."""
    assignment = world.memory.assignment
    sites: list[Site] = []
    fixed = {s: v for s, v in assignment.items() if s not in sizes}
    while True:
        if prod(sizes[s] for s in sites) > ENTRIES:
            raise TooMany(f"a factor reads {len(sites)} sites together")
        try:
            values = []
            for row in product(*(world.values(*s) for s in sites)):
                assignment.clear()
                assignment.update({**fixed, **dict(zip(sites, row, strict=True))})
                values.append(term())
            return FactorTable(tuple(sites), torch.stack(values).reshape([sizes[s] for s in sites]))
        except KeyError as missing:
            if missing.args[0] not in sizes:
                raise
            sites.append(missing.args[0])


def summed(tables: list[FactorTable], site: Site, sizes: dict[Site, int]) -> FactorTable:
    """log Σ_site exp Σ tables, over the other sites that they read."""
    others = sorted({s for t in tables for s in t.sites} - {site})
    if _entries({site, *others}, sizes) > ENTRIES:
        raise TooMany(f"{len(others) + 1} sites have to be summed together")
    every = (*others, site)
    total = torch.zeros([sizes[s] for s in every], dtype=torch.float64)
    for table in tables:
        order = sorted(range(len(table.sites)), key=lambda i: every.index(table.sites[i]))
        shape = [sizes[s] if s in table.sites else 1 for s in every]
        total = total + table.values.permute(order).reshape(shape)
    impossible = (total == -torch.inf).all(-1)
    found = torch.logsumexp(total.masked_fill(impossible.unsqueeze(-1), 0.0), -1)
    return FactorTable(tuple(others), found.masked_fill(impossible, -torch.inf))


def _entries(sites: set[Site], sizes: dict[Site, int]) -> int:
    return prod(sizes[s] for s in sites)
