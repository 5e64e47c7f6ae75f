"""A method that gives more than two values gives them by name.

    def guide(self, batch) -> tuple:           class Guide(NamedTuple):                 def guide(self, batch) -> Guide:
        ...                                        \"\"\"What `guide` gives.\"\"\"                ...
        return state, log_q_c, q_z        ->                                                return Guide(state, log_q_c, q_z)
                                                   state: torch.Tensor  # (B, H)
    _, log_q_c, q_z = self.guide(batch)            log_q_c: torch.Tensor  # (B, K)      guide = self.guide(batch)
    z = q_z.draw(noise)                            q_z: Normal                          z = guide.q_z.draw(noise)

An argument of a distribution that is there as well is read off it: `guide.q_z.loc`. Which methods give several values is settled
before, in emit/text/shared.py and emit/text/repeated.py.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lvspec.emit.text.text import INDENT, statement, wrap
from lvspec.ir.distributions import FAMILIES

MOST_IN_A_TUPLE = 2
CALLED = {"at_draws": "drawn"}  # what the value of a method is called, where not as the method
WORD = re.compile(r"\w+")
SHAPE = re.compile(r"\([^()]*\)")
TENSOR = "torch.Tensor"
GUIDE = "_guide"  # functions that make q of whole labellings
CLASS = "class _:\n"  # what a body is parsed in: its rows are numbered from the next line on
BEFORE, AFTER = tuple("([{"), tuple(")]}")


@dataclass(frozen=True)
class NamedValues:
    """What one method gives. values: their names in order; fields: name -> annotation with its shape; parts: of values that are
    no fields, where they are read (`q_z.loc`)."""

    method: str
    name: str
    values: tuple[str, ...]
    fields: dict[str, str]
    parts: dict[str, str]

    def lines(self) -> list[str]:
        head = [f"class {self.name}(NamedTuple):", f'{INDENT}"""What `{self.method}` gives."""', ""]
        return [*head, *(f"{INDENT}{field}: {kind}" for field, kind in self.fields.items())]


@dataclass(frozen=True)
class Spelling:
    """How a name is read in statements that begin on these lines."""

    code: str
    first: int
    last: int


def with_records(body: str, taken: set[str]) -> tuple[list[str], str]:
    """Declarations of classes, and the class's body that makes and reads them. taken: names that the file has for something else."""
    if " -> tuple:" not in body:
        return [], body
    rows = body.split("\n")
    methods = [m for m in _parsed(body) if isinstance(m, ast.FunctionDef)]
    kinds: dict[str, list[str]] = {}
    by_method: dict[str, NamedValues] = {}
    for method in methods:
        if record := _record(method, rows, kinds, taken, by_method):
            by_method[method.name] = record
    for method in reversed(methods):
        _read_by_name(method, rows, by_method)
    return ["\n".join(r.lines()) for r in by_method.values()], "\n".join(rows)


def _parsed(body: str) -> list[ast.stmt]:
    (made,) = ast.parse(CLASS + body).body
    assert isinstance(made, ast.ClassDef)
    return made.body


def _record(
    method: ast.FunctionDef,
    rows: list[str],
    kinds: dict[str, list[str]],
    taken: set[str],
    records: dict[str, NamedValues],
) -> NamedValues | None:
    """The record of a method whose values are too many for a tuple. kinds: annotations of what each method gives; records: of those
    before it."""
    value = method.body[-1].value if isinstance(method.body[-1], ast.Return) else None
    given = value.elts if isinstance(value, ast.Tuple) else [value]
    names = [e.id for e in given if isinstance(e, ast.Name)]
    made: dict[str, str] = {}
    for node in _statements(method.body):
        if isinstance(node, ast.Assign):
            made |= {t: kind for t, kind in _kinds(node, rows, kinds).items() if t in names and t not in made}
    kinds[method.name] = [made.get(n, TENSOR) for n in names]
    several = isinstance(method.returns, ast.Name) and method.returns.id == "tuple"
    if not several or len(names) <= MOST_IN_A_TUPLE:
        return None
    base = "".join(word.capitalize() for word in CALLED.get(method.name, method.name).split("_"))
    name = next(n for n in (base, *(f"{base}{i}" for i in range(2, len(taken) + 3))) if n not in taken)
    taken.add(name)
    parts = _parts(method, names, records)
    fields = {n: kind for n, kind in zip(names, kinds[method.name], strict=True) if n not in parts}
    return NamedValues(method.name, name, tuple(names), fields, parts)


def _parts(method: ast.FunctionDef, names: list[str], records: dict[str, NamedValues]) -> dict[str, str]:
    """Values that are arguments of a distribution which is a value as well, and where it has them: `q_z.loc`."""
    stores, found = Mentions(method).stores, {}
    for node in _statements(method.body):
        if not isinstance(node, ast.Assign):
            continue
        made, targets = node.value.func if isinstance(node.value, ast.Call) else None, _targets(node)
        pairs: list[tuple[str, str, str]] = []  # a value, the distribution, what it calls the value
        if isinstance(made, ast.Name) and made.id in FAMILIES and isinstance(node.value, ast.Call):
            arguments = FAMILIES[made.id].arguments
            if not any(a.one_of for a in arguments):  # a class has logits where a spec has probs
                given = zip(node.value.args, arguments, strict=False)
                pairs = [(e.id, targets[0], a.name) for e, a in given if isinstance(e, ast.Name)]
        elif (inner := records.get(_called(node) or "")) is not None and len(targets) == len(inner.values):
            here = dict(zip(inner.values, targets, strict=True))
            pairs = [(here[n], here[p.split(".")[0]], p.split(".")[1]) for n, p in inner.parts.items()]
        for value, whole, argument in pairs:
            if {value, whole} <= {*names} and len(stores[value]) == len(stores[whole]) == 1:
                found[value] = f"{whole}.{argument}"
    return found


def _kinds(node: ast.Assign, rows: list[str], kinds: dict[str, list[str]]) -> dict[str, str]:
    """The annotations of what a statement gives names to, with the shapes that it tells."""
    targets = _targets(node)
    if (called := kinds.get(_called(node) or "")) is not None and len(called) == len(targets):
        return dict(zip(targets, called, strict=True))
    made = node.value.func if isinstance(node.value, ast.Call) else None
    if isinstance(made, ast.Name) and made.id[0].isupper():
        return dict.fromkeys(targets, made.id)
    if isinstance(made, ast.Name) and made.id.endswith(GUIDE):
        return dict.fromkeys(targets, f"object  # {made.id[: -len(GUIDE)]}")
    first, last = node.lineno - 2, (node.end_lineno or 0) - 2
    above = rows[first - 1].strip()
    told = rows[last].partition("  # ")[2] or (above if above.startswith("# (") else "")
    shapes = SHAPE.findall(told)
    shapes = shapes[:1] * len(targets) if " each" in told else shapes
    return {t: f"{TENSOR}  # {shape}" for t, shape in zip(targets, shapes, strict=False)}


def _targets(node: ast.Assign) -> list[str]:
    found = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else node.targets
    return [t.id for t in found if isinstance(t, ast.Name)]


# ---------------------------------------------------------------- the methods that make and read them
def _read_by_name(method: ast.FunctionDef, rows: list[str], records: dict[str, NamedValues]) -> None:
    """The method's rows, with values read as attributes of what a call gives. Statements are replaced from the last one up."""
    own = records.get(method.name)
    if own is None and not any(_called(n) in records for n in _statements(method.body)):
        return
    mentions = Mentions(method)
    taken = {*mentions.loads, *mentions.stores}
    spelled: defaultdict[str, list[Spelling]] = defaultdict(list)
    calls: dict[ast.stmt, str] = {}
    named: dict[ast.stmt, list[str]] = {}  # before these statements
    for block in _blocks(method.body):
        for i, node in enumerate(block):
            record = records.get(_called(node) or "")
            if record is None or not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Tuple):
                continue
            base = CALLED.get(record.method, record.method.removeprefix("computed_"))
            base = base if base.isidentifier() else "computed"
            local = next(n for n in (base, *(f"{base}_{i}" for i in range(2, len(taken) + 3))) if n not in taken)
            taken.add(local)
            calls[node] = local
            for target, value in zip(_targets(node), record.values, strict=True):
                if target != "_":
                    code, first = f"{local}.{record.parts.get(value, value)}", node.lineno + 1
                    last = mentions.changed_at(target, block, i)
                    if isinstance(last, ast.stmt):
                        named.setdefault(last, []).append(f"{target} = {code}")
                        last = last.lineno - 1
                    spelled[target].append(Spelling(code, first, last))
    if not calls and own is None:
        return
    for node in sorted(_statements(method.body), key=lambda n: -n.lineno):
        place = _head(node, rows)
        code, comment = joined(rows[place.start : place.stop])
        if node in calls:
            made, comment = f"{calls[node]} = {code[code.index('self.') :]}", ""
        elif isinstance(node, ast.Return) and own is not None:
            made = f"return {own.name}({', '.join(own.fields)})"
        else:
            made = code
        words = {*WORD.findall(made)} & spelled.keys()
        here = {w: s.code for w in words for s in spelled[w] if s.first <= node.lineno <= s.last}
        made = _spelled(made, here) if here else made
        indent = node.col_offset // len(INDENT)
        above = [row for line in named.get(node, ()) for row in statement(line, "", indent)]
        shape = rows[place.start - 1].strip()
        start = place.start - shape.startswith("# (")
        if made == code:
            rows[start:start] = above
            continue
        if start < place.start and node not in calls:
            comment = shape.removeprefix("# ")
        below = above if node in calls else []  # of a call that is the last statement of its block
        rows[start : place.stop] = [*([] if below else above), *statement(made, comment, indent), *below]
    if own is not None:
        first = method.lineno - 2
        at = next(i for i in range(first, len(rows)) if rows[i].endswith(" -> tuple:"))
        signature, _ = joined(rows[first : at + 1])
        rows[first : at + 1] = wrap(signature.replace(" -> tuple:", f" -> {own.name}:"), 1)


class Mentions:
    """On which lines of a method names are read, and given a value, each in order."""

    def __init__(self, method: ast.FunctionDef):
        self.method = method
        self.loads: defaultdict[str, list[int]] = defaultdict(list)
        self.stores: defaultdict[str, list[int]] = defaultdict(list)
        for node in ast.walk(method):
            if isinstance(node, ast.Name):
                (self.loads if isinstance(node.ctx, ast.Load) else self.stores)[node.id].append(node.lineno)
            elif isinstance(node, ast.arg):
                self.stores[node.arg].append(node.lineno)
        for lines in (*self.loads.values(), *self.stores.values()):
            lines.sort()

    def changed_at(self, name: str, block: list[ast.stmt], i: int) -> int | ast.stmt:
        """The line up to which the name stands for what this statement of a block gave it; or the statement that changes it
        in part, before which it has to be a name of its own."""
        call, loads, stores = block[i], self.loads[name], self.stores[name]
        end, k = block[-1].end_lineno or 0, bisect_right(stores, call.end_lineno or 0)
        if k < len(stores) and stores[k] <= end:
            node = block[bisect_right(block, stores[k], key=lambda n: n.lineno) - 1]
            if isinstance(node, ast.Assign) and any(_mentions(t, name, ast.Store) for t in node.targets):
                return node if _mentions(node.value, name, ast.Store) else node.lineno
            return node
        later = None
        if any(lines and lines[-1] > end for lines in (loads, stores)):
            behind = _behind(self.method.body, call)
            later = next((n for n in behind if _mentions(n, name, (ast.Load, ast.Store))), None)
        anew = isinstance(later, ast.Assign) and not _mentions(later.value, name, ast.Load)
        if later is not None and not anew or loads and loads[0] < call.lineno:
            return block[i + 1] if i + 1 < len(block) else call
        return end


def _behind(block: list[ast.stmt], call: ast.stmt) -> Iterator[ast.stmt]:
    """Statements that follow when the block of the call is done, in order."""
    for i, node in enumerate(block):
        for part in ("body", "orelse"):
            inner = getattr(node, part, None) or []
            if any(n is call for n in _statements(inner)):
                yield from _behind(inner, call)
                yield from block[i + 1 :]


def _mentions(node: ast.AST, name: str, kind: type | tuple[type, ...]) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, kind) for n in ast.walk(node))


def _called(node: ast.AST) -> str | None:
    """The method that `... = self.method(...)` calls."""
    call = node.value if isinstance(node, ast.Assign) else None
    made = call.func if isinstance(call, ast.Call) else None
    if not isinstance(made, ast.Attribute) or not isinstance(made.value, ast.Name) or made.value.id != "self":
        return None
    return made.attr


def _blocks(nodes: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    yield nodes
    for node in nodes:
        for part in ("body", "orelse"):
            if inner := getattr(node, part, None):
                yield from _blocks(inner)


def _statements(nodes: list[ast.stmt]) -> Iterator[ast.stmt]:
    for block in _blocks(nodes):
        yield from block


def _head(node: ast.stmt, rows: list[str]) -> range:
    """Numbers of the rows of a statement, of a block's those up to its colon."""
    first, inner = node.lineno - 2, getattr(node, "body", None)
    last = inner[0].lineno - 2 if inner else (node.end_lineno or 0) - 1
    while inner and rows[last - 1].lstrip().startswith("#"):
        last -= 1
    return range(first, last)


def _spelled(code: str, spelled: dict[str, str]) -> str:
    """The statement's head with these names read in another way."""
    lead = "el" if code.startswith("elif ") else ""  # no statement of its own
    code = code.removeprefix(lead)
    tree = ast.parse(code + (" pass" if code.endswith(":") else ""))
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and n.id in spelled]
    text = code.encode()
    for name in sorted(found, key=lambda n: -n.col_offset):
        text = text[: name.col_offset] + spelled[name.id].encode() + text[name.end_col_offset :]
    return lead + text.decode()


def joined(rows: list[str]) -> tuple[str, str]:
    """A statement's rows as one, without the brackets and commas that it has for the breaks; and the comment behind it."""
    *front, last = [row.strip() for row in rows]
    last, _, comment = last.partition("  # ")
    if not front:
        return last, comment
    code, whole = _glued((*front, last), ""), " ".join((*front, last))
    if _meaning(code) != _meaning(whole):  # the comma of a tuple of one
        code = _glued((*front, last), ",")
    if front[0].endswith((" (", "return (")) and last in (")", "):"):
        opening, end = len(front[0]) - 1, -len(last)
        plain = code[:opening] + code[opening + 1 : end] + last[1:]
        code = plain if _meaning(plain) == _meaning(code) else code
    return code, comment


def _glued(rows: Iterable[str], comma: str) -> str:
    """comma: what stays of one before a closing bracket."""
    code = ""
    for row in rows:
        if row.startswith(AFTER) and code.endswith(","):
            code = code[:-1] + comma
        code += row if not code or code.endswith(BEFORE) or row.startswith((*AFTER, ".")) else f" {row}"
    return code


def _meaning(code: str) -> str:
    try:
        return ast.dump(ast.parse(code + (" pass" if code.endswith(":") else "")))
    except SyntaxError:
        return ""
