"""The sum of a program in probabilities: the program under the real numbers, with + and *, without a logarithm.

    log Z = lost + log sum_y prod_parts p(part)          p = exp(theta - a shift)

Shifts are constants. Trees all have as many parts of a kind as they have words, so what log Z loses by them is known. They
keep every sum below a float64's largest number. What underflows is lost: where Z is large beside it nothing was lost that
counts, and elsewhere the sum is done again in logs. All numbers are sums of products of positive ones, so none cancel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import LOG, REAL, axes_of, may_look

LEAST_TOTAL = 1e-140  # of Z: what is lost is below 1e-290, and a second derivative has Z squared beneath it


def in_probabilities(program: Callable[..., Tensor], theta: tuple, lower: Callable[[], tuple[tuple, Tensor]]) -> Tensor:
    """log Z (B,) of program(semiring, *theta). lower: theta with constants taken away, and what log Z has lost, (B,)."""
    if may_look(theta[0]):
        shifted, lost = lower()
        total = program(REAL, *shifted)
        if bool((total.detach() > LEAST_TOTAL).all()):
            return total.log() + lost
    return program(LOG, *theta)


def typical(x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """The mean of exp(x) over what is possible as a log, a constant of one entry along axes; 0 where nothing is."""
    x, axes = x.detach(), axes_of(x, axes)
    if any(x.shape[a] == 0 for a in axes):
        return x.new_zeros([1 if i in axes else n for i, n in enumerate(x.shape)])
    found = torch.logsumexp(x, axes, keepdim=True) - (x > -torch.inf).sum(axes, keepdim=True).log()
    return found.nan_to_num(0.0, 0.0, 0.0)


def peak(x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """The maximum along axes in the same way."""
    x, axes = x.detach(), axes_of(x, axes)
    if any(x.shape[a] == 0 for a in axes):
        return x.new_zeros([1 if i in axes else n for i, n in enumerate(x.shape)])
    top = x.amax(axes, keepdim=True)
    return top.masked_fill(top == -torch.inf, 0.0)
