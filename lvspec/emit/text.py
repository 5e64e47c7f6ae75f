"""Python text, already as the formatter would leave it: at most 120 columns, arguments broken one a line."""

from __future__ import annotations

WIDTH = 120
INDENT = "    "


def _split_arguments(inside: str) -> list[str]:
    """Top-level arguments of a call's text."""
    parts, depth, start, quote = [], 0, 0, ""
    for i, c in enumerate(inside):
        if quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(inside[start:i].strip())
            start = i + 1
    tail = inside[start:].strip()
    return parts + ([tail] if tail else [])


def _last_bracket(code: str) -> tuple[int, int] | None:
    """The span of the bracket that closes at the end of the line, if there is one."""
    if not code or code[-1] not in ")]}":
        return None
    depth, quote = 0, ""
    for i in range(len(code) - 1, -1, -1):
        c = code[i]
        if quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c in ")]}":
            depth += 1
        elif c in "([{":
            depth -= 1
            if depth == 0:
                return i, len(code) - 1
    return None


def wrap(code: str, indent: int) -> list[str]:
    """One statement as one or more lines."""
    pad = INDENT * indent
    if len(pad) + len(code) <= WIDTH:
        return [pad + code]
    ends_block = code.endswith(":")
    bracket = _last_bracket(code.rstrip(":"))
    if bracket is None:
        head, _, tail = code.partition(" = ")
        if not tail:
            return [pad + code]
        return [f"{pad}{head} = (", *wrap(tail, indent + 1), pad + ")"]
    opening, closing = bracket
    inside = code[opening + 1 : closing]
    head, foot = code[: opening + 1], code[closing] + (":" if ends_block else "")
    if len(pad) + len(INDENT) + len(inside) <= WIDTH:
        return [pad + head, pad + INDENT + inside, pad + foot]
    rows = [pad + head]
    for argument in _split_arguments(inside):
        lines = wrap(argument, indent + 1)
        lines[-1] += ","
        rows.extend(lines)
    return [*rows, pad + foot]


def statement(code: str, comment: str, indent: int) -> list[str]:
    """A statement with its comment behind it, or above where the line is full."""
    rows = wrap(code, indent)
    if not comment:
        return rows
    if len(rows) == 1 and len(rows[0]) + 4 + len(comment) <= WIDTH:
        return [f"{rows[0]}  # {comment}"]
    return [f"{INDENT * indent}# {comment}", *rows]
