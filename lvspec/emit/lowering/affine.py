"""The coefficients of an affine expression (ir/affine.py) as tensors: matrix [N, D] and offset [N]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lvspec.emit.lowering.indexing import indexed
from lvspec.emit.lowering.lower import Lowering
from lvspec.emit.lowering.value import ATOM, PRODUCT, SUM, UNARY, Value, align, join_draws
from lvspec.ir.affine import Identity, Matrix, MatrixRow, Product, Scaled, Stack, Sum, Total
from lvspec.ir.dims import Dim

ONE = Dim.of(1)


def lower_matrix(low: Lowering, matrix: Matrix | None, size: Dim) -> Value:
    """The matrix, of as many rows as the expression has entries, or of one that stands for all; size: D."""
    if matrix is None:
        return Value(f"self.zero.expand(1, {low.size(size)})", shape=(ONE, size))
    return _LOWER[type(matrix)](low, matrix, size)


def _identity(low: Lowering, matrix: Identity, size: Dim) -> Value:
    code = f"torch.eye({low.size(size)}, dtype=self.zero.dtype, device=self.zero.device)"
    return Value(code, shape=(size, size))


def _product(low: Lowering, matrix: Product, size: Dim) -> Value:
    left = low.lower(matrix.left)
    if len(left.shape) == 1:
        left = left.with_(code=f"{left.at(ATOM)}.unsqueeze(-2)", shape=(ONE, *left.shape), binds=ATOM)
    if isinstance(matrix.right, Identity) and left.shape[-1] == size:
        return left
    right = with_rows(low, lower_matrix(low, matrix.right, size), left.shape[-1])
    axes = low.order.union(left, right)
    code = f"{align(left, axes).at(PRODUCT)} @ {align(right, axes).at(UNARY)}"
    return Value(code, axes, (left.shape[0], right.shape[1]), PRODUCT, draws=join_draws(left, right))


def _scaled(low: Lowering, matrix: Scaled, size: Dim) -> Value:
    factor, inside = low.real(low.concrete(low.lower(matrix.factor))), lower_matrix(low, matrix.matrix, size)
    if factor.shape:  # one entry for each row
        factor = factor.with_(code=f"{factor.at(ATOM)}.unsqueeze(-1)", shape=(*factor.shape, ONE), binds=ATOM)
    axes, _, (a, b) = low.broadcast(factor, inside)
    rows = factor.shape[0] if factor.shape and inside.shape[0] == ONE else inside.shape[0]
    code = f"{b.at(PRODUCT)} / {a.at(UNARY)}" if matrix.divided else f"{a.at(PRODUCT)} * {b.at(UNARY)}"
    return Value(code, axes, (rows, size), PRODUCT, draws=join_draws(factor, inside))


def _sum(low: Lowering, matrix: Sum, size: Dim) -> Value:
    right = lower_matrix(low, matrix.right, size)
    if matrix.left is None:
        return right.with_(code=f"-{right.at(UNARY)}", binds=UNARY)
    left = lower_matrix(low, matrix.left, size)
    axes, _, (a, b) = low.broadcast(left, right)
    rows = right.shape[0] if left.shape[0] == ONE else left.shape[0]
    code = f"{a.at(SUM)} - {b.at(PRODUCT)}" if matrix.negative else f"{a.at(SUM)} + {b.at(PRODUCT)}"
    return Value(code, axes, (rows, size), SUM, draws=join_draws(left, right))


def _row(low: Lowering, matrix: MatrixRow, size: Dim) -> Value:
    rows = with_rows(low, lower_matrix(low, matrix.matrix, size), matrix.rows)
    return _alone(indexed(low, rows, low.lower(matrix.index)))


def _total(low: Lowering, matrix: Total, size: Dim) -> Value:
    rows = with_rows(low, lower_matrix(low, matrix.matrix, size), matrix.rows)
    code = f"{rows.at(ATOM)}.{'mean' if matrix.mean else 'sum'}(-2)"
    return _alone(rows.with_(code=code, shape=(size,), binds=ATOM))


def _stack(low: Lowering, matrix: Stack, size: Dim) -> Value:
    parts = [with_rows(low, lower_matrix(low, part, size), rows) for part, rows in matrix.parts]
    axes = low.order.union(*parts)
    code = ", ".join(f"{align(p, axes).at(ATOM)}.mT" for p in parts)
    rows = sum((rows for _, rows in matrix.parts[1:]), matrix.parts[0][1])
    return Value(f"{low.scope.use('concat')}({code}).mT", axes, (rows, size), draws=join_draws(*parts))


def _alone(row: Value) -> Value:
    """A row as a matrix of one."""
    return row.with_(code=f"{row.at(ATOM)}.unsqueeze(-2)", shape=(ONE, *row.shape), binds=ATOM)


_LOWER: dict[type, Callable[[Lowering, Any, Dim], Value]] = {
    Identity: _identity,
    Product: _product,
    Scaled: _scaled,
    Sum: _sum,
    MatrixRow: _row,
    Total: _total,
    Stack: _stack,
}


def with_rows(low: Lowering, matrix: Value, rows: Dim) -> Value:
    """The matrix with its single row repeated, where it stands for several."""
    if matrix.shape[0] == rows:
        return matrix
    free = ", ".join(["-1"] * len(matrix.axes))
    code = f"{matrix.at(ATOM)}.expand({free + ', ' if free else ''}{low.size(rows)}, -1)"
    return matrix.with_(code=code, shape=(rows, matrix.shape[1]), binds=ATOM)
