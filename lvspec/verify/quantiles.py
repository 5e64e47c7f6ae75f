"""Base noise from uniform points: the inverse distribution functions of the noise that runtime/draws.py documents.

Normal, LogNormal  Φ⁻¹(u)        Laplace  sign(u - ½) · -log(1 - |2u - 1|)        Exponential  -log(1 - u)        Uniform  u
Gamma              the value itself, by halving intervals of its logarithm
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

HALVINGS = 60  # of an interval of 100 in the logarithm: to 1e-16


def normal(u: Tensor) -> Tensor:
    return torch.special.ndtri(u)


def laplace(u: Tensor) -> Tensor:
    side = 2 * u - 1
    return -side.sign() * torch.log1p(-side.abs())


def exponential(u: Tensor) -> Tensor:
    return -torch.log1p(-u)


def gamma(u: Tensor, concentration: Tensor, rate: Tensor) -> Tensor:
    """F⁻¹(u) of Gamma(concentration, rate), without gradient."""
    low, high = torch.full_like(u, -90.0), torch.full_like(u, 10.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = torch.special.gammainc(concentration.expand_as(u), middle.exp()) < u
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return ((low + high) / 2).exp() / rate


# noise that does not depend on what q is given
FREE: dict[str, Callable[[Tensor], Tensor]] = {
    "Normal": normal,
    "LogNormal": normal,
    "Laplace": laplace,
    "Exponential": exponential,
    "Uniform": lambda u: u,
}
# noise that is the value itself, and the arguments that say how it is distributed
GIVEN: dict[str, tuple[tuple[str, ...], Callable[..., Tensor]]] = {"Gamma": (("concentration", "rate"), gamma)}
