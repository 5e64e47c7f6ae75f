"""Three assignments in a row that stand in a class a second time are a method that takes what they read.

    rule = self.rules(concat(self.symbols, z))       def computed_of_z(self, z):          rule, word, root = self.computed_of_z(z)
    word = self.words(concat(self.tags, z))    ->        rule = ...                  and
    root = self.roots(concat(self.start, z))             return rule, word, root

`shared` (emit/text/shared.py) has put together before what is computed of the same values; here the values differ.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from lvspec.emit.text.shared import ANNOTATIONS, MOST_LINES
from lvspec.emit.text.text import BODY, INDENT, docstring, wrap

LEAST, MOST = 3, 4  # statements that are worth a method, and arguments that it may have
INPUT = re.compile(r'(\w+)=batch\["\1"\]')
LAST_COMMA = re.compile(r",(?=[)\]}])")


@dataclass(frozen=True)
class Run:
    """Assignments in a row, of one method. texts: what they say."""

    method: ast.FunctionDef
    nodes: tuple[ast.Assign, ...]
    texts: tuple[str, ...]

    def takes(self) -> list[str]:
        """Locals of the method that the run reads."""
        given, found = {a.arg for a in self.method.args.args[1:]} | {*_names([self.method], ast.Store)}, []
        for node in self.nodes:
            found += [n for n in _names([node.value], ast.Load) if n in given]
            given -= {*_names(node.targets, ast.Store)}
        return list(dict.fromkeys(found))

    def gives(self) -> set[str]:
        """Names that it defines and the rest of the method mentions."""
        inside, everywhere = _names(self.nodes, ast.Load), Counter(_names([self.method], ast.Load))
        return {n for n in _names(self.nodes, ast.Store) if everywhere[n] > inside.count(n)}


def without_repeated(body: str) -> str:
    """The class's body, with a method for each such run."""
    lines = [line.split("  #")[0].strip() for line in body.split("\n") if " = " in line]
    in_a_row = [*zip(*(lines[i:] for i in range(LEAST)), strict=False)]
    if len({*in_a_row}) == len(in_a_row) or len(lines) > MOST_LINES:  # none: there is nothing to look for
        return body
    while (pair := longest(body)) is not None:
        body = taken_out(body, *pair)
    return body


def longest(body: str) -> tuple[Run, Run] | None:
    """The longest run that stands in two places and reads the same names there."""
    made, rows = ast.parse(f"class _:\n{body}"), body.split("\n")
    methods = [m for c in made.body if isinstance(c, ast.ClassDef) for m in c.body if isinstance(m, ast.FunctionDef)]
    blocks = [(m, b, _texts(m, b, rows)) for m in methods if m.name != "__init__" for b in _blocks(m.body)]
    often = Counter(tuple(texts[i : i + LEAST]) for _, _, texts in blocks for i in range(len(texts)))
    found: list[tuple[Run, Run]] = []
    seen: dict[tuple[str, ...], list[Run]] = {}
    for run in (r for block in blocks for r in _runs(*block, often)):
        earlier = seen.setdefault(run.texts, [])
        found += [(r, run) for r in earlier if r.takes() == run.takes() and len(run.takes()) <= MOST]
        earlier.append(run)
    return max(found, key=lambda pair: len(pair[0].nodes), default=None)


def _blocks(nodes: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    yield nodes
    for node in nodes:
        for part in ("body", "orelse"):
            if not isinstance(node, ast.FunctionDef):
                yield from _blocks(getattr(node, part, None) or [])


def _texts(method: ast.FunctionDef, block: list[ast.stmt], rows: list[str]) -> list[str]:
    """What each assignment says, however it is broken into lines; within a loop, of those that are one line."""
    texts = []
    for node in block:
        counts = isinstance(node, ast.Assign) and (block is method.body or node.lineno == node.end_lineno)
        lines = rows[node.lineno - 2 : (node.end_lineno or 0) - 1] if counts else []
        text = LAST_COMMA.sub("", "".join("".join(line.split("  #")[0].split()) for line in lines))
        texts.append("" if INPUT.fullmatch(text) else text)
    return texts


def _runs(method: ast.FunctionDef, block: list[ast.stmt], texts: list[str], often: Counter) -> Iterator[Run]:
    """Every run of a block that begins as another one does."""
    apart = [b.lineno - (a.end_lineno or 0) > 2 for a, b in pairwise(block)]  # more between them than a shape
    for i in range(len(block) - LEAST + 1):
        if often[tuple(texts[i : i + LEAST])] < 2:
            continue
        for j in range(i + 1, len(block) + 1):
            if not texts[j - 1] or j > i + 1 and apart[j - 2]:
                break
            if j - i >= LEAST:
                yield Run(method, tuple(n for n in block[i:j] if isinstance(n, ast.Assign)), tuple(texts[i:j]))


def _names(nodes: Iterable[ast.AST], kind: type) -> list[str]:
    return [n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, kind)]


def taken_out(body: str, first: Run, second: Run) -> str:
    """The body with a method for the two runs, in front of the methods that call it."""
    rows = body.split("\n")
    takes, gives = first.takes(), [n for n in _names(first.nodes, ast.Store) if n in first.gives() | second.gives()]
    taken = {*re.findall(r"\w+", body)}
    nested = first.nodes[0].col_offset > len(BODY)
    base = f"computed_of_{'_'.join(takes)}" if len(takes) < 3 else "at_one_site" if nested else "computed_together"
    name = next(n for n in (base, *(f"{base}_{w}" for w in gives)) if n not in taken)
    sites = {
        n for node in ast.walk(first.method) if isinstance(node, ast.For) for n in _names([node.target], ast.Store)
    }
    kinds = {n: ANNOTATIONS.get(n) or ("int" if n in sites else "torch.Tensor") for n in takes}
    listed = ", ".join(["self", *(f"{n}: {kind}" for n, kind in kinds.items())])
    head = wrap(f"def {name}({listed}){' -> tuple' if len(gives) > 1 else ''}:", 1)
    head += docstring(f"What several methods compute of {', '.join(takes)}.", 2)
    place, other = _place(rows, first), _place(rows, second)
    if nested:  # of one line each
        moved = [BODY + text for text in _alike(*([row.strip() for row in rows[s]] for s in (place, other)))]
    else:
        moved = rows[place]
    method = [*head, *moved, *wrap(f"return {', '.join(gives)}", 2), ""]
    for run, where in ((second, other), (first, place)):
        rows[where] = wrap(
            f"{', '.join(gives)} = self.{name}({', '.join(takes)})", run.nodes[0].col_offset // len(INDENT)
        )
    start = min([first.method.lineno, *(d.lineno for d in first.method.decorator_list)]) - 2
    return "\n".join([*rows[:start], *method, *rows[start:]])


def _place(rows: list[str], run: Run) -> slice:
    """Numbers of its rows, the first one's shape above it among them. Line 2 of the tree is the first row."""
    start = run.nodes[0].lineno - 2
    above = rows[start - 1].strip().startswith("# (")
    return slice(start - above, (run.nodes[-1].end_lineno or 0) - 1)


def _alike(here: list[str], there: list[str]) -> list[str]:
    """The rows, without shapes where these differ."""
    here, there = (
        [r for r in rows if not r.startswith("# (")] if len(here) != len(there) else rows for rows in (here, there)
    )
    return [a if a == b else a.split("  # ")[0] for a, b in zip(here, there, strict=True) if a == b or a[0] != "#"]
