"""Text → `syntax`: the lark grammar of `grammar/lvspec.lark`, with every node's place in the file."""

from __future__ import annotations

from functools import lru_cache

from lvspec.errors import Span
from lvspec.front import syntax as S
from lvspec.front.nodes import Text
from lvspec.front.problems import Problems
from lvspec.shipped import shipped

MAX_LENGTH = 20_000  # characters of one expression
MAX_DEPTH = 64
MAX_NODES = 2_000

_READABLE = {
    "NAME": "a name", "NUMBER": "a number", "DOTTED": "a dotted path", "LPAR": "`(`", "RPAR": "`)`", "LSQB": "`[`",
    "RSQB": "`]`", "COMMA": "`,`", "PLUS": "`+`", "MINUS": "`-`", "STAR": "`*`", "SLASH": "`/`", "EQUAL": "`=`",
    "SEMICOLON": "`;`", "_OVER": "`over`", "_WHERE": "`where`", "_WITH": "`with`", "_THROUGH": "`through`", "_IN": "`in`",
    "GLOBAL": "`global`", "$END": "the end", "LESSTHAN": "`<`", "MORETHAN": "`>`",
}  # fmt: skip
_RELATIONS = {"before": "before", "through_site": "through", "after": "after", "from_site": "from"}
_BINARY = ("add", "subtract", "multiply", "divide", "power")


@lru_cache(maxsize=1)
def _lark():
    from lark import Lark  # a tenth of the time that `check` takes, so only when there is something to parse

    text = (shipped("grammar") / "lvspec.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", start=["value", "target"], propagate_positions=True)


@lru_cache(maxsize=4096)
def _tree(text: str, start: str):
    """The tree, and whether it is within the limits."""
    tree = _lark().parse(text, start=start)
    return tree, _within_limits(tree)


def parse_value(text: Text, problems: Problems) -> S.RightSide | None:
    """The right of a colon, or None where it cannot be parsed (then noted)."""
    return _parse(text, "value", problems)


def parse_target(text: Text, problems: Problems) -> S.Target | None:
    """The left of a colon."""
    return _parse(text, "target", problems)


def _parse(text: Text, start: str, problems: Problems):
    from lark.exceptions import UnexpectedCharacters, UnexpectedInput

    if len(text.value) > MAX_LENGTH:
        problems.error(
            "too-large",
            text.span,
            f"an expression has at most {MAX_LENGTH:,} characters",
            help="name its parts in `let:`",
        )
        return None
    try:
        tree, within = _tree(text.value, start)
    except UnexpectedCharacters as error:
        place = error.pos_in_stream or 0
        c = text.value[place]
        problems.error(
            "expression-syntax",
            text.part(place, place + 1),
            f"{_shown(c)} has no meaning in an expression",
            help=_advice(c),
        )
        return None
    except UnexpectedInput as error:
        _explain(error, text, problems)
        return None
    if not within:
        problems.error(
            "too-large",
            text.span,
            f"an expression is at most {MAX_DEPTH} deep and {MAX_NODES:,} long",
            help="name its parts in `let:`",
        )
        return None
    return _Reader(text).read(tree)


def _shown(c: str) -> str:
    return f"`{c}`" if c.isprintable() else f"the character U+{ord(c):04X}"


def _advice(c: str) -> str:
    known = {"'": "names are written without quotes", '"': "names are written without quotes", "^": "a power is `**`",
             ":": "a range is not a site: write `x[<t]` for the sites before t", "@": "a matrix product is `matmul(W, v)`",
             "~": "write `name: Distribution(...)`", "|": "condition by naming variables in the arguments"}  # fmt: skip
    return known.get(c, "" if c.isprintable() else "replace it by a blank")


def _explain(error, text: Text, problems: Problems) -> None:
    token = getattr(error, "token", None)
    at_end = token is None or token.type == "$END"
    begin, length = (len(text.value), 1) if token is None or at_end else (token.start_pos, len(token))
    span = text.part(begin, begin + length)
    found = "the end" if at_end else f"`{token}`"
    options = sorted(getattr(error, "accepts", None) or getattr(error, "expected", None) or ())
    wanted = [_READABLE.get(o, f"`{o.lower().strip('_')}`") for o in options]
    wanted = [w for w in dict.fromkeys(wanted) if not w.startswith("`__anon") and w != _READABLE["DOTTED"]]
    message = f"{found} cannot stand here"
    if 0 < len(wanted) <= 6:
        message += (
            f"; expected {', '.join(wanted[:-1])} or {wanted[-1]}" if len(wanted) > 1 else f"; expected {wanted[0]}"
        )
    help = (
        "close the bracket"
        if at_end and text.value.count("(") + text.value.count("[") > text.value.count(")") + text.value.count("]")
        else ""
    )
    problems.error("expression-syntax", span, message, help=help)


def _within_limits(tree) -> bool:
    from lark import Tree

    stack, nodes = [(tree, 1)], 0
    while stack:
        node, depth = stack.pop()
        nodes += 1
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            return False
        if isinstance(node, Tree):
            stack.extend((child, depth + 1) for child in node.children)
    return True


class _Reader:
    """lark's tree → nodes with spans. Recursion is safe: the depth has been checked."""

    def __init__(self, text: Text):
        self.text = text

    def span(self, tree) -> Span:
        meta = getattr(tree, "meta", tree)
        start = getattr(meta, "start_pos", None)
        return self.text.span if start is None else self.text.part(start, meta.end_pos)

    def name(self, token) -> S.Name:
        return S.Name(str(token), span=self.span(token))

    def read(self, tree) -> S.RightSide | S.Target:
        return self.value(tree) if tree.data == "value" else self.target(tree)

    def target(self, tree) -> S.Target:
        *rest, over = tree.children
        places = [c for c in rest if getattr(c, "data", None) == "place"]
        outside = any(getattr(c, "type", None) == "GLOBAL" for c in rest)
        found = tuple(S.IndexedName(self.name(p.children[0]), tuple(map(self.node, p.children[1:]))) for p in places)
        return S.Target(found, self.name(over) if over is not None else None, outside, span=self.span(tree))

    def value(self, tree) -> S.RightSide:
        body, *rest = tree.children
        through = tuple(self.node(c.children[0]) for c in rest if c.data == "through")
        parts = tuple(self.name(n) for c in rest if c.data == "with_parts" for n in c.children)
        where = tuple(self.binding(b) for c in rest if c.data == "where" for b in c.children)
        return S.RightSide(self.node(body), through, parts, where, span=self.span(tree))

    def binding(self, tree) -> S.WhereBinding:
        *names, value = tree.children
        return S.WhereBinding(tuple(map(self.name, names)), self.node(value))

    def node(self, tree) -> S.Node:
        span, kind, children = self.span(tree), tree.data, tree.children
        if kind in _BINARY:
            return S.Binary(str(kind), self.node(children[0]), self.node(children[1]), span=span)
        if kind in _RELATIONS:
            plate, *inside = (str(c) for c in children if c is not None)
            return S.Relation(_RELATIONS[kind], plate, *inside, span=span)
        return getattr(self, f"_{kind}")(children, span)

    def _number(self, children, span) -> S.Literal:
        digits = str(children[0])
        whole = digits.isdigit() and len(digits) <= 18
        return S.Literal(digits, int(digits) if whole else float(digits), span=span)

    def _name(self, children, span) -> S.Name:
        return S.Name(str(children[0]), span=span)

    def _dotted(self, children, span) -> S.Dotted:
        return S.Dotted(str(children[0]), span=span)

    def _listing(self, children, span) -> S.ListNode:
        return S.ListNode(tuple(map(self.node, children)), span=span)

    def _negative(self, children, span) -> S.Negative:
        return S.Negative(self.node(children[0]), span=span)

    def _along(self, children, span) -> S.Along:
        return S.Along(self.node(children[0]), self.name(children[1]), span=span)

    def _access(self, children, span) -> S.Access:
        return S.Access(self.node(children[0]), tuple(map(self.node, children[1:])), span=span)

    def _call(self, children, span) -> S.Application:
        base, *rest = children
        named = [c for c in rest if c.data == "keyword"]
        plain = tuple(self.node(c) for c in rest if c.data != "keyword")
        keywords = tuple((self.name(k.children[0]), self.node(k.children[1])) for k in named)
        return S.Application(self.node(base), plain, keywords, span=span)
