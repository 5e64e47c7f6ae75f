"""Symbolic sizes as Python, and which embeddings own a row for the begin symbol."""

from __future__ import annotations

from lvspec.ir.dims import Dim
from lvspec.ir.expr import Apply, Lag, Stretch, VariableRef, walk
from lvspec.ir.plan import Plan


def size_code(size: Dim, module: str = "self") -> str:
    """A symbolic size as Python over the module's attributes: `2 * self.D`, `self.E + self.D`; the extent of a ragged
    plate is that of its mask. module: what the module is called."""
    parts = []
    for names, c in sorted(size.terms, key=lambda t: (-len(t[0]), t[0])):
        factors = ([] if c == 1 and names else [str(c)]) + [_name_code(n, module) for n in names]
        parts.append(" * ".join(factors))
    return " + ".join(parts).replace("+ -", "- ") if parts else "0"


def _name_code(name: str, module: str) -> str:
    return f'batch["{name.strip("|")}.mask"].shape[-1]' if name.startswith("|") else f"{module}.{name}"


def begin_embeddings(plan: Plan) -> set[str]:
    """Embeddings that read a shifted sequence and so own a row for the begin symbol."""
    found = set()
    for variable in (*plan.spec.variables, *plan.guide):
        for clause in variable.clauses:
            bodies = [b.value for b in clause.bindings] + ([clause.body] if clause.body is not None else [])
            for node in (n for body in bodies for n in walk(body)):
                if isinstance(node, Apply) and node.args and isinstance(node.args[0], VariableRef):
                    sites = node.args[0].at
                    shifted = any(
                        isinstance(s, Lag) or (isinstance(s, Stretch) and s.reach in ("before", "after")) for s in sites
                    )
                    read = next((n for n in plan.networks if n.name == node.network and n.kind == "Embedding"), None)
                    if shifted and read is not None:
                        found |= {read.name, read.option("detached", read.name)}
    return found
