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
from functools import cached_property
from itertools import pairwise

from lvspec.emit.text.shared import ANNOTATIONS
from lvspec.emit.text.text import BODY, INDENT, docstring, wrap

LEAST, MOST = 3, 4  # statements that are worth a method, and arguments that it may have
LOOKED_AT = 5000  # assignments, over all rounds: each looks at all of a class, and nobody reads so many
INPUT = re.compile(r'(\w+)=batch\["\1"\]|batch=self\.prepare\(batch\)')  # what a method begins with is no run
LEAVES = ast.Name, ast.Constant, ast.expr_context, ast.operator  # below them stands no name
LAST_COMMA = re.compile(r",(?=[)\]}])")


@dataclass(frozen=True)
class Run:
    """Assignments in a row, of one method."""

    method: ast.FunctionDef
    nodes: tuple[ast.Assign, ...]

    def takes(self) -> list[str]:
        """Locals of the method that the run reads."""
        given, found = {a.arg for a in self.method.args.args[1:]} | {*_names([self.method], ast.Store)}, []
        for node in self.nodes:
            found += [n for n in _names([node.value], ast.Load) if n in given]
            given -= {*_names(node.targets, ast.Store)}
        return list(dict.fromkeys(found))

    def gives(self) -> set[str]:
        """Names that it defines and the rest of the method mentions."""
        inside, everywhere = (Counter(_names(nodes, ast.Load)) for nodes in (self.nodes, [self.method]))
        return {n for n in _names(self.nodes, ast.Store) if everywhere[n] > inside[n]}


def without_repeated(body: str) -> str:
    """The class's body, with a method for each such run."""
    lines = [line.split("  #")[0].strip() for line in body.split("\n") if " = " in line]
    in_a_row = [*zip(*(lines[i:] for i in range(LEAST)), strict=False)]
    if len({*in_a_row}) == len(in_a_row):  # none: there is nothing to look for
        return body
    for _ in range(LOOKED_AT // len(lines)):
        if (pair := longest(body)) is None:
            break
        body = taken_out(body, *pair)
    return body


@dataclass
class BlockStatement:
    """text: what an assignment says, "" for others. ends: whether a run ends after it, since more than a shape follows.
    reads, writes: names, told only of those that are compared, which are few."""

    node: ast.stmt
    text: str
    ends: bool

    @cached_property
    def reads(self) -> list[str]:
        return _names([self.node.value] if isinstance(self.node, ast.Assign) else [], ast.Load)

    @cached_property
    def writes(self) -> list[str]:
        return _names(self.node.targets if isinstance(self.node, ast.Assign) else [], ast.Store)


@dataclass(frozen=True)
class Block:
    """Statements one below the other. given: locals that the method has at all."""

    method: ast.FunctionDef
    statements: list[BlockStatement]
    given: set[str]

    @staticmethod
    def of(method: ast.FunctionDef, nodes: list[ast.stmt], rows: list[str], given: set[str]) -> Block:
        ends = [*(b.lineno - (a.end_lineno or 0) > 2 for a, b in pairwise(nodes)), True]
        return Block(method, [*map(BlockStatement, nodes, _texts(method, nodes, rows), ends)], given)

    def run(self, start: int, length: int) -> Run:
        nodes = [s.node for s in self.statements[start : start + length]]
        return Run(self.method, tuple(n for n in nodes if isinstance(n, ast.Assign)))


def longest(body: str) -> tuple[Run, Run] | None:
    """The longest run that stands in two places and reads the same names there."""
    made, rows = ast.parse(f"class _:\n{body}"), body.split("\n")
    methods = [m for c in made.body if isinstance(c, ast.ClassDef) for m in c.body if isinstance(m, ast.FunctionDef)]
    blocks = []
    for method in (m for m in methods if m.name != "__init__"):
        given = {a.arg for a in method.args.args[1:]} | {*_names([method], ast.Store)}
        blocks += [Block.of(method, b, rows, given) for b in _blocks(method.body) if len(b) >= LEAST]
    begun: dict[tuple[str, ...], list[tuple[Block, int]]] = {}
    best, found = LEAST - 1, None
    for block in blocks:
        texts = [s.text for s in block.statements]
        for i in range(len(texts) - LEAST + 1):
            start = tuple(texts[i : i + LEAST])
            if not all(start):
                continue
            earlier = begun.setdefault(start, [])
            for other, at in earlier:
                length = _alike_from(other, at, block, i)
                if length > best:
                    best, found = length, (other.run(at, length), block.run(i, length))
            earlier.append((block, i))
    return found


def _alike_from(one: Block, i: int, other: Block, j: int) -> int:
    """How many statements from these on say the same and take the same few names."""
    most = j - i if one is other else None
    taken: tuple[dict[str, None], dict[str, None]] = {}, {}
    made: set[str] = set()
    length = 0
    for k, (a, b) in enumerate(zip(one.statements[i:][:most], other.statements[j:], strict=False)):
        if not a.text or a.text != b.text:
            break
        for block, statement, takes in ((one, a, taken[0]), (other, b, taken[1])):
            takes |= dict.fromkeys(n for n in statement.reads if n in block.given and n not in made)
        made |= {*a.writes}
        if len(taken[0]) > MOST:
            break
        if list(taken[0]) == list(taken[1]):
            length = k + 1
        if a.ends or b.ends:
            break
    return length


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
        bare = ["".join(line.split("  #")[0].split()) for line in lines]
        if (
            len(bare) > 1 and bare[0].endswith("=(") and bare[-1] == ")"
        ):  # there for the break, or for the comment behind it
            bare = [bare[0][:-1], *bare[1:-1]]
        text = LAST_COMMA.sub("", "".join(bare))
        texts.append("" if INPUT.fullmatch(text) else text)
    return texts


def _names(nodes: Iterable[ast.AST], kind: type) -> list[str]:
    """Names that are read (`ast.Load`) or assigned (`ast.Store`), node for node, the outer ones first."""
    found = []
    for level in ([node] for node in nodes):
        while level:
            found += [n.id for n in level if isinstance(n, ast.Name) and isinstance(n.ctx, kind)]
            level = [below for n in level if not isinstance(n, LEAVES) for below in ast.iter_child_nodes(n)]
    return found


def taken_out(body: str, first: Run, second: Run) -> str:
    """The body with a method for the two runs, in front of the methods that call it."""
    rows = body.split("\n")
    read_on = first.gives() | second.gives()
    takes, gives = first.takes(), [n for n in dict.fromkeys(_names(first.nodes, ast.Store)) if n in read_on]
    taken = {*re.findall(r"\w+", body)}
    nested = first.nodes[0].col_offset > len(BODY)
    base = f"computed_of_{'_'.join(takes)}" if len(takes) < 3 else "at_one_site" if nested else "computed_together"
    name = next(n for n in (base, *(f"{base}_{w}" for w in gives)) if n not in taken)
    loops = [node for block in _blocks(first.method.body) for node in block if isinstance(node, ast.For)]
    sites = {*_names([loop.target for loop in loops], ast.Store)}
    kinds = {n: ANNOTATIONS.get(n) or ("int" if n in sites else "torch.Tensor") for n in takes}
    listed = ", ".join(["self", *(f"{n}: {kind}" for n, kind in kinds.items())])
    head = wrap(f"def {name}({listed}){' -> tuple' if len(gives) > 1 else ''}:", 1)
    head += docstring(f"Functions of {', '.join(takes)} that several methods share.", 2)
    place, other = _place(rows, first), _place(rows, second)
    if nested:  # of one line each
        moved = [BODY + text for text in _alike(*([row.strip() for row in rows[s]] for s in (place, other)))]
    else:
        moved = _told_of_both(rows[place], rows[other])
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


def _told_of_both(here: list[str], there: list[str]) -> list[str]:
    """The rows here, each without its shape where another one stands there."""
    bare = [[row.split("  # ")[0] for row in rows] for rows in (here, there)]
    if bare[0] != bare[1]:
        return here
    return [a if a == b else short for a, b, short in zip(here, there, bare[0], strict=True)]


def _alike(here: list[str], there: list[str]) -> list[str]:
    """The rows, without shapes where these differ."""
    here, there = (
        [r for r in rows if not r.startswith("# (")] if len(here) != len(there) else rows for rows in (here, there)
    )
    return [a if a == b else a.split("  # ")[0] for a, b in zip(here, there, strict=True) if a == b or a[0] != "#"]
