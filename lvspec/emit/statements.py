"""The methods of an emitted class as statements that know what they compute: two that compute the same are alike.

    loc, scale = self.head(state).chunk(2, -1)      loc_2, scale_2 = self.head(h).chunk(2, -1)      if `state` and `h` are

A value is known by the statement that gave it and its place among that statement's names, or by the argument's name that it is.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

OPENING = "class _:\n"
PREPARED = ("batch", "draws", "samples", "parameters")  # arguments, or made of them in a method's first statements
TITLES = ("# guide", "# model", "# objective")  # comments that open a part of a method
LEAVES = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)  # nodes that are a word
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)

Result = str | tuple[int, int]  # an argument; a statement's likeness and the place among its names


@dataclass(frozen=True)
class Statement:
    """lines: its text, comments above it first. title: of its part of the method. gap: whether an empty line precedes it.
    like: the same number for all that compute the same. reads, writes: what its names stand for. given: the arguments that
    it depends on. input: whether it only names what the batch holds. asks: whether it calls another method of the class.
    moves: whether it may stand in another method."""

    lines: tuple[str, ...]
    title: str
    gap: bool
    like: int
    reads: dict[str, Result]
    writes: dict[str, Result]
    given: frozenset[str] = frozenset()
    input: bool = False
    asks: bool = False
    moves: bool = True


@dataclass
class Method:
    """head: its lines up to the first statement that is listed."""

    name: str
    head: list[str]
    statements: list[Statement] = field(default_factory=list)

    def lines(self) -> list[str]:
        rows, title = list(self.head), ""
        for before, statement in zip([None, *self.statements], self.statements, strict=False):
            opens = statement.title not in ("", title)
            if before is not None and (statement.gap or opens and not before.input):
                rows.append("")
            if opens:
                rows.append(f"        {statement.title}")
            title = statement.title or title
            rows.extend(statement.lines)
        return rows


class Reader:
    """Methods of one class, whose statements are compared."""

    def __init__(self):
        self.seen: dict[tuple, int] = {}
        self.names: set[str] = set()  # of the methods

    def likeness(self, key: tuple) -> int:
        return self.seen.setdefault(key, len(self.seen))

    def methods(self, body: str) -> list[Method]:
        """The methods of a class's body."""
        rows = body.split("\n")
        functions = ast.parse(OPENING + body).body[0].body
        self.names = {f.name for f in functions}
        return [self.method(f, rows) for f in functions]

    def method(self, function: ast.FunctionDef, rows: list[str]) -> Method:
        """Lines of the text count from 0 behind the opening one."""
        first = min([function.lineno, *(d.lineno for d in function.decorator_list)]) - 2
        opening = 1  # the docstring
        while opening < len(function.body) and _prepares(function.body[opening]):
            opening += 1
        end = function.body[opening - 1].end_lineno - 1
        method = Method(function.name, rows[first:end])
        now: dict[str, Result] = {a.arg: a.arg for a in (*function.args.args[1:], *function.args.kwonlyargs)}
        now |= {n: n for s in function.body[1:opening] for n in _stored(serialised(s)[0])}
        given: dict[Result, frozenset[str]] = {r: frozenset({r}) for r in now.values()}
        title, repeated = "", Counter()
        for node in _whole(function.body[opening:]):
            above, end = rows[end : node.lineno - 2], node.end_lineno - 1
            titles = [r.strip() for r in above if r.strip() in TITLES]
            title = titles[-1] if titles else title
            comments = [r for r in above if r.strip() and r.strip() not in TITLES]
            lines = (*comments, *rows[node.lineno - 2 : end])
            gap = bool(above) and not above[0] and not titles
            statement = self.statement(node, lines, title, gap, now, given, repeated)
            now.update(statement.writes)
            given.update(dict.fromkeys(statement.writes.values(), statement.given))
            method.statements.append(statement)
        return method

    def statement(self, node: ast.stmt, lines, title: str, gap: bool, now, given, repeated: Counter) -> Statement:
        """now: what each name stands for at this place. repeated: how often the method has computed the same before."""
        nodes, tokens = serialised(node)
        stored = _stored(nodes)
        again = [] if isinstance(node, (ast.Assign, ast.Return)) and not _changed(nodes) else stored
        names = [n for n in nodes if isinstance(n, ast.Name)]
        loaded = dict.fromkeys(n.id for n in names if isinstance(n.ctx, ast.Load))
        reads = {n: now[n] for n in (*loaded, *again) if n in now}
        meaning: list[object] = []  # of the names: a place among those stored, what they stand for, or themselves
        for name in names:
            if name.id in stored and (isinstance(name.ctx, ast.Store) or again):
                meaning.append(stored.index(name.id))
            else:
                meaning.append((now[name.id],) if name.id in now else name.id)
        key = tuple(tokens), tuple(meaning), tuple(now.get(n) for n in again)
        like = self.likeness((*key, repeated[key]))
        repeated[key] += 1
        return Statement(
            lines,
            title,
            gap,
            like,
            reads,
            {n: (like, i) for i, n in enumerate(stored)},
            frozenset().union(*(given[r] for r in reads.values())),
            input=_names_input(node, stored),
            asks=any(isinstance(n, ast.Attribute) and n.attr in self.names for n in nodes),
            moves=isinstance(node, (ast.Assign, ast.AugAssign, ast.If, ast.For))
            and not any(isinstance(n, (ast.Return, ast.Raise)) for n in nodes),
        )


def _whole(nodes: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements; `z = draws.get("z")` and `if z is None: z = ...` are one."""
    before: ast.stmt | None = None
    for node in nodes:
        test = node.test if isinstance(node, ast.If) else None
        if before is not None and isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Is):
            place = {"lineno": before.lineno, "end_lineno": node.end_lineno}
            yield ast.If(ast.Constant(True), [before, node], [], **place)
            before = None
            continue
        if before is not None:
            yield before
        before = node
    if before is not None:
        yield before


def _prepares(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and set(_stored(serialised(node)[0])) <= set(PREPARED)


def _names_input(node: ast.stmt, stored: list[str]) -> bool:
    """Whether it is `x = batch["x"]`."""
    value = node.value if isinstance(node, ast.Assign) else None
    held = isinstance(value, ast.Subscript) and isinstance(value.value, ast.Name) and value.value.id == "batch"
    return held and isinstance(value.slice, ast.Constant) and stored == [value.slice.value]


def serialised(node: ast.AST) -> tuple[list[ast.AST], list[object]]:
    """The nodes, level by level, and what tells such a tree from all others but for the names of its variables."""
    nodes, tokens = [node], []
    for one in nodes:
        tokens.append(type(one))
        for name in one._fields:
            value = getattr(one, name, None)
            parts = value if isinstance(value, list) else (value,)
            tokens.append(len(parts))
            for part in parts:
                if isinstance(part, ast.AST) and not isinstance(part, LEAVES):
                    tokens.append(ast.AST)
                    nodes.append(part)
                elif not isinstance(one, ast.Name):
                    tokens.append(type(part) if isinstance(part, LEAVES) else repr(part))
    return nodes, tokens


def _changed(nodes: list[ast.AST]) -> list[str]:
    """Names of values that are changed in place: `x[i] = y`, `x.append(y)`."""
    found = []
    for n in nodes:
        if isinstance(n, ast.Subscript):
            inner = n.value if isinstance(n.ctx, ast.Store) else None
        elif isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "append":
            inner = n.func.value
        else:
            continue
        if isinstance(inner, ast.Name):
            found.append(inner.id)
    return found


def _stored(nodes: list[ast.AST]) -> list[str]:
    """Names that have another value after a statement of these nodes, each once."""
    hidden = {id(n) for c in nodes if isinstance(c, COMPREHENSIONS) for n in serialised(c)[0]}
    stored = [n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and id(n) not in hidden]
    return list(dict.fromkeys([*(n.id for n in stored), *_changed(nodes)]))
