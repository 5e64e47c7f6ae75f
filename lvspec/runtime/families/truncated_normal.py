"""TruncatedNormal(loc, scale, low, high)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.special import log_ndtr, ndtri

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import standard_uniform
from lvspec.runtime.families.special import LOG_TWO_PI, as_tensor

__all__ = ["TruncatedNormal"]

FAR = 1e18  # standard deviations, whose squares are numbers


class TruncatedNormal(Distribution):
    """A Normal(loc, scale) given that low <= x <= high, elementwise. a = (low - loc) / scale, b = (high - loc) / scale."""

    def __init__(self, loc: Tensor, scale: Tensor, low: Tensor, high: Tensor):
        self.loc, self.scale, self.low, self.high = loc, scale, low, high

    def _ends(self, like: Tensor) -> tuple[Tensor, Tensor]:
        loc, scale = as_tensor(self.loc, like), as_tensor(self.scale, like)
        a, b = (as_tensor(self.low, like) - loc) / scale, (as_tensor(self.high, like) - loc) / scale
        return torch.broadcast_tensors(a.clamp(-FAR, FAR), b.clamp(-FAR, FAR))

    def log_prob(self, x: Tensor) -> Tensor:
        """-y² / 2 - log scale - log(2π) / 2 - log(Φ(b) - Φ(a)), y = (x - loc) / scale; -inf outside."""
        scale = as_tensor(self.scale, x)
        inside = (x >= self.low) & (x <= self.high)
        y = (torch.where(inside, x, as_tensor(self.low, x)) - self.loc) / scale
        mass = log_mass(*self._ends(scale))
        return (-0.5 * y**2 - scale.log() - 0.5 * LOG_TWO_PI - mass).masked_fill(~inside, -torch.inf)

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        """The share of the mass below the draw, uniform."""
        return standard_uniform((self.loc, self.scale, self.low, self.high), lead)

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """loc + scale z, Φ(z) = (1 - u) Φ(a) + u Φ(b), so that dz = ((1 - u) φ(a) da + u φ(b) db) / φ(z)."""
        noise = self.noise() if noise is None else noise
        a, b = self._ends(noise)
        with torch.no_grad():
            z = quantile(noise, a, b)
            from_a = (1 - noise) * torch.exp(0.5 * (z - a) * (z + a))
            from_b = noise * torch.exp(0.5 * (z - b) * (z + b))
        moved = z + from_a * (a - a.detach()) + from_b * (b - b.detach())
        drawn = as_tensor(self.loc, noise) + as_tensor(self.scale, noise) * moved
        between = torch.maximum(torch.minimum(drawn, as_tensor(self.high, noise)), as_tensor(self.low, noise)).detach()
        return drawn + (between - drawn).detach()  # whatever rounding does

    def entropy(self) -> Tensor:
        """log(scale (Φ(b) - Φ(a))) + log(2π) / 2 + E z² / 2."""
        mass, _, square = moments_between(*self._ends(self._like))
        return as_tensor(self.scale, mass).log() + mass + 0.5 * LOG_TWO_PI + 0.5 * square

    @property
    def mean(self) -> Tensor:
        """loc + scale E z, E z = (φ(a) - φ(b)) / (Φ(b) - Φ(a))."""
        return self.loc + self.scale * moments_between(*self._ends(self._like))[1]

    @property
    def _like(self) -> Tensor:
        given = (self.loc, self.scale, self.low, self.high)
        return next(v for v in given if isinstance(v, Tensor) and v.is_floating_point())


def _log_normal(z: Tensor) -> Tensor:
    return -0.5 * z**2 - 0.5 * LOG_TWO_PI


# nodes in [-1, 1] and weights of Gauss and Legendre's rule
LEGENDRE_NODES = (0.1488743389816312, 0.4333953941292472, 0.6794095682990244, 0.8650633666889845, 0.9739065285171717)
WEIGHTS = (0.2955242247147529, 0.2692667193099963, 0.2190863625159820, 0.1494513491505806, 0.0666713443086881)


def log_mass(a: Tensor, b: Tensor) -> Tensor:
    """log(Φ(b) - Φ(a)), a <= b."""
    return moments_between(a, b)[0]


def moments_between(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log(Φ(b) - Φ(a)), and E z and E z² of a standard normal z between a and b. Of a wide interval from the tail that it lies in, of a
    narrow one by Gauss and Legendre's rule, since differences of close numbers have few digits."""
    mirrored = a + b > 0
    side = torch.where(mirrored, -1.0, 1.0).to(a.dtype)
    a, b = torch.where(mirrored, -b, a), torch.where(mirrored, -a, b)
    width, middle = b - a, 0.5 * (a + b)
    narrow = width * middle.abs().clamp_min(1) < 1
    low = torch.where(narrow, b - 1, a)
    above, below = log_ndtr(b), log_ndtr(low)
    wide = above + torch.log(-torch.expm1(below - above))
    at_low, at_high = torch.exp(_log_normal(low) - wide), torch.exp(_log_normal(b) - wide)
    half, centre = (torch.where(narrow, v, torch.zeros_like(v)) for v in (0.5 * width, middle))
    steps = [(sign * t * half, 0.5 * w) for t, w in zip(LEGENDRE_NODES, WEIGHTS, strict=True) for sign in (-1, 1)]
    shares = [w * torch.exp(-s * (centre + 0.5 * s)) for s, w in steps]
    total = torch.stack(shares).sum(0)
    mean, square = (
        sum(share * (centre + s) ** k for share, (s, _) in zip(shares, steps, strict=True)) / total for k in (1, 2)
    )
    size = torch.where(narrow, width, torch.ones_like(width))
    mass = torch.where(narrow, size.log() + _log_normal(centre) + total.log(), wide)
    mean = side * torch.where(narrow, mean, at_low - at_high)
    return mass, mean, torch.where(narrow, square, 1 + low * at_low - b * at_high)


def quantile(u: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """z between a and b with Φ(z) = (1 - u) Φ(a) + u Φ(b), without gradient."""
    u, a, b = torch.broadcast_tensors(u, a, b)
    limits = torch.finfo(u.dtype)
    mirrored = a + b > 0
    low, high = torch.where(mirrored, -b, a), torch.where(mirrored, -a, b)
    share = torch.where(mirrored, 1 - u, u).clamp(limits.tiny, 1 - 0.5 * limits.eps)
    log_p = torch.logaddexp(torch.log1p(-share) + log_ndtr(low), share.log() + log_ndtr(high))
    z = ndtri(log_p.exp().clamp(limits.tiny, 1 - 0.5 * limits.eps))
    tail = log_p < -10
    far = -torch.sqrt((-2 * log_p - LOG_TWO_PI - torch.log(-2 * log_p.clamp_max(-10))).clamp_min(1))
    for _ in range(4):  # Newton's steps on log Φ, whose slope is φ / Φ
        far = far - (log_ndtr(far) - log_p) * torch.special.erfcx(-far / math.sqrt(2)) * math.sqrt(math.pi / 2)
    z = torch.where(tail, far, z)
    flat = (high - low) * torch.maximum(low.abs(), high.abs()).clamp_min(1) < limits.eps**0.5
    z = torch.where(flat, low + share * (high - low), z)  # where the density hardly changes
    z = torch.maximum(torch.minimum(z, high), low)
    return torch.where(mirrored, -z, z)
