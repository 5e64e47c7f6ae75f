"""Whether an expression is affine in a variable, and with which coefficients: e(z) = matrix · z + offset.

    matmul(A, z[t-1]) + b        matrix A            offset b
    readout(z[t])                readout.weight      readout.bias           readout: Linear(D, N)
    0.9 * z[t-1]                 0.9 I               nothing
    u[t] * z[t] - dot(w, h[t])   u[t] I              -dot(w, h[t])
    z[t, 0], sum(z[t])           row 0 of I, (1 .. 1)
    concat(z[t], u[t])           I above 0           0 above u[t]

Decided on the expression alone, of all variables at once, by one small rule for each form that keeps affinity. A number counts as a vector of
one: matrices are [rows of e, size of z], and one row stands for as many as e has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from lvspec.ir.reads import bodies, reader_of
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
class MatrixRow:
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


Matrix = Identity | Product | Scaled | Sum | MatrixRow | Total | Stack


Key = tuple[str, int]  # a variable, and how many sites back it is read


@dataclass(frozen=True)
class Affine:
    """Σ matrices[z, k] · z[t-k] + offset; no offset is zero."""

    matrices: dict[Key, Matrix]
    offset: Expr | None

    @property
    def matrix(self) -> Matrix | None:
        """Of a single variable."""
        return next(iter(self.matrices.values()), None)

    def of_matrices(self, rule: Callable[[Matrix], Matrix], offset: Expr | None) -> Affine:
        """The same with each matrix as the rule has it, and another offset."""
        return Affine({key: rule(m) for key, m in self.matrices.items()}, offset)


class NotAffine(Exception):
    """An expression is not affine in a variable, and why."""


# ---------------------------------------------------------------- the analysis
def affine_in(spec: Spec, name: str, clause: Clause, expr: Expr) -> Affine:
    """The coefficients of `expr`, which stands in `clause`, in the variable `name`, at whatever site it is read; NotAffine
    with the reason."""
    return _Analysis(spec, (name,), clause, apart=False).of(expr)


def affine_in_all(spec: Spec, names: tuple[str, ...], clause: Clause, expr: Expr) -> Affine:
    """The coefficients in several variables at once, for each site at which they are read: none of them may stand in
    another's matrix."""
    found = _Analysis(spec, names, clause, apart=True).of(expr)
    return replace(found, matrices=dict(sorted(found.matrices.items())))


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
    """names: the variables. apart: whether their sites are told apart. bindings: what the clause's `where` binds, by name.
    found: what is known of let variables already, shared by the analyses of their clauses."""

    def __init__(
        self, spec: Spec, names: tuple[str, ...], clause: Clause, apart: bool, shared: _Analysis | None = None
    ):
        self.spec, self.clause, self.apart = spec, clause, apart
        self.names: frozenset[str] = shared.names if shared else frozenset(names)
        self.read: dict[str, bool] = shared.read if shared else {}
        self.found: dict[str, Affine] = shared.found if shared else {}
        self.reader = reader_of(spec)
        self.lets: Mapping[str, Variable] = spec.lets
        self.networks: Mapping[str, Network] = shared.networks if shared else {n.name: n for n in spec.networks}
        self.bindings = {n: b for b in clause.bindings for n in b.names}

    def reads(self, expr: Expr) -> bool:
        return any(self._mentions(node) for node in walk(expr))

    def _mentions(self, node: Expr) -> bool:
        if isinstance(node, LocalRef) and node.name in self.bindings:
            return self.reads(self.bindings[node.name].value)
        if not isinstance(node, VariableRef):
            return False
        return node.name in self.names or node.name in self.lets and self._let_reads(node.name)

    def _let_reads(self, name: str) -> bool:
        for let in () if name in self.read else self.reader.lets_below(name, self.read.__contains__):
            self.read[let] = False  # where it reads itself at an earlier site
            self.read[let] = any(self._inside(c).reads(b) for c in self.lets[let].clauses for b in bodies(c))
        return self.read[name]

    def _inside(self, clause: Clause) -> _Analysis:
        return _Analysis(self.spec, (), clause, self.apart, self)

    def of(self, expr: Expr) -> Affine:
        if not self.reads(expr):
            return Affine({}, expr)
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
        if expr.name in self.names:
            back = max((s.k for s in expr.at if isinstance(s, Lag)), default=0)
            return Affine({(expr.name, back if self.apart else 0): Identity()}, None)
        let = self.lets[expr.name]
        if any(not isinstance(s, Here) for s in expr.at):
            raise NotAffine(f"{let.name}, which reads it, is read at another site")
        for name in () if let.name in self.found else self.reader.lets_below(let.name, self.found.__contains__):
            if self._let_reads(name):
                self.found[name] = self._let(self.lets[name])
        return self.found[let.name]

    def _let(self, let: Variable) -> Affine:
        if let.initial:
            raise NotAffine(f"{let.name}, which reads it, has a clause of its own for the first sites")
        return self._inside(let.general).of(let.general.value)

    def _entry(self, expr: Index) -> Affine:
        """`z[t, 0]`"""
        if len(expr.indices) > 1 or self.reads(expr.indices[0]):
            raise NotAffine("an entry of it is read in a way that is no sum, product or linear network")
        inside, rows = self.of(expr.base), expr.base.type.shape[0]
        offset = inside.offset
        if offset is not None and offset.type.shape:
            offset = replace(expr, base=offset)
        return inside.of_matrices(lambda m: MatrixRow(expr.indices[0], m, rows), offset)

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
        return inside.of_matrices(lambda m: Product(weight, m), offset)

    # ------------------------------------------------------------ functions
    def add(self, expr: Call) -> Affine:
        left, right = map(self.of, expr.args)
        return Affine(_sums(left, right), _joined(expr, left.offset, right.offset))

    def subtract(self, expr: Call) -> Affine:
        left, right = map(self.of, expr.args)
        offset = _joined(expr, left.offset, right.offset)
        if left.offset is None and right.offset is not None:
            offset = Call("negative", (right.offset,), type=expr.type, span=expr.span)
        return Affine(_sums(left, right, negative=True), offset)

    def negative(self, expr: Call) -> Affine:
        inside = self.of(expr.args[0])
        return inside.of_matrices(lambda m: Sum(None, m, negative=True), _around(expr, 0, inside.offset))

    def scaled(self, expr: Call) -> Affine:
        """multiply, divide"""
        left, right = expr.args
        if self.reads(right) and (self.reads(left) or expr.function == "divide"):
            raise NotAffine(self._product_of(left, right) if self.reads(left) else "something is divided by it")
        at = 1 if self.reads(right) else 0
        inside, factor, divided = self.of(expr.args[at]), expr.args[1 - at], expr.function == "divide"
        return inside.of_matrices(lambda m: Scaled(factor, m, divided), _around(expr, at, inside.offset))

    def product(self, expr: Call) -> Affine:
        """matmul, dot"""
        left, right = expr.args
        if expr.function == "dot" and self.reads(left) and not self.reads(right):
            left, right = right, left
        if self.reads(left):
            raise NotAffine(self._product_of(left, right) if self.reads(right) else "it stands in a matrix")
        inside = self.of(right)
        offset = None if inside.offset is None else replace(expr, args=(left, inside.offset))
        return inside.of_matrices(lambda m: Product(left, m), offset)

    def _product_of(self, left: Expr, right: Expr) -> str:
        """What is said of two factors that both read one of the variables."""
        a, b = (min(variables_in(self.spec, self.clause, e) & self.names) for e in (left, right))
        return "it is multiplied with itself" if a == b else f"{a} is multiplied with {b}"

    def total(self, expr: Call) -> Affine:
        """sum, mean: over the entries"""
        inside, rows = self.of(expr.args[0]), expr.args[0].type.shape[0]
        offset, mean = inside.offset, expr.function == "mean"
        if offset is not None and offset.type.shape:
            offset = replace(expr, args=(offset,))
        elif offset is not None and not mean:  # one number in every entry
            offset = Call("multiply", (SizeRef(rows), offset), type=expr.type, span=expr.span)
        return inside.of_matrices(lambda m: Total(m, rows, mean), offset)

    def joined(self, expr: Call) -> Affine:
        """concat"""
        parts = [(self.of(a), a) for a in expr.args]
        zeros = [Zeros(type=replace(a.type, plates=())) for _, a in parts]
        offsets = [
            zero if part.offset is None else Call("add", (zero, part.offset), type=a.type, span=a.span)
            for (part, a), zero in zip(parts, zeros, strict=True)
        ]
        keys = dict.fromkeys(key for part, _ in parts for key in part.matrices)
        stacks: dict[Key, Matrix] = {
            key: Stack(tuple((part.matrices.get(key), a.type.shape[0]) for part, a in parts)) for key in keys
        }
        return Affine(stacks, None if all(p.offset is None for p, _ in parts) else replace(expr, args=tuple(offsets)))

    def entries(self, expr: Call) -> Affine:
        """flatten: of a number or a vector, whose matrix it leaves alone"""
        if len(expr.args[0].type.shape) > 1:
            raise NotAffine("an array of it is no sum, product or linear network")
        inside = self.of(expr.args[0])
        return replace(inside, offset=_around(expr, 0, inside.offset))


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
    "flatten": _Analysis.entries,
}


def _shaped(expr: Expr, shape: tuple):
    return replace(expr.type, shape=shape, plates=())


def _sums(left: Affine, right: Affine, negative: bool = False) -> dict[Key, Matrix]:
    """The matrices of left + right, or left - right."""
    found = dict(left.matrices)
    for key, matrix in right.matrices.items():
        found[key] = Sum(found.get(key), matrix, negative) if negative or key in found else matrix
    return found


def _joined(expr: Call, left: Expr | None, right: Expr | None) -> Expr | None:
    """The same function of two offsets; of one, that one."""
    return replace(expr, args=(left, right)) if left is not None and right is not None else left or right


def _around(expr: Call, at: int, offset: Expr | None) -> Expr | None:
    """The same function with an offset in place of argument `at`."""
    return None if offset is None else replace(expr, args=(*expr.args[:at], offset, *expr.args[at + 1 :]))
