"""What can be seen of a variable by its clauses alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvspec.ir import expr as E
from lvspec.ir.spec import Clause, Variable
from lvspec.ir.structures import structure_of

if TYPE_CHECKING:
    from lvspec.verify.oracle.instance import Instance


def has_borders(variable: Variable) -> bool:
    """Whether the variable is hidden states of segments: questions about them are about borders too. Where states are
    observed, their borders are summed within log p."""
    structure = structure_of(variable)
    return structure is not None and structure.segments and variable.role == "latent"


def reads(clause: Clause) -> set[str]:
    """The variables that a clause names."""
    bodies = [b.value for b in clause.bindings] + ([clause.body] if clause.body is not None else [])
    return {e.name for body in bodies for e in E.walk(body) if isinstance(e, E.VariableRef)}


def enumerated_parents(name: str, instance: Instance) -> tuple[str, ...]:
    """The latents summed under their guide that q(name | ...) depends on, through let variables and other draws."""
    lets = {v.name: v for v in (*instance.spec.variables, *instance.guide) if v.role == "let"}
    factors = {v.name: v for v in instance.guide if v.role == "guide"}
    treatments = instance.planned or instance.treatments
    found: set[str] = set()
    queue, seen = [factors[name]], {name}
    while queue:
        for read in sorted({r for clause in queue.pop().clauses for r in reads(clause)} - seen):
            seen.add(read)
            treatment = treatments.get(read)
            if treatment == "enumerated":
                found.add(read)
            elif read in lets:
                queue.append(lets[read])
            elif treatment == "sampled" and read in factors:
                queue.append(factors[read])
    return tuple(v.name for v in instance.spec.variables if v.name in found)
