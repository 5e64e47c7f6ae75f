"""LogNormal(loc, scale)."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.normal import Normal

__all__ = ["LogNormal"]


class LogNormal(Distribution):
    """exp of a Normal(loc, scale), elementwise."""

    def __init__(self, loc: Tensor, scale: Tensor):
        self.loc, self.scale = loc, scale

    @property
    def log(self) -> Normal:
        """The distribution of the logarithm."""
        return Normal(self.loc, self.scale)

    def log_prob(self, x: Tensor) -> Tensor:
        """Normal(log x; loc, scale) - log x; -inf outside x > 0."""
        inside = x > 0
        log_x = torch.where(inside, x, torch.ones_like(x)).log()
        return (self.log.log_prob(log_x) - log_x).masked_fill(~inside, -torch.inf)

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        return self.log.noise(lead)

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """exp(loc + scale noise)."""
        return self.log.draw(noise).exp()

    def kl(self, other: LogNormal) -> Tensor:
        """That of the logarithms: exp is one-to-one."""
        return self.log.kl(other.log)

    def entropy(self) -> Tensor:
        """loc + log scale + (1 + log 2 π) / 2."""
        return self.loc + self.log.entropy()

    @property
    def mean(self) -> Tensor:
        return (self.loc + self.scale**2 / 2).exp()
