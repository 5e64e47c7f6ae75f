"""Names in Python text: what a statement defines, which module-level names it reads and where, and import lines."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass

WIDTH = 120
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True)
class NameUse:
    """A module-level name that is read: line (from 0, within the text) and column in bytes."""

    name: str
    line: int
    column: int


def bound_by(node: ast.AST) -> list[str]:
    """Names that a statement gives a value to in its own scope."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [(a.asname or a.name).partition(".")[0] for a in node.names]
    if isinstance(node, ast.Name):
        return [node.id] if isinstance(node.ctx, ast.Store) else []
    if isinstance(node, ast.ExceptHandler):
        return [*filter(None, [node.name]), *(n for c in node.body for n in bound_by(c))]
    if isinstance(node, (*FUNCTIONS, *COMPREHENSIONS)):
        # a walrus in a comprehension binds outside it; nothing else does
        return [n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)] if _is_comprehension(node) else []
    return [name for child in ast.iter_child_nodes(node) for name in bound_by(child)]


def _is_comprehension(node: ast.AST) -> bool:
    return isinstance(node, COMPREHENSIONS)


def global_uses(node: ast.stmt, first: int) -> tuple[NameUse, ...]:
    """The module-level names that a top-level statement reads, its annotations included; `first`: its text's first line."""
    uses: list[NameUse] = []

    def visit(here: ast.AST, local: frozenset[str]) -> None:
        if isinstance(here, ast.Name):
            if isinstance(here.ctx, ast.Load) and here.id not in local:
                uses.append(NameUse(here.id, here.lineno - 1 - first, here.col_offset))
        elif isinstance(here, FUNCTIONS):
            _function(here, local)
        elif isinstance(here, COMPREHENSIONS):
            inner = local | {n for g in here.generators for n in bound_by(g.target)}
            for child in ast.iter_child_nodes(here):
                visit(child, inner)
        else:
            for child in ast.iter_child_nodes(here):
                visit(child, local)

    def _function(here, local: frozenset[str]) -> None:
        arguments = here.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [a for a in (arguments.vararg, arguments.kwarg) if a]
        outside = [a.annotation for a in every if a.annotation]
        outside += [d for d in (*arguments.defaults, *arguments.kw_defaults) if d]
        outside += [*getattr(here, "decorator_list", []), *filter(None, [getattr(here, "returns", None)])]
        for child in outside:
            visit(child, local)
        body = here.body if isinstance(here.body, list) else [here.body]
        inner = local | {a.arg for a in every} | {n for statement in body for n in bound_by(statement)}
        for statement in body:
            visit(statement, inner)

    visit(node, frozenset())
    return tuple(dict.fromkeys(uses))


def import_lines(names: dict[str, tuple[str, str | None]]) -> str:
    """Import statements for name -> (module, name or None), in the formatter's order, annotations postponed."""
    blocks = ["from __future__ import annotations"]
    modules = sorted({m for m, _ in names.values()})
    for own in (True, False):
        chosen = [m for m in modules if (m.partition(".")[0] in sys.stdlib_module_names) is own]
        rows = [f"import {m}" for m in chosen if (m, None) in names.values()]
        for module in chosen:
            found = {n: o for n, (m, o) in names.items() if m == module and o is not None}
            ordered = sorted(found, key=lambda n: (n.upper() != n, not n[0].isupper(), n.lower()))
            rows += _from(module, [n if found[n] == n else f"{found[n]} as {n}" for n in ordered])
        if rows:
            blocks.append("\n".join(rows))
    return "\n\n".join(blocks)


def _from(module: str, names: list[str]) -> list[str]:
    if not names:
        return []
    line = f"from {module} import {', '.join(names)}"
    return [line] if len(line) <= WIDTH else [f"from {module} import (", *(f"    {n}," for n in names), ")"]
