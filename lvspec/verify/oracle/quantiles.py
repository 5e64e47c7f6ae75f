"""Base noise from uniform points: the inverse distribution functions of the noise that runtime/families documents.

Normal, LogNormal  Φ⁻¹(u)        Laplace  sign(u - ½) · -log(1 - |2u - 1|)        others of one number: numbers.py
Gamma              the value itself, by halving intervals of its logarithm
Beta               the value itself, by a table of its distribution function over log-odds
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lvspec.verify.oracle.numbers import NUMBERS

HALVINGS = 60  # of an interval of 100 in the logarithm: to 1e-16


def normal(u: Tensor) -> Tensor:
    return torch.special.ndtri(u)


def laplace(u: Tensor) -> Tensor:
    side = 2 * u - 1
    return -side.sign() * torch.log1p(-side.abs())


def gamma(u: Tensor, concentration: Tensor, rate: Tensor) -> Tensor:
    """F⁻¹(u) of Gamma(concentration, rate), without gradient."""
    low, high = torch.full_like(u, -90.0), torch.full_like(u, 10.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = torch.special.gammainc(concentration.expand_as(u), middle.exp()) < u
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return ((low + high) / 2).exp() / rate


def beta(u: Tensor, concentration1: Tensor, concentration0: Tensor) -> Tensor:
    """F⁻¹(u) of Beta(concentration1, concentration0), without gradient, to 1e-5 in log-odds."""
    a, b = concentration1, concentration0
    odds = torch.linspace(-150, 150, 60_001, dtype=u.dtype)
    step = odds[1] - odds[0]
    log_rising, log_falling = torch.nn.functional.logsigmoid(odds), torch.nn.functional.logsigmoid(-odds)
    density = torch.exp(a * log_rising + b * log_falling + torch.lgamma(a + b) - torch.lgamma(a) - torch.lgamma(b))
    below = torch.cumsum((density[1:] + density[:-1]) * step / 2, 0)
    below = torch.cat([below.new_zeros(1), below / below[-1]])
    left = (torch.searchsorted(below, u) - 1).clamp(0, len(below) - 2)
    share = (u - below[left]) / (below[left + 1] - below[left])
    return torch.sigmoid(odds[left] + share * step)


# noise that does not depend on what q is given
FREE: dict[str, Callable[[Tensor], Tensor]] = {
    "Normal": normal,
    "LogNormal": normal,
    "Laplace": laplace,
    **{name: family.noise for name, family in NUMBERS.items()},
}
# noise that is the value itself, and the arguments that say how it is distributed
GIVEN: dict[str, tuple[tuple[str, ...], Callable[..., Tensor]]] = {
    "Gamma": (("concentration", "rate"), gamma),
    "Beta": (("concentration1", "concentration0"), beta),
}
