"""Text for people: colours only where somebody looks, control characters never."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TextIO

from lvspec.errors import Diagnostic, Source, render

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_MARK = f"\ue000{os.urandom(4).hex()}"  # begins a colour of `paint`: no text from elsewhere holds it
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
    return f"{_MARK}{_CODES[style]}m{text}{_MARK}0m" if coloured(stream) else text


def visible(text: str) -> str:
    """One line without what a terminal would act on."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def clean(text: str) -> str:
    """Lines of text of which a terminal shows every character, and acts on none but the colours of `paint`."""
    return _MARK.join("\n".join(map(visible, part.split("\n"))) for part in text.split(_MARK)).replace(_MARK, "\x1b[")


def show(text: object = "", end: str = "\n") -> None:
    """What was asked for, to stdout."""
    _write(clean(str(text)) + end, sys.stdout)


def show_json(value: object, indent: int | None = None) -> None:
    """The same for a program, on one line or over several: characters that a terminal would act on are escaped."""
    text = json.dumps(value, ensure_ascii=not encoding_of(sys.stdout).lower().startswith("utf"), indent=indent)
    _write("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text) + "\n", sys.stdout)


def say(text: str = "") -> None:
    """A message: to stderr, so that stdout holds the product alone. That nobody can read it is no reason to end a training."""
    try:
        _write(clean(text) + "\n", sys.stderr)
    except OSError:
        give_up(sys.stderr)


def _write(text: str, stream: TextIO) -> None:
    """With question marks for what the stream's encoding lacks."""
    encoding = encoding_of(stream)
    stream.write(text.encode(encoding, "replace").decode(encoding))


def encoding_of(stream: TextIO) -> str:
    """A stream in memory, which a notebook or a test puts in stdout's place, has none."""
    return stream.encoding or "utf-8"


def open_streams() -> None:
    """A stream that was closed when the process began (`>&-`) takes what is written to it nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))


def give_up(stream: TextIO) -> None:
    """Nothing more can be written here, and nothing is tried at exit: the reader has gone, or the disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
