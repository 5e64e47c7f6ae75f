"""Sums of products as contractions: `sum(a[t, m] * v[m] over m)` makes no tensor that has the axes of both factors.

sum(softmax(dot(h[t], v[m]) over m) * v[m] over m)      masked_softmax(v @ h.mT, ...).mT @ v
sum(a[t, m] * b[m, k] * w[k] over m)                    torch.einsum("abe,bec->abc", a, b * w)
"""

from __future__ import annotations

from functools import reduce

from lvspec.emit.lowering.value import ATOM, PRODUCT, UNARY, Value, join_draws, permute
from lvspec.ir.expr import Call, Expr
from lvspec.ir.products import factors_of, grouped

LETTERS = "abcefghijklmnopqrstuvwxyz"  # of axes; d is the vector's


def contraction(low, call: Call) -> Value | None:
    """`sum(a * b over m)` where the product would have more axes than any of its factors; None elsewhere."""
    plate = call.over
    if plate is None or plate in low.unrolled or plate in low.bound:
        return None
    saved, lets = list(low.scope.lines), dict(low.lets)
    factors = [(e, low.real(low.concrete(low.lower(e)))) for e in factors_of(call.args[0])]
    groups = _groups(low, factors, plate)
    if groups is None:
        low.scope.lines[:], low.lets = saved, lets
        return None
    return contracted(low, groups, plate)


def _groups(low, factors: list[tuple[Expr, Value]], plate: str) -> list[Value] | None:
    """The products of factors that lie on the axes of one of them, each 0 at sites that are not there, if they are several."""
    values = [v for _, v in factors]
    shapes = {v.shape for v in values if v.shape}
    if any(v.number or v.relaxed for v in values) or len(shapes) > 1 or any(len(s) > 1 for s in shapes):
        return None
    if not any(plate in v.axes for v in values):
        return None
    groups = grouped([frozenset((*v.axes, *v.shape)) for v in values])
    return [_product(low, [factors[i] for i in g], plate) for g in groups] if len(groups) > 1 else None


def _product(low, factors: list[tuple[Expr, Value]], plate: str) -> Value:
    """Factors multiplied at each entry, 0 at the sites of a ragged plate that an example has not."""
    values = [v for _, v in factors]
    axes, _, aligned = low.broadcast(*values)
    if len(values) == 1:
        value = values[0]
    else:
        code = reduce(lambda a, b: f"{a} * {b}", [v.at(UNARY) for v in aligned])
        value = Value(code, axes, max((v.shape for v in values), key=len), PRODUCT, draws=join_draws(*values))
    if (
        plate not in axes
        or not low.spec.plate(plate).ragged
        or len(factors) == 1
        and _zero_beyond(factors[0][0], plate)
    ):
        return value
    mask = Value(low.mask(plate), low.plate_axes(plate))
    axes, _, (x, real) = low.broadcast(value, mask)
    return x.with_(code=f"{low.scope.use('real_sites')}({x.code}, {real.code})", axes=axes, binds=ATOM)


def _zero_beyond(expr: Expr, plate: str) -> bool:
    return isinstance(expr, Call) and expr.function == "softmax" and expr.over == plate


def contracted(low, values: list[Value], plate: str) -> Value:
    """Σ over a plate of the product of tensors, of which no two lie on the axes of one."""
    axes = tuple(a for a in low.order.union(*values) if a != plate)
    shape = max((v.shape for v in values), key=len)
    draws = join_draws(*values)
    if len(values) == 2 and (code := _matrix_product(values, axes, plate)) is not None:
        return Value(code, axes, shape, PRODUCT, draws=draws)
    letter = dict(zip((*axes, plate), LETTERS, strict=False))
    terms = ["".join(letter[a] for a in v.axes) + "d" * len(v.shape) for v in values]
    equation = f"{','.join(terms)}->{''.join(letter[a] for a in axes)}{'d' * len(shape)}"
    return Value(f'torch.einsum("{equation}", {", ".join(v.code for v in values)})', axes, shape, draws=draws)


def _matrix_product(values: list[Value], axes: tuple[str, ...], plate: str) -> str | None:
    """Numbers (.., t, m) times vectors (.., m) as `a @ v`, in whichever order t and m are."""
    numbers, vectors = sorted(values, key=lambda v: len(v.shape))
    lead = axes[:-1]
    if numbers.shape or not vectors.shape or vectors.axes != (*lead, plate) or not axes:
        return None
    if {*numbers.axes} != {*axes, plate} or numbers.axes[:-2] != lead:
        return None
    left = permute(numbers, (*axes, plate)) if numbers.axes[-1] == plate or numbers.factors else None
    code = left.at(UNARY) if left else f"{numbers.at(ATOM)}.mT"
    return f"{code} @ {vectors.at(ATOM)}"
