"""Dead assignments of a finished method body: `x = f(y)` where nothing reads x afterwards, lists that are only filled.

The writers of factors do not know what the objective will read: a global latent's divergence is computed where it
is defined, and an importance weight that is conditional on it leaves it out.
"""

from __future__ import annotations

import ast
from collections import Counter

HEAD = "def body():\n"


def without_unused(lines: list[str]) -> list[str]:
    """The body (indented by two levels) without assignments of a plain name that nothing after them mentions."""
    while True:
        lines = left_out(lines, unused(lines))  # from the last line up: one pass finds what only dead lines read, too
        filled = only_filled(lines)
        if not filled:
            return lines
        lines = left_out(lines, filled)


def left_out(lines: list[str], dead: set[int]) -> list[str]:
    return [line for i, line in enumerate(lines) if i not in dead]


def unused(lines: list[str]) -> set[int]:
    """Numbers of the lines to leave out, with the shape comments above them."""
    statements = ast.parse(HEAD + "\n".join(lines)).body[0].body
    dead: set[int] = set()
    read: set[str] = set()
    for statement in reversed(statements):
        name = assigned(statement)
        first, last = statement.lineno - 2, statement.end_lineno - 2  # HEAD is one line, and lines count from one
        if name is not None and name not in read:
            dead.update(range(first, last + 1))
            if first and lines[first - 1].lstrip().startswith("# ("):
                dead.add(first - 1)
            continue
        named = (n for n in ast.walk(statement) if isinstance(n, ast.Name))
        read |= {n.id for n in named if n.id != name or isinstance(n.ctx, ast.Load)}
    return dead


def only_filled(lines: list[str]) -> set[int]:
    """Numbers of the lines that make and fill lists, `x = []` and `x.append(y)`, which nothing else mentions."""
    if not any(".append(" in line for line in lines):
        return set()
    nodes = list(ast.walk(ast.parse(HEAD + "\n".join(lines))))
    mentioned = Counter(n.id for n in nodes if isinstance(n, ast.Name))
    filling: dict[str, list[int]] = {}
    for node in nodes:
        name = assigned(node) if isinstance(node, ast.Assign) and ast.unparse(node.value) == "[]" else appended(node)
        if name is not None:
            filling.setdefault(name, []).append(node.lineno - 2)
    return {line for name, rows in filling.items() if len(rows) == mentioned[name] for line in rows}


def appended(node: ast.AST) -> str | None:
    """The list that a statement `x.append(y)` fills."""
    call = node.value if isinstance(node, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "append":
        return call.func.value.id if isinstance(call.func.value, ast.Name) else None
    return None


def assigned(statement: ast.stmt) -> str | None:
    """The name that a plain assignment gives a value to."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id
    return None
