"""YAML text → `Mapping`, with positions, limits and no surprises.

The events of YAML's parser are put together here, so that nothing is typed, merged, constructed
or followed without being counted; what PyYAML cannot read is said again in the words of a spec.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

import yaml

from lvspec.errors import Span
from lvspec.front.nodes import Entry, LineIndex, Listing, Mapping, Node, Text, character_offsets
from lvspec.front.problems import Problems

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 64
MAX_EVENTS = 50_000
MAX_ALIASES = 100

_VISIBLE_FORMAT = "\u200c\u200d"  # joiners: part of ordinary words in some scripts


class _Stop(Exception):
    """A problem has been noted after which reading makes no sense."""


def clean(text: str) -> str:
    """Without a byte-order mark, every line ended by a line feed."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def read(text: str, problems: Problems) -> Mapping | None:
    """The mapping that a cleaned text holds, or None where something was wrong (then noted)."""
    lines = LineIndex(text)
    if len(text) > MAX_CHARACTERS:
        problems.error(
            "too-large", Span(1, 1, 1, 2), f"a spec has at most {MAX_CHARACTERS:,} characters, this has {len(text):,}"
        )
        return None
    if not _only_visible(text, lines, problems):
        return None
    builder = _Builder(text, lines, problems)
    try:
        for event in _events(text):
            builder.take(event)
    except _Stop:
        return None
    except yaml.MarkedYAMLError as error:
        _explain(error, text, lines, problems)
        return None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        problems.error("yaml-syntax", Span(1, 1, 1, 2), f"this is not YAML: {str(error).splitlines()[0]}")
        return None
    return builder.finish()


def _events(text: str) -> Iterable[yaml.Event]:
    """libyaml's, in a tenth of the time, of a text in which they are those of PyYAML's own parser.

    They are not where there is a tab, an explicit key, a block of text or nothing at all in the place of a value. What
    libyaml does not take is read again, for an error in the same words everywhere.
    """
    if hasattr(yaml, "CSafeLoader") and "\t" not in text and "?" not in text:
        with suppress(yaml.YAMLError):
            events = list(_within_limits(yaml.parse(text, Loader=yaml.CSafeLoader)))
            texts = (e for e in events if isinstance(e, yaml.ScalarEvent))
            if all(e.style in ("'", '"') or e.value and e.style not in ("|", ">") for e in texts):
                return events
    return yaml.parse(text, Loader=yaml.SafeLoader)


def _within_limits(events: Iterable[yaml.Event]) -> Iterator[yaml.Event]:
    """The events up to the first that is beyond a limit: libyaml would take long over what nobody reads."""
    depth = 0
    for event in islice(events, MAX_EVENTS + 1):
        yield event
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            return


def _only_visible(text: str, lines: LineIndex, problems: Problems) -> bool:
    fine = True
    for match in re.finditer(r"[^\n\t\x20-\x7e]", text):
        c = match.group()
        if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Cn", "Co") and c not in _VISIBLE_FORMAT:
            where = lines.span(match.start(), match.end())
            problems.error(
                "control-character", where, f"the character U+{ord(c):04X} cannot be seen", help="remove or replace it"
            )
            fine = False
    return fine


def extent(event: yaml.Event) -> tuple[int, int]:
    """Where an event begins and ends in the text."""
    start, end = event.start_mark, event.end_mark
    assert start is not None and end is not None  # the parser marks every event
    return start.index, end.index


class _Builder:
    """Puts events together: a stack of open collections, and the anchors met so far."""

    def __init__(self, text: str, lines: LineIndex, problems: Problems):
        self.text, self.lines, self.problems = text, lines, problems
        self.stack: list[tuple[str, list, yaml.CollectionStartEvent, str | None]] = []
        self.root: Node | None = None
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.open_anchors: set[str] = set()
        self.events = self.aliases = self.documents = 0

    def take(self, event: yaml.Event) -> None:
        self.count(1, event)
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    self.stop("yaml-documents", self.at(event), "a spec is one document; another one starts here")
            case yaml.ScalarEvent():
                self.refuse_tag(event)
                self.add(self.scalar(event), event.anchor, 1)
            case yaml.AliasEvent():
                self.alias(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self.refuse_tag(event)
                if len(self.stack) >= MAX_DEPTH:
                    self.stop("too-large", self.at(event), f"a spec is nested at most {MAX_DEPTH} deep")
                kind = "mapping" if isinstance(event, yaml.MappingStartEvent) else "listing"
                self.stack.append((kind, [], event, event.anchor))
                if event.anchor:
                    self.open_anchors.add(event.anchor)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.close(event)

    def count(self, events: int, event: yaml.Event) -> None:
        self.events += events
        if self.events > MAX_EVENTS:
            self.stop(
                "too-large",
                self.at(event),
                f"a spec has at most {MAX_EVENTS:,} entries, aliases counted as what they stand for",
            )

    def stop(self, code: str, span: Span, message: str, help: str = "") -> None:
        self.problems.error(code, span, message, help=help)
        raise _Stop

    def at(self, event: yaml.Event) -> Span:
        start, end = extent(event)
        return self.lines.span(start, max(end, start + 1))

    def refuse_tag(self, event) -> None:
        if event.tag is not None:
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.stop(
                "yaml-tag",
                self.at(event),
                f"a spec has no tags, but here stands `{shown}`",
                help="remove the tag, or quote the text",
            )

    def scalar(self, event: yaml.ScalarEvent) -> Text:
        start, end = extent(event)
        style = event.style or ""
        offsets = character_offsets(self.text[start:end], start, event.value, style)
        return Text(event.value, style, self.lines.span(start, max(end, start + 1)), offsets, self.lines)

    def alias(self, event: yaml.AliasEvent) -> None:
        assert event.anchor is not None  # an alias has a name
        if event.anchor in self.open_anchors:
            self.stop("yaml-cycle", self.at(event), f"`*{event.anchor}` stands inside what it names")
        if event.anchor not in self.anchors:
            help = "quote an expression that starts with `*`"
            self.stop(
                "yaml-quote",
                self.at(event),
                f"YAML reads `*{event.anchor}` as an alias, but no `&{event.anchor}` comes before it",
                help,
            )
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            self.stop("too-large", self.at(event), f"a spec has at most {MAX_ALIASES} aliases")
        node, size = self.anchors[event.anchor]
        self.count(size, event)
        self.add(node, None, size)

    def add(self, node: Node, anchor: str | None, size: int) -> None:
        if anchor:
            self.anchors[anchor] = (node, size)
        if self.stack:
            self.stack[-1][1].append((node, size))
        else:
            self.root = node

    def close(self, event: yaml.Event) -> None:
        kind, children, start, anchor = self.stack.pop()
        (begin, _), (_, end) = extent(start), extent(event)
        span = self.lines.span(begin, max(end, begin + 1))
        nodes = [node for node, _ in children]
        if kind == "mapping":
            node: Node = self.mapping(nodes, span, bool(start.flow_style))
        else:
            node = Listing(tuple(nodes), span, bool(start.flow_style))
        if anchor:
            self.open_anchors.discard(anchor)
        self.add(node, anchor, 1 + sum(size for _, size in children))

    def mapping(self, nodes: list[Node], span: Span, flow: bool) -> Mapping:
        entries: list[Entry] = []
        first: dict[str, Span] = {}
        cut = flow and any(isinstance(n, Text) and n.plain and not balanced(n.value) for n in nodes)
        if cut:
            self.problems.error(
                "yaml-split",
                span,
                "YAML cuts an expression inside `{…}` at its commas and brackets",
                help="write one `name: expression` a line, or quote the expression",
            )
            return Mapping((), span, flow)
        for key, value in zip(nodes[::2], nodes[1::2], strict=False):
            if not isinstance(key, Text):
                self.problems.error("bad-key", key.span, "a key is a plain text, not a list or a mapping")
            elif key.value == "<<" and key.plain:
                self.problems.error("yaml-merge", key.span, "a spec has no merge keys", help="write the entries out")
            elif key.value in first:
                notes = ((first[key.value], "the first one is here"),)
                self.problems.error("duplicate-key", key.span, f"`{key.value}` stands here a second time", notes=notes)
            else:
                first[key.value] = key.span
                entries.append(Entry(key, value))
        return Mapping(tuple(entries), span, flow)

    def finish(self) -> Mapping | None:
        start = Span(1, 1, 1, 2)
        if self.root is None:
            self.problems.error("yaml-documents", start, "the spec is empty", help="start with `lvspec: 1`")
        elif not isinstance(self.root, Mapping):
            self.problems.error("wrong-value", self.root.span, "a spec is a mapping of sections, such as `latent:`")
        else:
            return self.root
        return None


def balanced(text: str) -> bool:
    """Whether every bracket of a text is closed in it."""
    depth = 0
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        if depth < 0:
            return False
    return depth == 0


def _explain(error: yaml.MarkedYAMLError, text: str, lines: LineIndex, problems: Problems) -> None:
    mark = error.problem_mark or error.context_mark
    offset = mark.index if mark else 0
    line = lines.place(offset)[0]
    row = text.split("\n")[line - 1] if line else ""
    said, where = error.problem or "", lines.span(offset, offset + 1)
    context = error.context or ""
    if "\t" in row[: len(row) - len(row.lstrip())] or "'\\t'" in said:
        problems.error(
            "yaml-tab", where, f"a tab stands where YAML wants blanks, in line {line}", help="indent with blanks"
        )
    elif "quoted scalar" in context and error.context_mark and "end of stream" in said:
        start = error.context_mark.index
        problems.error("yaml-syntax", lines.span(start, start + 1), "this quote is never closed")
    elif "flow" in context and "but got" in said and "'['" not in said and "'{'" not in said and error.context_mark:
        start = error.context_mark.index
        problems.error("yaml-syntax", lines.span(start, start + 1), f"this `{text[start : start + 1]}` is never closed")
    elif "flow" in context and "but got" in said:
        problems.error(
            "yaml-split",
            where,
            "YAML ends an expression inside `{…}` or `[…]` at a bracket or comma",
            help="write one `name: expression` a line, or quote the expression",
        )
    elif "mapping values are not allowed" in said:
        problems.error("yaml-quote", where, "a second `:` in one line", help="quote an expression that contains `: `")
    elif (
        "cannot start any token" in said
        or "alias" in context
        or "anchor" in context
        or "tag" in context
        or "directive" in context
    ):
        problems.error(
            "yaml-quote",
            where,
            f"YAML gives `{text[offset : offset + 1]}` here a meaning of its own",
            help="quote the expression",
        )
    else:
        problems.error("yaml-syntax", where, f"YAML cannot be read here: {said}")
