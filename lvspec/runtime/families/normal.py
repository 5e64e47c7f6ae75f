"""Normal(loc, scale)."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import may_look
from lvspec.runtime.families.distribution import ExponentialFamily, Parameters
from lvspec.runtime.families.noise import standard_normal
from lvspec.runtime.families.special import LOG_TWO_PI, as_tensor, log_of

__all__ = ["Normal"]


class Normal(ExponentialFamily):
    """N(loc, scale²), elementwise. Arguments may be plain numbers, as long as one of them or the value is a tensor.

    In a mean field t = (x, x²), with natural parameters loc / scale² and -1 / (2 scale²)."""

    def __init__(self, loc: Tensor, scale: Tensor):
        self.loc, self.scale = loc, scale

    def log_prob(self, x: Tensor) -> Tensor:
        """-(x - loc)² / (2 scale²) - log scale - log(2 π) / 2."""
        like = x if isinstance(x, Tensor) and x.is_floating_point() else torch.as_tensor(self.loc)
        scale = as_tensor(self.scale, like)
        return -0.5 * ((x - self.loc) / scale) ** 2 - scale.log() - 0.5 * LOG_TWO_PI

    def table(self, x: Tensor) -> Tensor:
        """log N(x; loc, scale²) of every site under every state: x (*D, F), loc and scale (*E, F) -> (*D, *E).

        With one scale for all states the square is expanded, so that the product with all states is one matrix
        product. The expansion cancels badly where standardised values are large: there, and wherever looking would
        have to wait for the device or break a compiled graph, the direct form is taken.
        """
        loc, scale = torch.broadcast_tensors(self.loc, self.scale)
        states, features = loc.shape[:-1], loc.shape[-1]
        constant = scale.log().sum(-1) + 0.9189385332046727 * features
        centre = loc.detach().reshape(-1, features).mean(0)
        a, m = (x - centre) / scale.reshape(-1, features)[0], ((loc - centre) / scale).reshape(-1, features)
        if not _expands(a, m, scale):
            spread = x.reshape(*x.shape[:-1], *[1] * len(states), features)
            return -0.5 * ((spread - loc) / scale).square().sum(-1) - constant
        square = a.square().sum(-1, keepdim=True) * 0.5 + (m.square().sum(-1) * 0.5 + constant.reshape(-1))
        return (a @ m.mT - square).reshape(*x.shape[:-1], *states)

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        return standard_normal((self.loc, self.scale), lead)

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """loc + scale noise."""
        return self.loc + self.scale * (self.noise() if noise is None else noise)

    def kl(self, other: Normal) -> Tensor:
        """log(s_p / s_q) + (s_q² + (m_q - m_p)²) / (2 s_p²) - 1/2."""
        ratio = self.scale / other.scale
        return 0.5 * (ratio**2 + ((self.loc - other.loc) / other.scale) ** 2 - 1) - log_of(ratio)

    def entropy(self) -> Tensor:
        """log scale + (1 + log 2 π) / 2."""
        return (self.scale.log() + 0.5 * (1 + LOG_TWO_PI)) + torch.zeros_like(self.loc)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.scale**2

    def natural(self) -> Parameters:
        return self.loc / self.scale**2, -0.5 / self.scale**2

    @classmethod
    def from_natural(cls, *natural: Tensor) -> Normal:
        first, second = natural
        return cls(-0.5 * first / second, (-2 * second) ** -0.5)

    def statistics(self) -> Parameters:
        return self.loc + torch.zeros_like(self.scale), self.loc**2 + self.scale**2

    def scattered(self) -> Normal:
        return Normal(self.loc + self.scale * torch.randn_like(self.scale + self.loc), self.scale.clone())

    @staticmethod
    def expected_log_prob(x: Tensor, loc: Tensor, square: Tensor, log: Tensor, mean: Tensor) -> Tensor:
        """(E log tau - log 2 π - E tau (x² - 2 x E mu + E mu²)) / 2: tau the precision, mu the mean."""
        # x² - 2 x E mu + E mu² = (x - E mu)² + Var mu: without cancellation
        return 0.5 * (log - LOG_TWO_PI - mean * ((x - loc) ** 2 + (square - loc**2)))


def _expands(a: Tensor, m: Tensor, scale: Tensor) -> bool:
    """Whether |a|² - 2 a·m + |m|² is safe: one scale for all states, moderate values."""
    if not may_look(a) or not a.numel():
        return False
    if scale.stride()[:-1].count(0) != scale.dim() - 1 and not (scale == scale.reshape(-1, scale.shape[-1])[0]).all():
        return False
    return bool(m.detach().abs().amax() < 100 and a.detach().abs().amax() < 100)
