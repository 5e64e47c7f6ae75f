"""A spec that goes wrong, made as short as it still goes wrong: entries are left out, expressions replaced by their parts.

    h[t]: rnn(words(x[<t]))        x[t]: Categorical(logits=f(h[t]) + w[z])    ->    x[t]: Categorical(logits=w[z])

What is written at the end has one line a section: `latent: {z: Categorical(logits=w)}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import yaml

from lvspec.verify.random_specs.judge import judged
from lvspec.verify.random_specs.text import matched

Sections = dict[str, dict[str, str]]
Wrong = Callable[[str], str]
DECLARED = ("sizes", "plates", "params", "networks", "given", "let")
PLAIN = re.compile(r"[\w.\-]+|\[[\w, ]*\]|[\w]+\([\w]*\)|-?\d+")


def shortened(text: str, wrong: Wrong = judged, tries: int = 400) -> str:
    """The shortest text found that goes wrong in the same way; `tries` is how many are judged at most."""
    best, kind, left = read(text), wrong(text), tries
    assert kind, "nothing goes wrong with this spec"
    moved = True
    while moved:
        moved = False
        for candidate in candidates(best):
            if left == 0:
                return written(best)
            if size(candidate) >= size(best):
                continue
            left -= 1
            if wrong(written(candidate)) == kind:
                best, moved = candidate, True
                break
    return written(best)


def size(spec: Sections) -> int:
    """What is made small: the length of all that stands in it."""
    return sum(len(k) + len(v) + 4 for entries in spec.values() for k, v in entries.items())


# ---------------------------------------------------------------- smaller specs
def candidates(spec: Sections) -> Iterator[Sections]:
    """Specs with less in them, those that lack most first."""
    for section in reversed(list(spec)):
        if section not in ("sizes", "plates", "params", "networks") and len(spec[section]) > 0:
            yield used({s: e for s, e in spec.items() if s != section})
    for section, entries in spec.items():
        for key in entries if section not in ("sizes", "params", "networks") else ():
            yield used({**spec, section: {k: v for k, v in entries.items() if k != key}})
    for section, entries in spec.items():
        for key, value in entries.items():
            for simpler in _simpler(section, value):
                yield used({**spec, section: {**entries, key: simpler}})


def used(spec: Sections) -> Sections:
    """Without declarations that nothing reads."""
    while True:
        gone = [(s, k) for s in DECLARED for k in spec.get(s, {}) if not _read(spec, s, k)]
        if not gone:
            return {s: e for s, e in spec.items() if e}
        spec = {s: {k: v for k, v in e.items() if (s, k) not in gone} for s, e in spec.items()}


def _read(spec: Sections, section: str, key: str) -> bool:
    name = matched(re.match(r"\w+", key))[0]
    rest = [(k, v) for s, e in spec.items() for k, v in e.items() if (s, k) != (section, key)]
    return any(re.search(rf"\b{name}\b", f"{k.partition('[')[2]} {v}") for k, v in rest)


def _simpler(section: str, value: str) -> Iterator[str]:
    """The same with one part less."""
    if section in ("sizes", "plates"):
        return
    if section == "params":
        yield from [m[1] for m in [re.search(r"shape: (\[.*?\])", value)] if m]
        return
    for begin, end, inner in _groups(value):
        name = matched(re.search(r"[\w.]*$", value[:begin]))[0]
        for part in _split(inner, ","):
            argument = part.partition("=")[2] if re.match(r"\s*\w+=[^=]", part) else part
            if name and value[begin - len(name) : begin] == name:
                yield value[: begin - len(name)] + argument.strip() + value[end:]
        terms = _split(inner, "+")
        for i in range(len(terms)) if len(terms) > 1 else ():
            yield value[: begin + 1] + " + ".join(t.strip() for j, t in enumerate(terms) if j != i) + value[end - 1 :]
        arguments = _split(inner, ",")
        for i in range(len(arguments)) if len(arguments) > 1 else ():
            yield (
                value[: begin + 1] + ", ".join(a.strip() for j, a in enumerate(arguments) if j != i) + value[end - 1 :]
            )
    for cut in (" through ", " where ", " with "):
        if cut in value:
            yield value.partition(cut)[0]
    for operator in (" * ", " / ", " - ", " ** "):
        for part in _split(value, operator.strip()) if operator in value else ():
            yield part.strip()


def _groups(text: str) -> Iterator[tuple[int, int, str]]:
    """Every pair of brackets: (begin, behind its end, what is inside)."""
    open_at = []
    for i, c in enumerate(text):
        if c == "(":
            open_at.append(i)
        elif c == ")" and open_at:
            begin = open_at.pop()
            yield begin, i + 1, text[begin + 1 : i]


def _split(text: str, by: str) -> list[str]:
    """Parts at the top level."""
    parts, depth = [""], 0
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        if depth == 0 and c == by:
            parts.append("")
        else:
            parts[-1] += c
    return parts


# ---------------------------------------------------------------- reading and writing
def read(text: str) -> Sections:
    """The sections of a spec, values as texts."""
    found: Sections = {}
    for section, entries in yaml.load(text, yaml.BaseLoader).items():
        if isinstance(entries, dict):
            found[section] = {k: _text(v) for k, v in entries.items()}
    return found


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_quoted(_text(v))}" for k, v in value.items()) + "}"
    return f"[{', '.join(value)}]" if isinstance(value, list) else str(value)


def written(spec: Sections) -> str:
    """One line a section."""
    rows = ["lvspec: 1"]
    for section, entries in spec.items():
        inside = ", ".join(f"{_quoted(k)}: {_quoted(v)}" for k, v in entries.items())
        rows.append(f"{section}: {{{inside}}}")
    return "\n".join(rows) + "\n"


def _quoted(text: str) -> str:
    return text if PLAIN.fullmatch(text) or text.startswith("{") else f'"{text}"'
