"""YAML as a tree of texts with their places: `Text`, `Mapping`, `Listing`; nothing is typed yet."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from lvspec.errors import Span


class LineIndex:
    """Offsets of a text as lines and columns that count from 1."""

    def __init__(self, text: str):
        self.starts = [0] + [i + 1 for i, c in enumerate(text) if c == "\n"]
        self.size = len(text)

    def place(self, offset: int) -> tuple[int, int]:
        offset = max(0, min(offset, self.size))
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def span(self, start: int, end: int) -> Span:
        return Span(*self.place(start), *self.place(max(start, end)))


@dataclass(frozen=True)
class Text:
    """A scalar: its value, its style ('' plain, ' and " quoted, | and > block), and for each of its characters
    the offset in the file (so that a place inside an expression is a place in the file)."""

    value: str
    style: str
    span: Span
    offsets: tuple[int, ...] = field(repr=False, compare=False)
    lines: LineIndex = field(repr=False, compare=False)

    @property
    def plain(self) -> bool:
        return self.style == ""

    def part(self, start: int, end: int) -> Span:
        """The span of value[start:end] in the file."""
        if not self.offsets:
            return self.span
        first = self.offsets[min(start, len(self.offsets) - 1)]
        last = self.offsets[min(max(end - 1, start), len(self.offsets) - 1)]
        if start >= len(self.offsets):
            return self.lines.span(first + 1, first + 2)
        return self.lines.span(first, last + 1)


@dataclass(frozen=True)
class Entry:
    key: Text
    value: Node


@dataclass(frozen=True)
class Mapping:
    entries: tuple[Entry, ...]
    span: Span
    flow: bool = False

    def get(self, key: str) -> Node | None:
        return next((e.value for e in self.entries if e.key.value == key), None)


@dataclass(frozen=True)
class Listing:
    items: tuple[Node, ...]
    span: Span
    flow: bool = False


Node = Text | Mapping | Listing

_ESCAPE_LENGTH = {"x": 4, "u": 6, "U": 10}


def character_offsets(raw: str, start: int, value: str, style: str) -> tuple[int, ...]:
    """For each character of a scalar's value the offset in the file that it was read from.

    Line breaks that YAML folds into a blank, quotes' escapes and block indentation are stepped over;
    where value and text part company (rare, folded block text), the nearest place is given.
    """
    if raw == value:
        return tuple(range(start, start + len(value)))
    i = 1 if style in ("'", '"') else 0
    if style in ("|", ">"):
        i = raw.find("\n") + 1
    found = []
    for c in value:
        if i < len(raw) and raw[i] == "\\" and style == '"':
            while raw[i : i + 2] == "\\\n":
                i = _skip_blank(raw, i + 1)
            found.append(start + min(i, len(raw) - 1))
            i += _ESCAPE_LENGTH.get(raw[i + 1 : i + 2], 2) if raw[i : i + 1] == "\\" else 1
            continue
        if i < len(raw) and c not in " \n" and raw[i] in " \n":
            i = _skip_blank(raw, i)
        found.append(start + min(i, max(0, len(raw) - 1)))
        if i < len(raw) and raw[i] == c:
            i += 2 if c == "'" and style == "'" else 1
        elif c in " \n":
            i = _skip_blank(raw, i)
        else:
            i += 1
    return tuple(found)


def _skip_blank(raw: str, i: int) -> int:
    while i < len(raw) and raw[i] in " \n":
        i += 1
    return i
