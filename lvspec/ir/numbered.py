"""Sites that are named by their number where an example may have fewer: `y: Normal(h[0], 1)` with h[t], `x[1]` along a sequence.

A site that is read where it is sure to be, `h[0]` at a site of t itself, is none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lvspec.ir.expr import VariableRef, walk
from lvspec.ir.reads import Reader, bodies, number_of, reader_of
from lvspec.ir.spec import Clause, Spec, Variable


@dataclass(frozen=True)
class Numbered:
    """`reader` reads site `site` of `name` along `plate` in each example that has more than `beyond` sites of it (-1: in all)."""

    reader: Variable
    name: str
    plate: str
    site: int
    beyond: int = -1


def numbered(spec: Spec, guide: tuple[Variable, ...] = ()) -> tuple[Numbered, ...]:
    """What random variables, terms of the objective and factors of the guide read so, let variables looked through."""
    reader = reader_of(spec, guide)
    readers = [*spec.variables, *guide, *spec.terms]
    sites = {id(c): _sites(spec, c) for v in readers for c in v.clauses}
    found = (n for v in readers if v.role not in ("let", "given") for n in _of(reader, v, sites))
    return tuple(dict.fromkeys(n for n in found if n.site > n.beyond))


def _sites(spec: Spec, clause: Clause) -> list[tuple[str, str, int]]:
    """(name, plate, site) of each site along a ragged plate that stands in a clause's text by its number."""
    nodes = (n for b in bodies(clause) for n in walk(b) if isinstance(n, VariableRef))
    named = ((n.name, s.plate, number_of(s)) for n in nodes for s in n.at if spec.plate(s.plate).ragged)
    return [(name, plate, number) for name, plate, number in named if number is not None]


def _of(reader: Reader, variable: Variable, sites: dict[int, list[tuple[str, str, int]]]) -> Iterator[Numbered]:
    for clause in variable.clauses:
        named = {
            n.name for b in bodies(clause) for n in walk(b) if isinstance(n, VariableRef) and n.name in reader.lets
        }
        below: dict[str, None] = {}
        for name in sorted(named):
            below |= dict.fromkeys(reader.lets_below(name, below.__contains__))
        for let in (variable, *(reader.lets[n] for n in below)):
            for own in (clause,) if let is variable else let.clauses:  # computed where both clauses count
                for name, plate, site in sites[id(own)]:
                    beyond = max(_beyond(let, own, plate), _beyond(variable, clause, plate))
                    yield Numbered(variable, name, plate, site, beyond)


def _beyond(variable: Variable, clause: Clause, plate: str) -> int:
    """A clause counts in examples that have more than so many sites of the plate."""
    if plate not in variable.plates:
        return -1
    if variable.along != plate:
        return 0
    return len(variable.initial) if clause.initial is None else clause.initial
