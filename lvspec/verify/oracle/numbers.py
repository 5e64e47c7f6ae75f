"""Families of one number that is a function of noise with a distribution of its own: each said once, from the textbook.

The verifier's own formulas: nothing here is shared with the runtime that it judges.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NumberFamily:
    """log_density: of a value and the arguments. noise: the inverse distribution function of what runtime/families documents as
    the noise. draw: the value that the noise stands for, of the noise and the arguments. mean: of the arguments, where there is one.
    divergence: KL(q || p) of their arguments, q's and then p's, where it has a closed form."""

    log_density: Callable[..., Tensor]
    noise: Callable[[Tensor], Tensor]
    draw: Callable[..., Tensor]
    mean: Callable[..., Tensor] | None = None
    divergence: Callable[..., Tensor] | None = None


def _as_it_is(u: Tensor) -> Tensor:
    return u


def _exponential_noise(u: Tensor) -> Tensor:
    return -torch.log1p(-u)


def _exponential_divergence(q: Tensor, p: Tensor) -> Tensor:
    return torch.log(q / p) + p / q - 1


def _half_normal(value: Tensor, scale: Tensor) -> Tensor:
    return 0.5 * math.log(2 / math.pi) - torch.log(scale) - 0.5 * (value / scale) ** 2


def _weibull(value: Tensor, scale: Tensor, concentration: Tensor) -> Tensor:
    u = value / scale
    return torch.log(concentration / scale) + (concentration - 1) * torch.log(u) - u**concentration


def _uniform(value: Tensor, low: Tensor, high: Tensor) -> Tensor:
    inside = (value >= low) & (value < high)
    return torch.where(inside, -torch.log(high - low), torch.full_like(low, -math.inf))


def _cauchy(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    return -torch.log(math.pi * scale * (1 + ((value - loc) / scale) ** 2))


def _cauchy_divergence(m: Tensor, s: Tensor, n: Tensor, r: Tensor) -> Tensor:
    return torch.log((s + r) ** 2 + (m - n) ** 2) - torch.log(4 * s * r)


def _half_cauchy(value: Tensor, scale: Tensor) -> Tensor:
    return math.log(2 / math.pi) - torch.log(scale) - torch.log1p((value / scale) ** 2)


def _truncated_normal(value: Tensor, loc: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
    a, b, _ = _from_the_lower_tail((low - loc) / scale, (high - loc) / scale)
    mass = _ndtr(b) - _ndtr(a)
    density = -0.5 * ((value - loc) / scale) ** 2 - 0.5 * math.log(2 * math.pi) - torch.log(scale * mass)
    return torch.where((value >= low) & (value <= high), density, torch.full_like(density, -math.inf))


def _truncated_normal_draw(n: Tensor, loc: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
    a, b, side = _from_the_lower_tail((low - loc) / scale, (high - loc) / scale)
    share = torch.where(side > 0, n, 1 - n)
    return loc + scale * side * torch.special.ndtri((1 - share) * _ndtr(a) + share * _ndtr(b))


def _truncated_normal_mean(loc: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
    a, b, side = _from_the_lower_tail((low - loc) / scale, (high - loc) / scale)
    above = torch.exp(-0.5 * a * a) - torch.exp(-0.5 * b * b)
    mass = _ndtr(b) - _ndtr(a)
    return loc + scale * side * above / (math.sqrt(2 * math.pi) * mass)


def _ndtr(z: Tensor) -> Tensor:
    """Φ; torch.special.ndtr has few digits far below 0."""
    return 0.5 * torch.erfc(-z / math.sqrt(2))


def _from_the_lower_tail(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """An interval, mirrored where more of it is above 0, since differences of numbers near 1 have few digits; and 1, or -1."""
    side = torch.where(a + b > 0, -1.0, 1.0).to(a.dtype)
    return torch.where(side > 0, a, -b), torch.where(side > 0, b, -a), side


NUMBERS: dict[str, NumberFamily] = {
    "Exponential": NumberFamily(
        lambda value, rate: torch.log(rate) - rate * value,
        _exponential_noise,
        lambda n, rate: n / rate,
        lambda rate: rate.reciprocal(),
        _exponential_divergence,
    ),
    "HalfNormal": NumberFamily(
        _half_normal,
        lambda u: torch.special.ndtri((1 + u) / 2),
        lambda n, scale: scale * n,
        lambda scale: scale * (2 / math.pi) ** 0.5,
    ),
    "Weibull": NumberFamily(
        _weibull,
        _exponential_noise,
        lambda n, scale, concentration: scale * torch.exp(torch.log(n) / concentration),
        lambda scale, concentration: scale * torch.exp(torch.lgamma((concentration + 1) / concentration)),
    ),
    "Cauchy": NumberFamily(
        _cauchy,
        lambda u: torch.tan(math.pi * (u - 0.5)),
        lambda n, loc, scale: loc + scale * n,
        divergence=_cauchy_divergence,
    ),
    "HalfCauchy": NumberFamily(_half_cauchy, lambda u: torch.tan(math.pi * u / 2), lambda n, scale: scale * n),
    "TruncatedNormal": NumberFamily(_truncated_normal, _as_it_is, _truncated_normal_draw, _truncated_normal_mean),
    "Uniform": NumberFamily(_uniform, _as_it_is, lambda n, low, high: low + (high - low) * n),
}
