"""Dead assignments of a finished method body: `x = f(y)` where nothing reads x afterwards.

The writers of factors do not know what the objective will read: a global latent's divergence is computed where it
is defined, and an importance weight that is conditional on it leaves it out.
"""

from __future__ import annotations

import ast

HEAD = "def body():\n"


def without_unused(lines: list[str]) -> list[str]:
    """The body (indented by two levels) without assignments of a plain name that nothing after them mentions."""
    while True:
        dead = unused(lines)
        if not dead:
            return lines
        lines = [line for i, line in enumerate(lines) if i not in dead]


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


def assigned(statement: ast.stmt) -> str | None:
    """The name that a plain assignment gives a value to."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id
    return None
