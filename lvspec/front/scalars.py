"""YAML texts as numbers, truth values and words, by one rule: a number is what JSON calls one (and `.5`, `1.`), only
`true` and `false` are truth values, all else is text. What other YAML readers would type differently is an error."""

from __future__ import annotations

import re

from lvspec.front.nodes import Text
from lvspec.front.problems import Problems

MAX_DIGITS = 32
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?|-?\.\d+([eE][+-]?\d+)?")
_WHOLE = re.compile(r"-?(0|[1-9]\d*)")
_AMBIGUOUS = (
    (re.compile(r"[-+]?0[0-9_]+(\.\d*)?"), "a leading zero means octal to some readers"),
    (re.compile(r"[-+]?0[xob][0-9a-fA-F_]+"), "another base than ten is read by some readers only"),
    (re.compile(r"[-+]?\d[\d_]*_[\d_]*(\.[\d_]*)?"), "an underscore in a number is read by some readers only"),
    (re.compile(r"[-+]?\d+(:[0-5]?\d)+(\.\d*)?"), "digits with colons mean base sixty to some readers"),
    (re.compile(r"\+\d.*"), "a number has no plus sign"),
    (re.compile(r"[-+]?\.?(inf|nan)", re.IGNORECASE), "infinite and undefined numbers have no use here"),
    (re.compile(r"\d{4}-\d\d?-\d\d?"), "this is a date to some readers"),
)
_YES = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def number(text: Text, problems: Problems, what: str) -> int | float | None:
    """The number that a text is, or None where it is none (then noted)."""
    found = text.value.strip()
    if text.style in ("'", '"') and _NUMBER.fullmatch(found):
        problems.error(
            "wrong-value",
            text.span,
            f"{what} is a number, and quotes make it a text",
            help=f"write `{found[:40]}` without quotes",
        )
        return None
    for pattern, why in _AMBIGUOUS:
        if pattern.fullmatch(found):
            problems.error(
                "bad-number",
                text.span,
                f"`{found[:40]}` is ambiguous: {why}",
                help="write plain decimal digits, e.g. `1000` or `1e-3`",
            )
            return None
    if not _NUMBER.fullmatch(found):
        problems.error("wrong-value", text.span, f"{what} is a number, not `{found[:40]}`")
        return None
    if len(found) > MAX_DIGITS:
        problems.error("bad-number", text.span, f"a number has at most {MAX_DIGITS} characters")
        return None
    if _WHOLE.fullmatch(found):
        return int(found)
    value = float(found)
    if abs(value) == float("inf"):
        problems.error("bad-number", text.span, f"`{found}` is out of range")
        return None
    return value


def truth(text: Text, problems: Problems, what: str) -> bool | None:
    if text.plain and text.value in ("true", "false"):
        return text.value == "true"
    meant = _YES.get(text.value.casefold()) or (
        text.value.casefold() if text.value.casefold() in ("true", "false") else None
    )
    if meant:
        problems.error(
            "write-true-or-false",
            text.span,
            f"{what} is true or false, and `{text.value}` is a text",
            help=f"write `{meant}`",
        )
    else:
        problems.error("wrong-value", text.span, f"{what} is true or false, not `{text.value[:40]}`")
    return None


def empty(text: Text) -> bool:
    """Whether a plain text is YAML's null: nothing, `~` or `null`."""
    return text.plain and text.value in ("", "~", "null", "Null", "NULL")
