"""Whether an expression is affine in a variable, and with which coefficients: e(z) = matrix · z + offset.

    matmul(A, z[t-1]) + b        matrix A            offset b
    readout(z[t])                readout.weight      readout.bias           readout: Linear(D, N)
    0.9 * z[t-1]                 0.9 I               nothing
    u[t] * z[t] - dot(w, h[t])   u[t] I              -dot(w, h[t])
    z[t, 0], sum(z[t])           row 0 of I, (1 .. 1)
    concat(z[t], u[t])           I above 0           0 above u[t]

Decided on the expression alone, by one small rule for each form that keeps affinity. A number counts as a vector of
one: matrices are [rows of e, size of z], and one row stands for as many as e has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lvspec.ir.dims import Dim
from lvspec.ir.expr import (
    Apply,
    Call,
    Expr,
    Here,
    Index,
    Lag,
    LocalRef,
    NetworkPart,
    SizeRef,
    VariableRef,
    Zeros,
    walk,
)
from lvspec.ir.reads import Reader, bodies
from lvspec.ir.spec import Clause, Network, Spec, Variable


# ---------------------------------------------------------------- matrices
@dataclass(frozen=True)
class Identity:
    """z itself."""


@dataclass(frozen=True)
class Product:
    """left · right, left [N, M] of an expression; a vector left [M] is a single row."""

    left: Expr
    right: Matrix


@dataclass(frozen=True)
class Scaled:
    """Each row times its entry of `factor`; `divided`: over it."""

    factor: Expr
    matrix: Matrix
    divided: bool = False


@dataclass(frozen=True)
class Sum:
    """left + right; `negative`: left - right. Without left: right alone."""

    left: Matrix | None
    right: Matrix
    negative: bool = False


@dataclass(frozen=True)
class Row:
    """The row of a matrix of `rows` rows that an integer names."""

    index: Expr
    matrix: Matrix
    rows: Dim


@dataclass(frozen=True)
class Total:
    """The sum of the `rows` rows of a matrix, or their mean."""

    matrix: Matrix
    rows: Dim
    mean: bool = False


@dataclass(frozen=True)
class Stack:
    """Matrices below each other, each with the number of its rows; None is zero."""

    parts: tuple[tuple[Matrix | None, Dim], ...]


Matrix = Identity | Product | Scaled | Sum | Row | Total | Stack


@dataclass(frozen=True)
class Affine:
    """matrix · z + offset; None is zero."""

    matrix: Matrix | None
    offset: Expr | None


class NotAffine(Exception):
    """An expression is not affine in a variable, and why."""


# ---------------------------------------------------------------- the analysis
def affine_in(spec: Spec, name: str, clause: Clause, expr: Expr, lag: int | None = None) -> Affine:
    """The coefficients of `expr`, which stands in `clause`, in the variable `name`; NotAffine with the reason. lag: in the
    variable that many sites back, where what it is elsewhere counts as another."""
    return _Analysis(spec, name, clause, lag).of(expr)


@dataclass(frozen=True)
class JointlyAffine:
    """Σ matrices[z, k] · z[t-k] + offset, over variables z and how many sites back they are read."""

    matrices: dict[tuple[str, int], Matrix]
    offset: Expr | None


def affine_in_all(spec: Spec, names: tuple[str, ...], clause: Clause, expr: Expr) -> JointlyAffine:
    """The coefficients in several variables at once: none of them may stand in another's matrix."""
    matrices: dict[tuple[str, int], Matrix] = {}
    rest: Expr | None = expr
    for name, lag in sorted({(r.name, r.lag) for r in Reader(spec).of_clause(clause) if r.name in names}):
        found = affine_in(spec, name, clause, rest, lag) if rest is not None else Affine(None, None)
        if found.matrix is not None:
            matrices[name, lag] = found.matrix
        rest = found.offset
    read = variables_in(spec, clause, rest) if rest is not None else frozenset()
    left = [n for n in names if n in read]
    if left:
        raise NotAffine(f"what reads {left[0]} is read at another site")
    for (name, _), matrix in matrices.items():
        read = frozenset(n for e in entries(matrix) for n in variables_in(spec, clause, e))
        other = next((n for n in names if n in read), None)
        if other is not None:
            raise NotAffine(f"{name} is multiplied with {other}")
    return JointlyAffine(matrices, rest)


def entries(matrix: Matrix) -> list[Expr]:
    """The expressions that a matrix is made of."""
    if isinstance(matrix, Identity):
        return []
    if isinstance(matrix, Sum):
        return [*(entries(matrix.left) if matrix.left is not None else []), *entries(matrix.right)]
    if isinstance(matrix, Product):
        return [matrix.left, *entries(matrix.right)]
    if isinstance(matrix, Stack):
        return [e for part, _ in matrix.parts if part is not None for e in entries(part)]
    own = {Row: "index", Scaled: "factor"}.get(type(matrix))
    return [*([getattr(matrix, own)] if own else []), *entries(matrix.matrix)]


def reads_variable(spec: Spec, name: str, clause: Clause, expr: Expr) -> bool:
    """Whether `expr` depends on the variable, through let variables and the clause's own names."""
    return name in variables_in(spec, clause, expr)


def variables_in(spec: Spec, clause: Clause, expr: Expr) -> frozenset[str]:
    """The variables that `expr` depends on, through let variables and the clause's own names."""
    bound = {n: b.value for b in clause.bindings for n in b.names}
    found: set[str] = set()
    left: list = [expr]
    while left:
        for node in walk(left.pop()):
            if isinstance(node, LocalRef) and node.name in bound:
                left.append(bound.pop(node.name))
            elif isinstance(node, VariableRef) and node.name not in found:
                found.add(node.name)
                left += [b for c in spec.lets[node.name].clauses for b in bodies(c)] if node.name in spec.lets else []
    return frozenset(found)


class _Analysis:
    """lets: definitions by name. locals: what the clause's `where` binds, by name. found: what is known of let variables
    already, shared by the analyses of their clauses."""

    def __init__(self, spec: Spec, name: str, clause: Clause, lag: int | None = None, found: dict | None = None):
        self.spec, self.name, self.lag = spec, name, lag
        self.found: dict = {} if found is None else found
        self.lets: Mapping[str, Variable] = spec.lets
        self.networks: Mapping[str, Network] = {n.name: n for n in spec.networks}
        self.bindings = {n: b for b in clause.bindings for n in b.names}

    def reads(self, expr: Expr) -> bool:
        return any(self._mentions(node) for node in walk(expr))

    def _mentions(self, node: Expr) -> bool:
        if isinstance(node, LocalRef) and node.name in self.bindings:
            return self.reads(self.bindings[node.name].value)
        if not isinstance(node, VariableRef):
            return False
        return self._is(node) or node.name in self.lets and self._let_reads(self.lets[node.name])

    def _is(self, node: VariableRef) -> bool:
        """Whether the reference is to the variable, at the site that is asked about."""
        back = max((s.k for s in node.at if isinstance(s, Lag)), default=0)
        return node.name == self.name and (self.lag is None or self.lag == back)

    def _let_reads(self, let: Variable) -> bool:
        if ("reads", let.name) not in self.found:
            inside = [_Analysis(self.spec, self.name, c, self.lag, self.found) for c in let.clauses]
            read = any(a.reads(c.body) for a, c in zip(inside, let.clauses, strict=True))
            self.found["reads", let.name] = read
        return self.found["reads", let.name]

    def of(self, expr: Expr) -> Affine:
        if not self.reads(expr):
            return Affine(None, expr)
        if isinstance(expr, Call) and expr.function in _RULES and expr.over is None:
            return _RULES[expr.function](self, expr)
        if isinstance(expr, Apply):
            return self._network(expr)
        if isinstance(expr, LocalRef):
            return self._local(expr)
        if isinstance(expr, VariableRef):
            return self._variable(expr)
        if isinstance(expr, Index):
            return self._entry(expr)
        what = f"`{expr.function}` of it" if isinstance(expr, Call) else "an entry of it"
        raise NotAffine(f"{what} is no sum, product or linear network")

    def _variable(self, expr: VariableRef) -> Affine:
        if self._is(expr):
            return Affine(Identity(), None)
        let = self.lets[expr.name]
        if any(not isinstance(s, Here) for s in expr.at):
            raise NotAffine(f"{let.name}, which reads it, is read at another site")
        if let.initial:
            raise NotAffine(f"{let.name}, which reads it, has a clause of its own for the first sites")
        if let.name not in self.found:
            inside = _Analysis(self.spec, self.name, let.general, self.lag, self.found)
            self.found[let.name] = inside.of(let.general.body)
        return self.found[let.name]

    def _entry(self, expr: Index) -> Affine:
        """`z[t, 0]`"""
        if len(expr.indices) > 1 or self.reads(expr.indices[0]):
            raise NotAffine("an entry of it is read in a way that is no sum, product or linear network")
        inside, rows = self.of(expr.base), expr.base.type.shape[0]
        matrix = None if inside.matrix is None else Row(expr.indices[0], inside.matrix, rows)
        vector = inside.offset is not None and inside.offset.type.shape
        return Affine(matrix, replace(expr, base=inside.offset) if vector else inside.offset)

    def _local(self, expr: LocalRef) -> Affine:
        binding = self.bindings[expr.name]
        if len(binding.names) > 1:
            raise NotAffine("a part of a split is no sum, product or linear network")
        return self.of(binding.value)

    def _network(self, expr: Apply) -> Affine:
        network = self.networks[expr.network]
        if network.kind != "Linear" or expr.bank:
            raise NotAffine(f"{network.name} is {'a bank of networks' if expr.bank else network.kind}, not Linear")
        inside = self.of(expr.args[0])
        weight = NetworkPart(network.name, "weight", type=_shaped(expr, (network.arguments[1], network.arguments[0])))
        bias = NetworkPart(network.name, "bias", type=expr.type) if network.option("bias", True) else None
        offset = bias if inside.offset is None else replace(expr, args=(inside.offset,))
        return Affine(_product(weight, inside.matrix), offset)

    # ------------------------------------------------------------ functions
    def add(self, expr: Call) -> Affine:
        left, right = map(self.of, expr.args)
        return Affine(_sum(left.matrix, right.matrix), _joined(expr, left.offset, right.offset))

    def subtract(self, expr: Call) -> Affine:
        left, right = map(self.of, expr.args)
        offset = _joined(expr, left.offset, right.offset)
        if left.offset is None and right.offset is not None:
            offset = Call("negative", (right.offset,), type=expr.type, span=expr.span)
        return Affine(_sum(left.matrix, right.matrix, negative=True), offset)

    def negative(self, expr: Call) -> Affine:
        inside = self.of(expr.args[0])
        return Affine(_sum(None, inside.matrix, negative=True), _around(expr, 0, inside.offset))

    def scaled(self, expr: Call) -> Affine:
        """multiply, divide"""
        left, right = expr.args
        if self.reads(right) and (self.reads(left) or expr.function == "divide"):
            raise NotAffine("it is multiplied with itself" if self.reads(left) else "something is divided by it")
        at = 1 if self.reads(right) else 0
        inside = self.of(expr.args[at])
        matrix = Scaled(expr.args[1 - at], inside.matrix, divided=expr.function == "divide")
        return Affine(matrix, _around(expr, at, inside.offset))

    def product(self, expr: Call) -> Affine:
        """matmul, dot"""
        left, right = expr.args
        if expr.function == "dot" and self.reads(left) and not self.reads(right):
            left, right = right, left
        if self.reads(left):
            raise NotAffine("it is multiplied with itself" if self.reads(right) else "it stands in a matrix")
        inside = self.of(right)
        offset = None if inside.offset is None else replace(expr, args=(left, inside.offset))
        return Affine(_product(left, inside.matrix), offset)

    def total(self, expr: Call) -> Affine:
        """sum, mean: over the entries"""
        inside, rows = self.of(expr.args[0]), expr.args[0].type.shape[0]
        matrix = None if inside.matrix is None else Total(inside.matrix, rows, expr.function == "mean")
        offset = inside.offset
        if offset is not None and offset.type.shape:
            offset = replace(expr, args=(offset,))
        elif offset is not None and expr.function == "sum":  # one number in every entry
            offset = Call("multiply", (SizeRef(rows), offset), type=expr.type, span=expr.span)
        return Affine(matrix, offset)

    def joined(self, expr: Call) -> Affine:
        """concat"""
        parts = [(self.of(a), a) for a in expr.args]
        matrix = Stack(tuple((part.matrix, a.type.shape[0]) for part, a in parts))
        zeros = [Zeros(type=replace(a.type, plates=())) for _, a in parts]
        offsets = [
            zero if part.offset is None else Call("add", (zero, part.offset), type=a.type, span=a.span)
            for (part, a), zero in zip(parts, zeros, strict=True)
        ]
        return Affine(matrix, None if all(p.offset is None for p, _ in parts) else replace(expr, args=tuple(offsets)))


_RULES = {
    "add": _Analysis.add,
    "subtract": _Analysis.subtract,
    "negative": _Analysis.negative,
    "multiply": _Analysis.scaled,
    "divide": _Analysis.scaled,
    "matmul": _Analysis.product,
    "dot": _Analysis.product,
    "sum": _Analysis.total,
    "mean": _Analysis.total,
    "concat": _Analysis.joined,
}


def _shaped(expr: Expr, shape: tuple):
    return replace(expr.type, shape=shape, plates=())


def _product(left: Expr, right: Matrix | None) -> Matrix | None:
    return None if right is None else Product(left, right)


def _sum(left: Matrix | None, right: Matrix | None, negative: bool = False) -> Matrix | None:
    if right is None or left is None and not negative:
        return left or right
    return Sum(left, right, negative)


def _joined(expr: Call, left: Expr | None, right: Expr | None) -> Expr | None:
    """The same function of two offsets; of one, that one."""
    return replace(expr, args=(left, right)) if left is not None and right is not None else left or right


def _around(expr: Call, at: int, offset: Expr | None) -> Expr | None:
    """The same function with an offset in place of argument `at`."""
    return None if offset is None else replace(expr, args=(*expr.args[:at], offset, *expr.args[at + 1 :]))
