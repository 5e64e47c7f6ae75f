"""What can be seen of a variable by its clauses alone."""

from __future__ import annotations

from lvspec.ir import expr as E
from lvspec.ir.spec import Clause, Variable
from lvspec.ir.structured import structure_of


def has_borders(variable: Variable) -> bool:
    """Whether the variable is hidden states of segments: questions about them are about borders too. Where states are
    observed, their borders are summed within log p."""
    structure = structure_of(variable)
    return structure is not None and structure.segments and variable.role == "latent"


def reads(clause: Clause) -> set[str]:
    """The variables that a clause names."""
    bodies = [b.value for b in clause.bindings] + ([clause.body] if clause.body is not None else [])
    return {e.name for body in bodies for e in E.walk(body) if isinstance(e, E.VariableRef)}
