"""`lvspec: 1`, `name:`, `class:`, `description:`: what the model is called. A missing description is the comment that opens the file."""

from __future__ import annotations

import keyword
from dataclasses import dataclass

from lvspec.errors import Span
from lvspec.front import scalars
from lvspec.front.names import check_name, class_name
from lvspec.front.nodes import Mapping, Text
from lvspec.front.problems import Problems

MAX_DESCRIPTION = 2_000


@dataclass(frozen=True)
class Header:
    name: str
    class_name: str
    description: str


def read_header(root: Mapping, text: str, stem: str, problems: Problems) -> Header:
    _version(root, problems)
    name = _text(root, "name", problems)
    if name is not None:
        check_name(name.value, name.span, problems)
    found = name.value if name is not None else _from_file(stem)
    cls = _text(root, "class", problems)
    if cls is not None and (
        not cls.value.isidentifier()
        or not cls.value.isascii()
        or keyword.iskeyword(cls.value)
        or cls.value in ("Model", "Objective", "Tensor")
    ):
        problems.error(
            "bad-name",
            cls.span,
            f"`{cls.value[:60]}` cannot be the name of the class",
            help=f"e.g. `class: {class_name(found) or 'Example'}`",
        )
    description = _text(root, "description", problems)
    said = description.value.strip() if description is not None else _opening_comment(text)
    return Header(found, cls.value if cls is not None else class_name(found), said[:MAX_DESCRIPTION])


def _version(root: Mapping, problems: Problems) -> None:
    version = root.get("lvspec")
    if version is None:
        span = root.entries[0].key.span if root.entries else Span(1, 1, 1, 2)
        problems.error(
            "missing-version",
            span,
            "the spec does not say which version of the language it is written in",
            help="start it with `lvspec: 1`",
        )
    elif not isinstance(version, Text) or version.value != "1":
        problems.error(
            "unknown-version", version.span, "this lvspec reads version 1 of the language", help="write `lvspec: 1`"
        )


def _text(root: Mapping, key: str, problems: Problems) -> Text | None:
    node = root.get(key)
    if node is None:
        return None
    if isinstance(node, Text) and not scalars.empty(node):
        return node
    problems.error("wrong-value", node.span, f"`{key}:` is a text")
    return None


def _from_file(stem: str) -> str:
    """A name for a spec that has none: that of its file, as far as it can be one."""
    kept = "".join(c if c.isascii() and c.isalnum() else "_" for c in stem.split(".")[0]).strip("_")
    while "__" in kept:
        kept = kept.replace("__", "_")
    return kept if kept[:1].isalpha() else f"model_{kept}".rstrip("_")


def _opening_comment(text: str) -> str:
    lines = []
    for line in text.split("\n"):
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(line for line in lines if not line.startswith("yaml-language-server:")).strip()
