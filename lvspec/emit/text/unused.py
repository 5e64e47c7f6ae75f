"""Dead assignments of a finished method body: `x = f(y)` where nothing reads x afterwards, lists that are only filled.

The writers of factors do not know what the objective will read: a global latent's divergence is computed where it
is defined, and an importance weight that is conditional on it leaves it out.
"""

from __future__ import annotations

import re
from collections import Counter

from lvspec.emit.text.text import statements_of

# what is a name: no attribute, keyword of a call or argument of a function, nothing in a text or a comment
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|#.*|\blambda [\w, ]*:|(?<![\w.])([^\W\d]\w*+)(?!=[^=])')
ASSIGNED = re.compile(r"\s*(\w+(?:, \w+)*) = ")
MAKES = re.compile(r"\s*(\w+) = \[\](?:  #.*)?$")
FILLS = re.compile(r"\s*(\w+)\.append\(.*\)(?:  #.*)?$")


def without_unused(lines: list[str]) -> list[str]:
    """The body (indented by two levels) without assignments of plain names of which nothing after them mentions one."""
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
    dead: set[int] = set()
    read: set[str] = set()
    for statement in reversed(list(statements_of(lines))):
        first = statement[0]
        own = ASSIGNED.match(lines[first])
        if own and read.isdisjoint(own[1].split(", ")):
            dead.update(statement)
            if first and lines[first - 1].lstrip().startswith("# ("):
                dead.add(first - 1)
            continue
        text = "\n".join(lines[i] for i in statement)
        read.update(names(text[own.end() :] if own else text))
    return dead


def names(text: str) -> list[str]:
    """The names that a text of Python mentions, words of the language among them."""
    return [n for n in TOKEN.findall(text) if n]


def only_filled(lines: list[str]) -> set[int]:
    """Numbers of the lines that make and fill lists, `x = []` and `x.append(y)`, which nothing else mentions."""
    filling: dict[str, list[int]] = {}
    for i, line in enumerate(lines):
        if ".append(" in line or "= []" in line:
            for found in (MAKES.match(line), FILLS.match(line)):
                if found:
                    filling.setdefault(found[1], []).append(i)
    if not filling:
        return set()
    mentioned = Counter(names("\n".join(lines)))
    return {line for name, rows in filling.items() if len(rows) == mentioned[name] for line in rows}
