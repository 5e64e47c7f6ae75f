"""Chains that one variable couples, site by site: given all of it they fall apart, and summed with it they do not.

    p(c_1..c_T) Π_n p(z_n1..z_nT | c_1..c_T)        c[t] a regime, z[n, t] a chain for each n

Places are summed from the innermost out, each chain for itself. What a chain leaves behind may speak of variables that lie outside
its plate, but of no site of them along its own way: Σ_z[n] Π_t p(z[n, t] | z[n, t-1], c[t]) is a function of c_1..c_T, all at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from lvspec.ir.components import connected
from lvspec.ir.spec import Spec
from lvspec.ir.structured import structure_of
from lvspec.plan.graph import DependencyGraph, lagged_plates


@dataclass(frozen=True)
class Coupled:
    """chain: a latent whose sites along some plate depend on one another. by: what has sites along that `plate`, too, and lies
    outside of `apart`, other plates of the chain."""

    chain: str
    by: str
    plate: str
    apart: tuple[str, ...]


def coupled(
    spec: Spec, graph: DependencyGraph, names: Collection[str], unrolled: Iterable[str] = ()
) -> Iterator[Coupled]:
    """Chains among these latents that cannot be summed one by one; the sites of `unrolled` plates are summed jointly."""
    chains = {n: found for n in names if (found := ways(spec, graph, n))}
    if not chains:
        return
    places = {n: frozenset(spec.variable(n).plates).difference(unrolled) for n in names}
    scopes = [spoken for s in graph.scopes if len(spoken := places.keys() & set(s)) > 1]
    for place in sorted(set(places.values()), key=len, reverse=True):
        for piece in connected([n for n in names if places[n] == place], scopes):
            beside = set().union(*(s for s in scopes if not s.isdisjoint(piece))).difference(piece)
            scopes.append(beside)  # what the sum of the piece speaks of
            for chain, plate in ((n, p) for n in piece for p in chains.get(n, ())):
                for other in (n for n in names if n in beside and plate in places[n] and places[n] < place):
                    apart = tuple(p for p in spec.variable(chain).plates if p in place - places[other])
                    yield Coupled(chain, other, plate, apart)


def ways(spec: Spec, graph: DependencyGraph, name: str) -> list[str]:
    """The plates along which a latent's sites depend on one another."""
    variable = spec.variable(name)
    structured = [variable.general.dist.plate] if structure_of(variable) else []
    return [*lagged_plates(graph, name), *structured]
