"""Where something stands in a spec, what is wrong there, and how it is shown.

A `Diagnostic` is data; `render` turns it into the text a person sees::

    gm_vae.yaml:14:31: error[shape-mismatch]: `scale` of Normal must be positive, ...
      12 | latent:
      14 |   z: Normal(loc=mu[c], scale=head(c))
         |                              ^^^^^^^ real[D]
      help: wrap it, e.g. `scale=softplus(head(c))`
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Span(NamedTuple):
    """A stretch of source text. Lines and columns count from 1; `end_column` is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int

    def to(self, other: Span) -> Span:
        """The smallest span that covers both."""
        return Span(self.line, self.column, other.end_line, other.end_column)


NOWHERE = Span(0, 0, 0, 0)  # for nodes that lvspec itself derives (default guides, readers)


@dataclass(frozen=True)
class Diagnostic:
    """One problem of a spec.

    code: stable kebab-case identifier, e.g. `unknown-name`; each has a fixture under tests/bad.
    message: what was expected and what was found, in one sentence.
    label: the short text after the carets (often the type that was found).
    help: a proposed mend, ready to paste.
    notes: further places, e.g. the first of two definitions; NOWHERE for what has none.
    """

    code: str
    span: Span
    message: str
    label: str = ""
    help: str = ""
    severity: str = "error"  # or "warning"
    notes: tuple[tuple[Span, str], ...] = ()


@dataclass(frozen=True)
class Source:
    """The text of a spec and the name it is shown under."""

    name: str
    text: str
    lines: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", tuple(self.text.split("\n")))


class SpecError(Exception):
    """A spec with problems: all of them, in source order. Exit code 1."""

    def __init__(self, source: Source, diagnostics: tuple[Diagnostic, ...]):
        self.source = source
        self.diagnostics = tuple(sorted(diagnostics, key=lambda d: (d.span, d.code)))
        super().__init__("\n".join(render(d, source) for d in self.diagnostics))


class SpecWarning(UserWarning):
    """What a command says of a spec that is fine all the same; `spec.warnings` has it as data."""


class UsageError(Exception):
    """A wrong command line, or a file that cannot be read or written. Exit code 2."""


class TrainingError(Exception):
    """Training that cannot go on (non-finite loss, unusable data). Exit code 3. diagnostic: with its place in the spec,
    where the spec has one for it."""

    def __init__(self, message: str, source: Source | None = None, diagnostic: Diagnostic | None = None):
        self.source, self.diagnostic = source, diagnostic
        super().__init__(render(diagnostic, source) if diagnostic and source else message)


class InternalError(Exception):
    """A bug of lvspec's own. Exit code 70."""


LONGEST = 160  # characters of a source line that are shown


def _visible(text: str) -> str:
    """Source text without what a terminal would act on; a tab is one blank, as columns count it."""
    return "".join(" " if c == "\t" else c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _window(line: str, start: int) -> str:
    """A line as far as a person reads it: LONGEST characters from `start`."""
    cut = _visible(line[start : start + LONGEST])
    return ("…" if start else "") + cut + ("…" if len(line) > start + LONGEST else "")


def _excerpt(source: Source, span: Span, label: str, context: int) -> list[str]:
    if not 1 <= span.line <= len(source.lines):
        return []
    width = len(str(span.line))
    rows = []
    for number in range(max(1, span.line - context), span.line):
        rows.append(f"  {number:>{width}} | {_window(source.lines[number - 1], 0)}".rstrip())
    line = source.lines[span.line - 1]
    start = span.column - 1 - LONGEST // 2 if span.column > LONGEST else 0
    rows.append(f"  {span.line:>{width}} | {_window(line, start)}".rstrip())
    end = span.end_column if span.end_line == span.line else len(line) + 1
    count = max(1, min(end, len(line) + 1) - span.column)
    carets = "^" * min(count, LONGEST - (span.column - 1 - start))
    rows.append(f"  {'':>{width}} | {' ' * (span.column - 1 - start + bool(start))}{carets} {_visible(label)}".rstrip())
    return rows


def render(diagnostic: Diagnostic, source: Source) -> str:
    """A diagnostic as text: position, message, the source underlined, a proposed mend."""
    d = diagnostic
    # a setting of the command line has no place in the file
    name = _visible(source.name)
    place = f"{name}:{d.span.line}:{d.span.column}" if d.span.line else name
    head = f"{place}: {d.severity}[{d.code}]: {_visible(d.message)}"
    rows = [head, *_excerpt(source, d.span, d.label, context=2)]
    for span, text in d.notes:
        rows.append(f"  note: {f'{name}:{span.line}:{span.column}: ' if span.line else ''}{_visible(text)}")
        rows.extend(_excerpt(source, span, "", context=0))
    if d.help:
        rows.append(f"  help: {_visible(d.help)}")
    return "\n".join(rows)
