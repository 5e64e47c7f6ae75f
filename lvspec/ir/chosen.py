"""Sites of a latent that a number of the data chooses: `effect[g[n]]`, where g is given or observed.

y[n]: Normal(effect[g[n]], 1)        effect[k] sees y[n] where g[n] = k, and nowhere else

To the latent that is as if y lived on its plate too, and were missing wherever another site is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.ir.expr import At, Expr, Here, VariableRef, walk
from lvspec.ir.reads import bodies, reader_of
from lvspec.ir.spec import Spec, Variable


@dataclass(frozen=True)
class Chosen:
    """plate: of the latent, along which its site is chosen. index: the number."""

    plate: str
    index: Expr


def chosen_site(spec: Spec, variable: Variable, name: str) -> Chosen | None:
    """How the variable chooses the one site of the latent that it reads, or None where it reads it otherwise."""
    refs = _references(variable)
    found = {_chosen(ref) for ref in refs if ref.name == name}
    only = next(iter(found), None)
    if len(found) != 1 or only is None or only.plate in variable.plates:
        return None
    reader = reader_of(spec)
    if name in (r.name for ref in refs if ref.name != name for r in reader.of(ref, frozenset())):
        return None
    return None if any(spec.variable(r.name).role == "latent" for r in reader.of(only.index, frozenset())) else only


def _references(variable: Variable) -> list[VariableRef]:
    return [n for c in variable.clauses for b in bodies(c) for n in walk(b) if isinstance(n, VariableRef)]


def _chosen(ref: VariableRef) -> Chosen | None:
    at = [s for s in ref.at if not isinstance(s, Here)]
    return Chosen(at[0].plate, at[0].index) if len(at) == 1 and isinstance(at[0], At) else None


def plates_seen(spec: Spec, variable: Variable, names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Chosen, ...]]:
    """The plates of a variable with those along which it chooses sites of the latents, and how it chooses them."""
    read = {ref.name for ref in _references(variable)}
    found = {c: None for n in names if n in read and (c := chosen_site(spec, variable, n)) is not None}
    return (*variable.plates, *dict.fromkeys(c.plate for c in found)), tuple(found)
