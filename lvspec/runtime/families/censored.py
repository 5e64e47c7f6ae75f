"""Values that are observed up to a bound: CensoredExponential, CensoredWeibull, CensoredLogNormal, CensoredNormal."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.special import log_ndtr

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.exponential import Exponential
from lvspec.runtime.families.log_normal import LogNormal
from lvspec.runtime.families.noise import base_shape
from lvspec.runtime.families.normal import Normal
from lvspec.runtime.families.special import as_tensor
from lvspec.runtime.families.weibull import Weibull

__all__ = ["CensoredExponential", "CensoredLogNormal", "CensoredNormal", "CensoredWeibull"]


class Censored(Distribution):
    """min(x, at) of x ~ family(arguments), elementwise: the density below `at`, and the probability that x >= at from there on."""

    def __init__(self, family: type[Distribution], arguments: tuple[Tensor, ...], at: Tensor):
        self.family, self.arguments, self.at = family, arguments, at

    def log_survival(self, t: Tensor) -> Tensor:
        """log P(x >= t)."""
        raise NotImplementedError

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) where x < at, else log P(x >= at)."""
        at = as_tensor(self.at, x)
        seen = x < at
        inner = self.family(*self.arguments).log_prob(torch.where(seen, x, torch.ones_like(x)))
        return torch.where(seen, inner, self.log_survival(at))

    def sample(self, lead: tuple[int, ...] = ()) -> Tensor:
        shape, like = base_shape((*self.arguments, self.at), ())
        arguments = [torch.as_tensor(a, dtype=like.dtype, device=like.device).expand(shape) for a in self.arguments]
        return torch.minimum(self.family(*arguments).sample(lead), as_tensor(self.at, like).detach())


class CensoredExponential(Censored):
    """Exponential(rate) up to `at`."""

    def __init__(self, rate: Tensor, at: Tensor):
        super().__init__(Exponential, (rate,), at)
        self.rate = rate

    def log_survival(self, t: Tensor) -> Tensor:
        """-rate t."""
        (rate,) = self.arguments
        return -rate * t.clamp_min(0)

    sample = Censored.sample


class CensoredWeibull(Censored):
    """Weibull(scale, concentration) up to `at`."""

    def __init__(self, scale: Tensor, concentration: Tensor, at: Tensor):
        super().__init__(Weibull, (scale, concentration), at)
        self.scale, self.concentration = scale, concentration

    def log_survival(self, t: Tensor) -> Tensor:
        """-(t / scale)^k."""
        scale, k = self.arguments
        u = t / scale
        return -(torch.where(u > 0, u, torch.ones_like(u)) ** k) * (u > 0)

    sample = Censored.sample


class CensoredNormal(Censored):
    """Normal(loc, scale) up to `at`."""

    def __init__(self, loc: Tensor, scale: Tensor, at: Tensor):
        super().__init__(Normal, (loc, scale), at)
        self.loc, self.scale = loc, scale

    def log_survival(self, t: Tensor) -> Tensor:
        """log Φ((loc - t) / scale)."""
        loc, scale = self.arguments
        return log_ndtr((loc - t) / scale)

    sample = Censored.sample


class CensoredLogNormal(Censored):
    """LogNormal(loc, scale) up to `at`."""

    def __init__(self, loc: Tensor, scale: Tensor, at: Tensor):
        super().__init__(LogNormal, (loc, scale), at)
        self.loc, self.scale = loc, scale

    def log_survival(self, t: Tensor) -> Tensor:
        """log Φ((loc - log t) / scale), 0 of t = 0."""
        loc, scale = self.arguments
        some = torch.where(t > 0, t, torch.ones_like(t))
        return torch.where(t > 0, log_ndtr((loc - some.log()) / scale), torch.zeros_like(t))

    sample = Censored.sample
