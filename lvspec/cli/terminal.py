"""Text for people: colours only where somebody looks, control characters never."""

from __future__ import annotations

import os
import re
import sys
from typing import TextIO

from lvspec.errors import Diagnostic, Source, render

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_choice = "auto"


def set_colour(choice: str) -> None:
    """auto (a terminal, and no NO_COLOR) | always | never, for this process."""
    global _choice
    _choice = choice


def coloured(stream: TextIO) -> bool:
    if _choice != "auto":
        return _choice == "always"
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def paint(text: str, style: str, stream: TextIO) -> str:
    """`text` in a colour, where the stream shows colours."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if coloured(stream) else text


def visible(text: str) -> str:
    """One line without what a terminal would act on."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def say(text: str = "") -> None:
    """A message: to stderr, so that stdout holds the product alone."""
    print(text, file=sys.stderr)


def diagnostic(d: Diagnostic, source: Source) -> str:
    """A diagnostic as the terminal shows it: severity, carets and help stand out."""
    text = render(d, source)
    if not coloured(sys.stderr):
        return text
    tint = "red" if d.severity == "error" else "yellow"
    head, *rest = text.split("\n")
    marked = f"{d.severity}[{d.code}]"
    rows = [head.replace(marked, paint(marked, tint, sys.stderr), 1)]
    for row in rest:
        row = re.sub(r"^( +\| +)(\^+.*)$", lambda m: m[1] + paint(m[2], tint, sys.stderr), row)
        rows.append(re.sub(r"^  help:", "  " + paint("help:", "cyan", sys.stderr), row))
    return "\n".join(rows)


def say_diagnostics(diagnostics: tuple[Diagnostic, ...], source: Source) -> None:
    for d in diagnostics:
        say(diagnostic(d, source))
