"""Sum-product in log space: contract("btz,zw->btw", a, b) = log sum_z exp(a[b,t,z] + b[z,w]).

Two factors and a summed axis: exp(a - max a) @ exp(b - max b), one matrix product, instead of a tensor of b t z w.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import LOG, full_precision, log_sum_exp, plain_arithmetic

# what underflows in a product of shifted exponentials is below 1e-38 (1e-308): lost beside sums that are larger than this
SAFE_SUM = {torch.float32: 1e-25, torch.float64: 1e-280}
BROADCAST_ENTRIES = 4096  # below this, adding and reducing takes fewer dispatches


def over_axes(factor: Tensor, axes: str, union: str) -> Tensor:
    """A factor with axes named by `axes`, permuted and with axes of one so that it broadcasts over `union`."""
    order = sorted(range(len(axes)), key=lambda i: union.index(axes[i]))
    present = set(axes)
    index = tuple(slice(None) if letter in present else None for letter in union)
    return factor.permute(order)[index]


def contract(equation: str, *log_factors: Tensor, semiring=LOG) -> Tensor:
    """log of the sum over all axes that the output lacks of the product of exp(factors), two by two from the left."""
    inputs, output = equation.replace(" ", "").split("->")
    terms = list(zip(inputs.split(","), map(full_precision, log_factors), strict=True))
    axes, value = terms[0]
    with plain_arithmetic(value):
        if len(terms) == 1:
            return broadcast_sum([(axes, value)], output, semiring)
        for position, (letters, factor) in enumerate(terms[1:], start=1):
            later = set(output).union(*(a for a, _ in terms[position + 1 :]))
            kept = "".join(dict.fromkeys(a for a in axes + letters if a in later))
            if position == len(terms) - 1:
                kept = output
            value, axes = pair_sum((axes, value), (letters, factor), kept, semiring), kept
    return value


def broadcast_sum(terms: list[tuple[str, Tensor]], kept: str, semiring) -> Tensor:
    """One step by broadcasting: add, then reduce the axes that are not kept."""
    letters = "".join(axes for axes, _ in terms)
    summed = "".join(dict.fromkeys(a for a in letters if a not in kept))
    first, *others = (over_axes(x, axes, kept + summed) for axes, x in terms)
    both = sum(others, first)
    return semiring.sum(both, tuple(range(len(kept), len(kept + summed)))) if summed else both


def pair_sum(first: tuple[str, Tensor], second: tuple[str, Tensor], kept: str, semiring) -> Tensor:
    """One step, by a matrix product where that pays and certainly loses nothing."""
    (a_axes, a), (b_axes, b) = first, second
    both = "".join(x for x in a_axes if x in b_axes and x not in kept)
    sizes = dict(zip(a_axes + b_axes, (*a.shape, *b.shape), strict=True))
    entries = 1
    for letter in dict.fromkeys(a_axes + b_axes):
        entries *= sizes[letter]
    plain = semiring is not LOG or a.device.type != "cpu" or torch.compiler.is_compiling()
    if plain or not both or entries <= BROADCAST_ENTRIES or 1 in sizes.values():
        return broadcast_sum([first, second], kept, semiring)
    found = product_sum(own_sum(a_axes, a, both + kept), own_sum(b_axes, b, both + kept), both, kept)
    return broadcast_sum([first, second], kept, semiring) if found is None else found


def own_sum(axes: str, factor: Tensor, needed: str) -> tuple[str, Tensor]:
    """The factor with the axes summed that nobody else reads."""
    own = tuple(i for i, a in enumerate(axes) if a not in needed)
    return "".join(a for a in axes if a in needed), log_sum_exp(factor, own) if own else factor


def product_sum(first: tuple[str, Tensor], second: tuple[str, Tensor], both: str, kept: str) -> Tensor | None:
    """The step as a product of shifted exponentials; None where mass may have been lost."""
    shifted, shifts = [], []
    for axes, x in (first, second):
        places = tuple(axes.index(a) for a in both)
        top = x.detach().amax(places, keepdim=True)
        top = top.masked_fill(top == -torch.inf, 0.0)
        shifted.append((x - top).exp())
        shifts.append(over_axes(top.squeeze(places), "".join(a for a in axes if a not in both), kept))
    equation = f"{first[0]},{second[0]}->{kept}"
    total = torch.einsum(equation, *shifted)
    low = total.detach() < SAFE_SUM[total.dtype]
    if not bool(low.any()):
        return total.log() + shifts[0] + shifts[1] if bool(total.detach().isfinite().all()) else None
    ways = torch.einsum(equation, *[(x.detach() > -torch.inf).to(x.dtype) for _, x in (first, second)])
    if bool((low & (ways > 0)).any()) or not bool(total.detach().isfinite().all()):
        return None
    return total.masked_fill(low, 1.0).log().masked_fill(low, -torch.inf) + shifts[0] + shifts[1]
