"""Sites that are named by their number where an example may have fewer: `y: Normal(h[0], 1)` with h[t], `x[1]` along a sequence.

A site that is read where it is sure to be, `h[0]` at a site of t itself, is none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lvspec.ir.expr import Number, VariableRef, walk
from lvspec.ir.reads import Reader, bodies, is_named
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
    reader = Reader(spec, guide)
    readers = [*spec.variables, *guide, *spec.terms]
    found = (n for v in readers if v.role not in ("let", "given") for n in _of(reader, v))
    return tuple(dict.fromkeys(n for n in found if n.site > n.beyond))


def _of(reader: Reader, variable: Variable) -> Iterator[Numbered]:
    for clause in variable.clauses:
        named = {
            n.name for b in bodies(clause) for n in walk(b) if isinstance(n, VariableRef) and n.name in reader.lets
        }
        below: dict[str, None] = {}
        for name in sorted(named):
            below |= dict.fromkeys(reader.lets_below(name, below.__contains__))
        yield from _in_clause(reader, variable, (variable, clause), (variable, clause))
        for let in (reader.lets[n] for n in below):
            for own in let.clauses:
                yield from _in_clause(reader, variable, (let, own), (variable, clause))


def _in_clause(reader: Reader, variable: Variable, *within: tuple[Variable, Clause]) -> Iterator[Numbered]:
    """Those in the text of the first of two clauses, computed where both of them count."""
    _, clause = within[0]
    for node in (n for b in bodies(clause) for n in walk(b) if isinstance(n, VariableRef)):
        for site in node.at:
            if is_named(site) and isinstance(site.index, Number) and reader.spec.plate(site.plate).ragged:
                beyond = max(_beyond(v, c, site.plate) for v, c in within)
                yield Numbered(variable, node.name, site.plate, int(site.index.value), beyond)


def _beyond(variable: Variable, clause: Clause, plate: str) -> int:
    """A clause counts in examples that have more than so many sites of the plate."""
    if plate not in variable.plates:
        return -1
    if variable.along != plate:
        return 0
    return len(variable.initial) if clause.initial is None else clause.initial
