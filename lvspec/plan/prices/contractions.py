"""What a sum pays that goes variable by variable: the factors that meet in a step, joined two by two (runtime/core/contract.py).

log Σ_z exp(a + b)        by broadcasting: a number for each joint value of both, kept for the gradient
                          by a product: exp(a - max a) @ exp(b - max b), where that is worth its operations
"""

from __future__ import annotations

from collections.abc import Sequence

from lvspec.ir.axes import latent_of
from lvspec.ir.elimination import elimination_steps, meeting_order
from lvspec.plan.prices.price import OF_SUMS, TRAINING, Pricer

Axes = frozenset[str]

BROADCAST_ENTRIES = 4096  # as in runtime/core/contract.py
BROADCAST_DISPATCHES, PRODUCT_DISPATCHES = 9, 50  # of a pair, as counted


def pay_contractions(pricer: Pricer, factors: Sequence[Axes], summed: Sequence[str], keep: Axes = frozenset()) -> None:
    """Σ over the axes `summed`, in the order of the story, of a product of factors. keep: plates of the latents, each of which
    falls off with the last latent that lives on it."""
    steps = elimination_steps([f & set(summed) for f in factors], summed, pricer.length)
    left = [frozenset(f) for f in factors]
    for step in steps:
        met = [f for f in left if step.axis in f]
        left = [f for f in left if step.axis not in f]
        out = _pay_step(pricer, met, step.axis) if met else frozenset()
        left.append(_without_plates(pricer, out, set(summed), keep))


def _without_plates(pricer: Pricer, axes: Axes, latents: set[str], plates: Axes) -> Axes:
    """A sum over sites: the plates on which nothing that is left to sum lives."""
    lived = {p for a in axes & latents for p in pricer.model.spec.variable(latent_of(a)).plates}
    return axes - (plates - lived)


def _pay_step(pricer: Pricer, met: list[Axes], axis: str) -> Axes:
    """One factor after the other; the axis is summed with the last one."""
    value, *others = (met[i] for i in meeting_order(met, pricer.extent))
    if not others:
        _pay_pair(pricer, value, frozenset(), value - {axis})
    for i, other in enumerate(others):
        out = (value | other) - ({axis} if i == len(others) - 1 else frozenset())
        _pay_pair(pricer, value, other, out)
        value = out
    return value - {axis}


def _pay_pair(pricer: Pricer, a: Axes, b: Axes, out: Axes) -> None:
    """out: the axes that stay. What is shared and does not stay is summed."""
    entries, result = pricer.extent(a | b), pricer.extent(out)
    pricer.flops += TRAINING * entries
    if b and (a & b) - out and entries > BROADCAST_ENTRIES:
        read = pricer.extent(a) + pricer.extent(b)
        pricer.calls(PRODUCT_DISPATCHES, OF_SUMS)
        pricer.exponentials += read + result
        pricer.holds(read + 2 * result, 2 * (read + result))
        return
    pricer.calls(BROADCAST_DISPATCHES, OF_SUMS)
    if out != a | b:
        pricer.exponentials += entries
        pricer.holds(entries + result, 2 * entries)
    else:  # an addition: the sum is kept where its reader needs it
        pricer.holds(result, result)
