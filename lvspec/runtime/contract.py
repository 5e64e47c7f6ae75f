"""Sum-product in log space: contract("btz,zw->btw", a, b) = log sum_z exp(a[b,t,z] + b[z,w])."""

from __future__ import annotations

from torch import Tensor

from lvspec.runtime.semiring import LOG, full_precision


def over_axes(factor: Tensor, axes: str, union: str) -> Tensor:
    """A factor with axes named by `axes`, permuted and with axes of one so that it broadcasts over `union`."""
    order = sorted(range(len(axes)), key=lambda i: union.index(axes[i]))
    present = set(axes)
    index = tuple(slice(None) if letter in present else None for letter in union)
    return factor.permute(order)[index]


def contract(equation: str, *log_factors: Tensor, semiring=LOG) -> Tensor:
    """log of the sum over all axes that the output lacks of the product of exp(factors)."""
    inputs, output = equation.replace(" ", "").split("->")
    terms = list(zip(inputs.split(","), map(full_precision, log_factors), strict=True))
    axes, value = terms[0]
    for position, (letters, factor) in enumerate(terms[1:], start=1):
        later = set(output).union(*(a for a, _ in terms[position + 1 :]))
        kept = "".join(dict.fromkeys(a for a in axes + letters if a in later))
        value, axes = combine(value, axes, factor, letters, kept, semiring), kept
    return combine(value, axes, None, "", output, semiring)


def combine(value: Tensor, axes: str, factor: Tensor | None, letters: str, kept: str, semiring) -> Tensor:
    """One pairwise step by broadcasting: add, then reduce the axes that are not kept."""
    summed = "".join(dict.fromkeys(a for a in axes + letters if a not in kept))
    union = kept + summed
    both = over_axes(value, axes, union)
    if factor is not None:
        both = both + over_axes(factor, letters, union)
    return semiring.sum(both, tuple(range(len(kept), len(union)))) if summed else both
