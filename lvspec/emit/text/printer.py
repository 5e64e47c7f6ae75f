"""Documents that break where a line is full: groups are flat where they fit, else all of their breaks are taken.

    Group(["f(", Block([Group(["a,", Line(" "), "b", Comma()])]), ")"])     f(a, b)   or   f(
                                                                                              a, b
                                                                                          )
Wadler 1998, "A prettier printer"; what follows a group counts up to its first possible break.
"""

from __future__ import annotations

from dataclasses import dataclass, field

INDENT = "    "


@dataclass(frozen=True)
class Line:
    """A break, or `flat` in a group that is flat."""

    flat: str = " "


@dataclass(frozen=True)
class Broken:
    """Text that is there in a broken group only: a trailing comma, parentheses."""

    text: str


@dataclass(frozen=True)
class Indented:
    """Content on lines of its own, one level deeper, in a broken group."""

    content: list = field(default_factory=list)


@dataclass(frozen=True)
class Group:
    content: list = field(default_factory=list)


Doc = str | Line | Broken | Indented | Group | list
Item = tuple[int, bool, Doc]  # indentation, whether flat, document


def opened(item: Item) -> list[Item]:
    """A container's parts, first one last (a stack)."""
    depth, flat, doc = item
    if isinstance(doc, Indented):
        return [(depth, flat, Line("")), (depth + 1, flat, doc.content), (depth + 1, flat, Line(""))]
    parts = doc.content if isinstance(doc, Group) else doc
    assert isinstance(parts, list)
    return [(depth, flat, part) for part in reversed(parts)]


def fits(item: Item, rest: list[Item], room: int) -> bool:
    """Whether the item laid out flat, with what follows up to the first break that may be taken, needs at most `room`."""
    stack, following = [item], len(rest)
    while room >= 0:
        if not stack:
            if not following:
                return True
            following -= 1
            stack.append(rest[following])
        depth, flat, doc = stack.pop()
        if isinstance(doc, str):
            room -= len(doc)
        elif isinstance(doc, Line):
            if not flat:
                return True
            room -= len(doc.flat)
        elif isinstance(doc, Broken):
            room -= 0 if flat else len(doc.text)
        elif isinstance(doc, Indented) and not flat:
            return True
        else:
            stack.extend(opened((depth, flat, doc)))
    return False


def render(doc: Doc, depth: int, width: int) -> list[str]:
    """The document as lines, the first one indented by `depth`."""
    rows, row = [], INDENT * depth
    stack: list[Item] = [(depth, False, doc)]
    while stack:
        level, flat, here = stack.pop()
        if isinstance(here, str):
            row += here
        elif isinstance(here, Line):
            if flat:
                row += here.flat
            else:
                rows.append(row.rstrip())
                row = INDENT * level
        elif isinstance(here, Broken):
            row += "" if flat else here.text
        elif isinstance(here, Group):
            flat = flat or fits((level, True, here.content), stack, width - len(row))
            stack.append((level, flat, here.content))
        else:
            stack.extend(opened((level, flat, here)))
    return [*rows, row]
