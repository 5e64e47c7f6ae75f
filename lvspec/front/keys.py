"""One key of a settings section: its value by the kind that its table gives, or its default and a note of what is wrong."""

from __future__ import annotations

import re
from typing import Any

from lvspec.front import scalars
from lvspec.front.declarations import entries
from lvspec.front.names import did_you_mean
from lvspec.front.nodes import Entry, Listing, Node, Text
from lvspec.front.problems import Problems
from lvspec.ir.options import Key, key_of


def read_value(entry: Entry, key: Key, problems: Problems) -> object:
    """The value of a key by its kind, or its default where it is wrong (then noted)."""
    what = f"`{key.name}`"
    node = entry.value
    if key.kind in ("range", "texts"):
        return (_range if key.kind == "range" else _texts)(node, what, problems)
    if not isinstance(node, Text):
        problems.error("wrong-setting", node.span, f"{what} has a single value")
        return key.default
    if scalars.empty(node):
        problems.error(
            "missing-value",
            entry.key.span,
            f"{what} has no value",
            help=f"{key.meaning}; leave the line out for the default" if key.default is not None else key.meaning,
        )
        return key.default
    if key.kind in ("integer", "number"):
        return _number(node, key, what, problems)
    if key.kind == "truth":
        found = scalars.truth(node, problems, what)
        return key.default if found is None else found
    if key.kind == "column":
        return int(node.value) if node.plain and re.fullmatch(r"[1-9]\d{0,5}", node.value) else node.value
    if key.kind == "choice" and node.value not in key.choices:
        problems.error(
            "wrong-setting",
            node.span,
            f"{what} is one of {', '.join(key.choices)}",
            help=did_you_mean(node.value, key.choices),
        )
        return key.default
    return node.value


def _number(node: Text, key: Key, what: str, problems: Problems) -> object:
    value = scalars.number(node, problems, what)
    if value is None:
        return key.default
    if key.kind == "integer" and not isinstance(value, int):
        problems.error("wrong-setting", node.span, f"{what} is a whole number")
        return key.default
    if wanted := key.outside(value):
        problems.error("wrong-setting", node.span, f"{what} must be {wanted}")
        return key.default
    return value if key.kind == "integer" else float(value)


def _range(node: Node, what: str, problems: Problems) -> str | None:
    """`1-64`: columns by number from 1."""
    match = re.fullmatch(r"([1-9]\d{0,5})-([1-9]\d{0,5})", node.value) if isinstance(node, Text) else None
    if match is None or int(match[1]) > int(match[2]):
        problems.error(
            "wrong-setting",
            node.span,
            f"{what} are numbers that count from 1",
            help="write the first and the last, e.g. `1-64`",
        )
        return None
    return match[0]


def _texts(node: Node, what: str, problems: Problems) -> tuple[str, ...] | None:
    if not isinstance(node, Listing) or not node.items or not all(isinstance(i, Text) for i in node.items):
        problems.error("wrong-setting", node.span, f"{what} are a list of texts", help="write `[first, second]`")
        return None
    return tuple(i.value for i in node.items if isinstance(i, Text))


def read_table(
    section: Node | None, name: str, table: tuple[Key, ...], problems: Problems, also: tuple[str, ...] = ()
) -> tuple[dict[str, Any], list[Entry]]:
    """Every key of a table, read or default, and the entries that the table does not know."""
    found = {k.name: k.default for k in table}
    rest = []
    for entry in entries(section, name, problems):
        key = key_of(table, entry.key.value)
        if key is None:
            rest.append(entry)
        elif key.kind not in ("weight", "schedule", "free", "rules", "call"):
            found[key.name] = read_value(entry, key, problems)
        else:
            rest.append(entry)
    return found, rest


def unknown_key(entry: Entry, section: str, known: tuple[str, ...], problems: Problems) -> None:
    help = did_you_mean(entry.key.value, known, f"it has {', '.join(known)}")
    problems.error("unknown-setting", entry.key.span, f"`{section}` has no key `{entry.key.value[:60]}`", help=help)
