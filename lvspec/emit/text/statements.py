"""The methods of an emitted class as statements that know what they compute: two that compute the same are alike.

    loc, scale = self.head(state).chunk(2, -1)      loc_2, scale_2 = self.head(h).chunk(2, -1)      if `state` and `h` are

A value is known by the statement that gave it and its place among that statement's names, or by the argument's name that it is.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from lvspec.emit.text.text import BODY, INDENT, statements_of

SIGNATURES = (f"{INDENT}def ", f"{INDENT})")  # how the last row of a signature begins
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


@dataclass(frozen=True)
class Form:
    """What a statement's text says, whatever its names stand for. shape: the same for all that differ in these alone.
    names: (name, whether it is read), level by level. stored: those that have another value behind the statement.
    again: those of them whose value before counts, too. attributes: `a` of each `x.a`. input, moves: as a statement has them.
    prepares: whether it is one of a method's first statements. fills: whether it is `if z is None:`."""

    shape: str
    names: list[tuple[str, bool]]
    stored: list[str]
    again: list[str]
    attributes: frozenset[str]
    input: bool
    moves: bool
    prepares: bool
    fills: bool


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


class StatementReader:
    """Methods of one class, whose statements are compared."""

    def __init__(self):
        self.seen: dict[tuple, int] = {}
        self.names: set[str] = set()  # of the methods

    def likeness(self, key: tuple) -> int:
        return self.seen.setdefault(key, len(self.seen))

    def methods(self, body: str) -> list[Method]:
        """The methods of a class's body."""
        rows = body.split("\n")
        begins = [i for i, row in enumerate(rows) if row.startswith((f"{INDENT}def ", f"{INDENT}@"))]
        begins = [i for i in begins if not rows[i - 1].startswith(f"{INDENT}@")]
        texts = [rows[i:j] for i, j in zip(begins, [*begins[1:], len(rows)], strict=True)]
        heads = [next(i for i, r in enumerate(t) if r.startswith(SIGNATURES) and r.endswith(":")) + 1 for t in texts]
        signatures = [signature("\n".join(t[:head])) for t, head in zip(texts, heads, strict=True)]
        self.names = {name for name, _ in signatures}
        return [self.method(*s, t, head) for s, t, head in zip(signatures, texts, heads, strict=True)]

    def method(self, name: str, arguments: tuple[str, ...], rows: list[str], head: int) -> Method:
        """head: how many rows the signature takes."""
        text = "\n".join(rows[head:])
        if text.startswith(f'{BODY}"""'):
            head += text.count("\n", 0, text.index('"""', len(BODY) + 3)) + 1
        places = [range(head + r.start, head + r.stop) for r in statements_of(rows[head:])]
        forms = [form("\n".join(row[len(BODY) :] for row in rows[r.start : r.stop])) for r in places]
        now: dict[str, Result] = dict(zip(arguments, arguments, strict=True))
        opening = 0
        while opening < len(forms) and forms[opening].prepares:
            now |= {n: n for n in forms[opening].stored}
            head, opening = places[opening].stop, opening + 1
        method = Method(name, rows[:head])
        given: dict[Result, frozenset[str]] = {n: frozenset({n}) for n in now}
        title, repeated, end = "", Counter[str](), head
        for place, one in _whole(rows, places[opening:], forms[opening:]):
            above, end = rows[end : place.start], place.stop
            titles = [r.strip() for r in above if r.strip() in TITLES]
            title = titles[-1] if titles else title
            comments = [r for r in above if r.strip() and r.strip() not in TITLES]
            lines = (*comments, *rows[place.start : place.stop])
            gap = bool(above) and not above[0] and not titles
            statement = self.statement(one, lines, title, gap, now, given, repeated)
            now.update(statement.writes)
            given.update(dict.fromkeys(statement.writes.values(), statement.given))
            method.statements.append(statement)
        return method

    def statement(self, form: Form, lines, title: str, gap: bool, now, given, repeated: Counter) -> Statement:
        """now: what each name stands for at this place. repeated: how often the method has computed the same before."""
        loaded = dict.fromkeys(n for n, read in form.names if read)
        reads = {n: now[n] for n in (*loaded, *form.again) if n in now}
        meaning: list[object] = []  # of the names: a place among those stored, what they stand for, or themselves
        for name, read in form.names:
            if name in form.stored and (not read or form.again):
                meaning.append(form.stored.index(name))
            else:
                meaning.append((now[name],) if name in now else name)
        key = form.shape, tuple(meaning), tuple(now.get(n) for n in form.again)
        like = self.likeness((*key, repeated[key]))
        repeated[key] += 1
        return Statement(
            lines,
            title,
            gap,
            like,
            reads,
            {n: (like, i) for i, n in enumerate(form.stored)},
            frozenset().union(*(given[r] for r in reads.values())),
            form.input,
            not form.attributes.isdisjoint(self.names),
            form.moves,
        )


@lru_cache(maxsize=1024)
def signature(text: str) -> tuple[str, tuple[str, ...]]:
    """The name of a method, and those of its arguments."""
    (holder,) = ast.parse(f"class _:\n{text}\n{BODY}pass").body
    function = holder.body[0] if isinstance(holder, ast.ClassDef) else None
    assert isinstance(function, ast.FunctionDef)
    return function.name, tuple(a.arg for a in (*function.args.args[1:], *function.args.kwonlyargs))


@lru_cache(maxsize=16384)
def form(text: str) -> Form:
    """Of one statement, or of two that are one."""
    found = ast.parse(text).body
    node = found[0] if len(found) == 1 else ast.If(ast.Constant(True), found, [])
    nodes, tokens = serialised(node)
    stored = _stored(nodes)
    moves = isinstance(node, (ast.Assign, ast.AugAssign, ast.If, ast.For))
    test = node.test if isinstance(node, ast.If) else None
    return Form(
        shape=" ".join(tokens),
        names=[(n.id, isinstance(n.ctx, ast.Load)) for n in nodes if isinstance(n, ast.Name)],
        stored=stored,
        again=[] if isinstance(node, (ast.Assign, ast.Return)) and not _changed(nodes) else stored,
        attributes=frozenset(n.attr for n in nodes if isinstance(n, ast.Attribute)),
        input=_names_input(node, stored),
        moves=moves and not any(isinstance(n, (ast.Return, ast.Raise)) for n in nodes),
        prepares=isinstance(node, ast.Assign) and set(stored) <= set(PREPARED),
        fills=isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Is),
    )


def _whole(rows: list[str], places: list[range], forms: list[Form]) -> Iterator[tuple[range, Form]]:
    """The statements; `z = draws.get("z")` and `if z is None: z = ...` are one."""
    i = 0
    while i < len(places):
        if i + 1 < len(places) and forms[i + 1].fills:
            both = range(places[i].start, places[i + 1].stop)
            yield both, form("\n".join(row[len(BODY) :] for row in rows[both.start : both.stop]))
            i += 2
        else:
            yield places[i], forms[i]
            i += 1


def _names_input(node: ast.stmt, stored: list[str]) -> bool:
    """Whether it is `x = batch["x"]`."""
    value = node.value if isinstance(node, ast.Assign) else None
    if not isinstance(value, ast.Subscript) or not isinstance(value.value, ast.Name) or value.value.id != "batch":
        return False
    return isinstance(value.slice, ast.Constant) and stored == [value.slice.value]


def serialised(node: ast.AST) -> tuple[list[ast.AST], list[str]]:
    """The nodes, level by level, and what tells such a tree from all others but for the names of its variables."""
    nodes, tokens = [node], []
    for one in nodes:
        tokens.append(type(one).__name__)
        for name in one._fields:
            value = getattr(one, name, None)
            parts = value if isinstance(value, list) else (value,)
            tokens.append(str(len(parts)))
            for part in parts:
                if isinstance(part, ast.AST) and not isinstance(part, LEAVES):
                    tokens.append("*")
                    nodes.append(part)
                elif not isinstance(one, ast.Name):
                    tokens.append(type(part).__name__ if isinstance(part, LEAVES) else repr(part))
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
