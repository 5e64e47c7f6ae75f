"""Python statements as documents, broken as the formatter breaks them.

x = f(a) + g(b)      two operands, the last one in brackets: the brackets open        x = f(a) + g(
                                                                                          b
                                                                                      )
x = a + b + c        more operators, or none in brackets: parentheses around          x = (
                                                                                          a
                                                                                          + b ...
x = f(a).g(b).h(c)   two or more attributes of calls, or of what is in parentheses: one on a line, in parentheses
"""

from __future__ import annotations

import ast
from typing import TypeGuard

from lvspec.emit.text.printer import Broken, Doc, Group, Indented, Line

RANK = {
    ast.BitOr: 1, ast.BitXor: 2, ast.BitAnd: 3, ast.LShift: 4, ast.RShift: 4, ast.Add: 5, ast.Sub: 5, ast.Mult: 6,
    ast.Div: 6, ast.FloorDiv: 6, ast.Mod: 6, ast.MatMult: 6, ast.Pow: 7,
}  # fmt: skip
BRACKETS: dict[type[ast.expr], tuple[str, str]] = {ast.Tuple: ("(", ")"), ast.List: ("[", "]"), ast.Set: ("{", "}")}
SYMBOL: dict[type[ast.AST], str] = {
    ast.BitOr: "|", ast.BitXor: "^", ast.BitAnd: "&", ast.LShift: "<<", ast.RShift: ">>", ast.Add: "+", ast.Sub: "-",
    ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.MatMult: "@", ast.Pow: "**",
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Is: "is",
    ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in", ast.And: "and", ast.Or: "or",
}  # fmt: skip
CHAIN = (ast.Call, ast.Subscript, ast.Attribute)


class Documents:
    """Documents for the expressions of one line of source."""

    def __init__(self, source: str):
        self.source = source.encode()

    def text(self, node: ast.expr) -> str:
        return self.source[node.col_offset : node.end_col_offset].decode()

    def parenthesised(self, node: ast.expr, parent: ast.expr) -> bool:
        """Whether the source has parentheses of their own around a part of `parent`."""
        before, after = self.source[node.col_offset - 1 : node.col_offset], self.source[node.end_col_offset :][:1]
        ends = [n.end_col_offset or 0 for n in (node, parent)]  # there after parsing
        inside = node.col_offset > parent.col_offset and ends[0] <= ends[1]
        inside = inside or node.col_offset - 1 == parent.col_offset
        return before == b"(" and after == b")" and node.col_offset - 1 >= parent.col_offset and inside

    # ------------------------------------------------------------ expressions
    def part(self, node: ast.expr, parent: ast.expr, inside: bool) -> Doc:
        """A part of an expression, in its parentheses where it has them."""
        if self.parenthesised(node, parent):
            return Group(["(", Indented([self.of(node, True)]), ")"])
        return self.of(node, inside)

    def of(self, node: ast.expr, inside: bool) -> Doc:
        """inside: within brackets, where operators may stand at the start of a line."""
        if isinstance(node, CHAIN):
            return self.chain(node, inside)
        if isinstance(node, (ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp)):
            return self.operators(node, inside)
        if isinstance(node, ast.UnaryOp):
            sign = "not " if isinstance(node.op, ast.Not) else self.text(node)[0]
            return [sign, self.part(node.operand, node, inside)]
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            opening, closing = BRACKETS[type(node)]
            single = isinstance(node, ast.Tuple) and len(node.elts) == 1
            return self.brackets(opening, [self.of(e, True) for e in node.elts], closing, False, "," if single else "")
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            return self.brackets("{", [[self.text(k), ": ", self.of(v, True)] for k, v in pairs if k], "}", False)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)) and self.text(node)[0] in "[(":
            return self.comprehension(node)
        if isinstance(node, ast.Lambda) and not self.parenthesised(node.body, node):
            return [self.source[node.col_offset : node.body.col_offset].decode(), self.of(node.body, False)]
        return self.text(node)

    def brackets(self, opening: str, items: list[Doc], closing: str, one_line: bool, flat_comma: str = "") -> Doc:
        """Items on a line of their own; one on each line, where that is too long or `one_line` is not asked for."""
        if not items:
            return opening + closing
        rows: list[Doc] = []
        for item in items:
            rows += [",", Line(), item] if rows else [item]
        rows.append(flat_comma or Broken(","))
        return Group([opening, Indented([Group(rows)] if one_line else rows), closing])

    def comprehension(self, node) -> Doc:
        text = self.text(node)
        rows: list[Doc] = [self.of(node.elt, True)]
        for generator in node.generators:
            rows += [Line(), "for ", self.text(generator.target), " in ", self.of(generator.iter, True)]
            for test in generator.ifs:
                rows += [Line(), "if ", self.of(test, True)]
        return Group([text[0], Indented([Group(rows)]), text[-1]])

    def operators(self, node, inside: bool) -> Doc:
        """Operands of the loosest operators, each further one at the start of a line."""
        pairs = self.operands(node)
        rows: list[Doc] = []
        for symbol, operand in pairs:
            if symbol:
                rows += ["**" if self.tight(node) else [Line() if inside else " ", symbol, " "]]
            rows.append(operand if isinstance(operand, str) else self.part(operand, node, inside))
        return Group(rows) if inside else rows

    def tight(self, node) -> bool:
        """A power of simple operands: x**2."""
        return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and "**" in self.text(node).split(" ", 1)[0]

    def operands(self, node) -> list[tuple[str, ast.expr]]:
        if isinstance(node, ast.IfExp):
            return [("", node.body), ("if", node.test), ("else", node.orelse)]
        if isinstance(node, ast.BoolOp):
            return [(SYMBOL[type(node.op)] if i else "", v) for i, v in enumerate(node.values)]
        if isinstance(node, ast.Compare):
            return [("", node.left), *((SYMBOL[type(o)], c) for o, c in zip(node.ops, node.comparators, strict=True))]
        return self.flattened(node, RANK[type(node.op)])

    def flattened(self, node: ast.BinOp, rank: int) -> list[tuple[str, ast.expr]]:
        """Operands of one rank. A sum of a thousand terms is a thousand deep on its left, which is gone down step by step."""
        parts: list[list[tuple[str, ast.expr]]] = []
        while True:
            right = self.flattened(node.right, rank) if self.goes_on(node.right, node, rank) else [("", node.right)]
            parts.append([(SYMBOL[type(node.op)], right[0][1]), *right[1:]])
            if not self.goes_on(node.left, node, rank):
                return [("", node.left), *(pair for part in reversed(parts) for pair in part)]
            node = node.left

    def goes_on(self, side: ast.expr, node: ast.BinOp, rank: int) -> TypeGuard[ast.BinOp]:
        return isinstance(side, ast.BinOp) and RANK[type(side.op)] == rank and not self.parenthesised(side, node)

    # ------------------------------------------------------------ calls, subscripts, attributes
    def links(self, node: ast.expr) -> list[ast.expr]:
        """The links of a chain from its root on; a root in parentheses is one, whatever it is."""
        links = [node]
        while isinstance(node, CHAIN):
            inner = node.func if isinstance(node, ast.Call) else node.value
            links.insert(0, inner)
            if self.parenthesised(inner, node):
                break
            node = inner
        return links

    def follows_brackets(self, before: ast.expr, link: ast.expr) -> bool:
        """Whether a link is an attribute of a call, of a subscript, or of what stands in parentheses."""
        return isinstance(link, ast.Attribute) and (
            isinstance(before, (ast.Call, ast.Subscript)) or self.parenthesised(before, link)
        )

    def attributes_of_brackets(self, links: list[ast.expr]) -> int:
        return sum(self.follows_brackets(*pair) for pair in zip(links, links[1:], strict=False))

    def chain(self, node: ast.expr, inside: bool) -> Doc:
        links = self.links(node)
        root, fluent = links[0], inside and self.attributes_of_brackets(links) > 1
        rows: list[Doc] = [self.part(root, links[1], inside)]
        for before, link in zip(links, links[1:], strict=False):
            if isinstance(link, ast.Attribute):
                rows += [Line("")] if fluent and self.follows_brackets(before, link) else []
                rows.append("." + link.attr)
            elif isinstance(link, ast.Call):
                rows.append(self.arguments(link))
            elif isinstance(link, ast.Subscript):
                rows.append(self.slice(link))
        return Group(rows) if fluent else rows

    def arguments(self, call: ast.Call) -> Doc:
        items = [self.of(a, True) for a in call.args]
        items += [[f"{k.arg}=" if k.arg else "**", self.of(k.value, True)] for k in call.keywords]
        return self.brackets("(", items, ")", True)

    def slice(self, node: ast.Subscript) -> Doc:
        index = node.slice
        if isinstance(index, ast.Tuple) and not self.text(index).startswith("("):
            return self.brackets("[", [self.of(e, True) for e in index.elts], "]", True)
        return Group(["[", Indented([self.of(index, True)]), "]"])

    # ------------------------------------------------------------ statements
    def value(self, node: ast.expr, room: int) -> Doc:
        """The right-hand side of a statement, in parentheses where that reads better; room: for its first line."""
        wrapped = Group([Broken("("), Indented([self.of(node, True)]), Broken(")")])
        loosest, count = self.loosest(node)
        if count > 1 or isinstance(node, (ast.Name, ast.Constant)):
            return wrapped
        opened = len(self.text(node).split("(")[0].split("[")[0]) + 1  # up to the first bracket
        if count == 0 and isinstance(node, CHAIN) and opened > room:
            return wrapped
        if count == 1:
            if opened > room or loosest != "attribute" and not self.ends_open(node):
                return wrapped
        return self.of(node, False)

    def ends_open(self, node: ast.expr) -> bool:
        """Whether an expression of two operands starts or ends with brackets that may be opened."""
        while isinstance(node, ast.UnaryOp):
            node = node.operand
        return self.text(node)[0] in "([{" or self.opens(self.operands(node)[-1][1], node)

    def opens(self, node: ast.expr, parent: ast.expr) -> bool:
        """Whether an operand ends in brackets that may be opened: not empty ones, not those of a subscript."""
        if self.parenthesised(node, parent):
            return True
        if isinstance(node, ast.Call):
            return bool(node.args or node.keywords)
        if isinstance(node, (ast.BinOp, ast.UnaryOp)):
            inner = node.right if isinstance(node, ast.BinOp) else node.operand
            return self.opens(inner, node)
        return isinstance(node, (ast.Tuple, ast.List, ast.Dict)) and len(self.text(node)) > 2

    def loosest(self, node: ast.expr) -> tuple[str, int]:
        """The loosest kind of operator outside brackets, and how many of it there are."""
        if isinstance(node, ast.IfExp):
            return "if", 2
        if isinstance(node, (ast.BinOp, ast.BoolOp, ast.Compare)):
            return "operator", len(self.operands(node)) - 1
        if isinstance(node, ast.UnaryOp):
            return ("", 0) if self.parenthesised(node.operand, node) else self.loosest(node.operand)
        return "attribute", self.attributes_of_brackets(self.links(node))


def statement_doc(code: str, room: int) -> Doc:
    """A statement on one line as a document; `room`: what its first line may need."""
    if code.startswith('"'):
        return entry(code)
    block = code.endswith(":")
    node = ast.parse(code + (" pass" if block else "")).body[0]
    layout = Documents(code)
    if isinstance(node, ast.FunctionDef):
        return signature(code)
    if isinstance(node, (ast.If, ast.For)):
        value = node.test if isinstance(node, ast.If) else node.iter
        head, tail = (layout.source[a:b].decode() for a, b in ((0, value.col_offset), (value.end_col_offset, None)))
        return [head, layout.value(value, room - len(head)), tail]
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.Return)) and node.value is not None:
        head = layout.source[: node.value.col_offset].decode()
        if isinstance(node, ast.Assign) and len(head) >= room:  # names for several results
            return [layout.of(node.targets[0], False), " = ", layout.of(node.value, False)]
        return [head, layout.value(node.value, room - len(head))]
    if isinstance(node, ast.Raise) and node.exc is not None:
        head = layout.source[: node.exc.col_offset].decode()
        return [head, layout.of(node.exc, False)]
    assert isinstance(node, ast.Expr), code
    return layout.of(node.value, False)


def entry(code: str) -> Doc:
    """`"name": value,` of a dictionary that has one on each line."""
    key, _, value = code.removesuffix(",").partition(": ")
    return [f"{key}: ", Documents(value).of(ast.parse(value, mode="eval").body, True), ","]


def signature(code: str) -> Doc:
    """`def f(` arguments `) -> T:`, the arguments on a line of their own or one on each."""
    opening, closing = code.index("("), code.rindex(")")
    arguments = split_arguments(code[opening + 1 : closing])
    rows: list[Doc] = []
    for argument in arguments:
        rows += [",", Line(), argument] if rows else [argument]
    return Group([code[: opening + 1], Indented([Group([*rows, Broken(",")])]), code[closing:]])


def split_arguments(inside: str) -> list[str]:
    """Top-level arguments of a signature's text."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(inside):
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append(inside[start:i].strip())
            start = i + 1
    tail = inside[start:].strip()
    return parts + ([tail] if tail else [])
