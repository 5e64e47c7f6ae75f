"""Python text, already as the formatter would leave it: at most 120 columns, broken where it would break."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from functools import lru_cache

from lvspec.emit.text.documents import statement_doc
from lvspec.emit.text.printer import render

WIDTH = 120
INDENT = "    "
BODY = 2 * INDENT  # how far a method's statements stand in
CONTINUED = (")", "]", "}", "else:", "elif ")  # what no statement begins with


def wrap(code: str, indent: int, comment: str = "") -> list[str]:
    """One statement as one or more lines, with its comment behind the last one."""
    indent += (len(code) - len(code.lstrip())) // len(INDENT)
    code, pad, tail = code.lstrip(), INDENT * indent, f"  # {comment}" if comment else ""
    if len(pad) + len(code) + len(tail) <= WIDTH:
        return [pad + code + tail]
    return list(_broken(code, indent, tail))


@lru_cache(maxsize=4096)
def _broken(code: str, indent: int, tail: str) -> tuple[str, ...]:
    """What is too long for one line; several methods have the same statements."""
    return tuple(render([statement_doc(code, WIDTH - len(INDENT) * indent), tail], indent, WIDTH))


def statement(code: str, comment: str, indent: int) -> list[str]:
    """A statement with its comment behind it, or above where it is as long as a line."""
    rows = wrap(code, indent, comment)
    if len(rows[-1]) <= WIDTH:
        return rows
    return [f"{INDENT * indent}# {comment}", *wrap(code, indent)]


def docstring(text: str, indent: int) -> list[str]:
    """A docstring of as many lines as it needs."""
    return filled(f'"""{text}"""', INDENT * indent)


def filled(text: str, pad: str, hanging: str = "") -> list[str]:
    """Words in lines of at most 120 columns. hanging: what further lines stand in by, beyond `pad`."""
    if len(pad) + len(text) <= WIDTH:
        return [pad + text]
    return textwrap.wrap(
        text, WIDTH, initial_indent=pad, subsequent_indent=pad + hanging, break_long_words=False, break_on_hyphens=False
    )


def statements_of(lines: list[str]) -> Iterator[range]:
    """Numbers of the lines of each statement of a method, without the comments and empty lines between two of them."""
    first, last = 0, None
    for i, line in enumerate(lines):
        begins = line.startswith(BODY) and line[len(BODY) : len(BODY) + 1] not in " #"
        begins = begins and not line.startswith(CONTINUED, len(BODY))
        if begins and last is not None:
            yield range(first, last + 1)
        if begins:
            first = i
        if line.strip() and (begins or not line.lstrip().startswith("#")):
            last = i
    if last is not None:
        yield range(first, last + 1)


def entry(name: str, function: str, arguments: list[str], indent: int) -> list[str]:
    """An entry of a dictionary that is a call: `"name": function(arguments),`."""
    within = ", ".join(arguments)
    if len(INDENT) * indent + len(f'"{name}": {function}({within}),') <= WIDTH:
        return [f'{INDENT * indent}"{name}": {function}({within}),']
    inner = INDENT * (indent + 1)
    rows = [inner + within] if len(inner) + len(within) <= WIDTH else [f"{inner}{a}," for a in arguments]
    return [f'{INDENT * indent}"{name}": {function}(', *rows, f"{INDENT * indent}),"]
