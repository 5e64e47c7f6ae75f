"""Multi-sample bounds of log p(x) as functions of log importance weights, (S, B), and what their gradients need.

F(log w) = 1/(1 - α) log 1/S Σ_s w_s^(1 - α)       α = 0: importance-weighted; α -> 1: the mean, the ELBO
dF / d log w_s = v_s,  v = softmax_s((1 - α) log w)
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from lvspec.runtime.core.semiring import log_sum_exp
from lvspec.runtime.estimators.baselines import worth

__all__ = ["Reweighted", "elbo_bound", "frozen", "gradient_alone", "iwae", "renyi", "shares", "vimco"]


def renyi(log_weight: Tensor, alpha: float) -> Tensor:
    """F of the weights, (B,), 0 <= alpha < 1 (Li & Turner 2016). -inf where no draw has mass."""
    scale = 1.0 - alpha
    return (log_sum_exp(scale * log_weight, 0) - math.log(log_weight.shape[0])) / scale


def iwae(log_weight: Tensor) -> Tensor:
    """log 1/S Σ_s w_s, (B,): log p(x) from below, closer with S (Burda et al. 2016)."""
    return renyi(log_weight, 0.0)


def elbo_bound(log_weight: Tensor) -> Tensor:
    """1/S Σ_s log w_s, (B,)."""
    return log_weight.mean(0)


def shares(log_weight: Tensor, alpha: float = 0.0) -> Tensor:
    """v_s = w_s^(1 - α) / Σ_r w_r^(1 - α), (S, B), without gradient; equal ones where no draw has mass."""
    scaled = (1.0 - alpha) * log_weight.detach()
    return torch.where((scaled == -torch.inf).all(0), torch.zeros_like(scaled), scaled).softmax(0)


def gradient_alone(x: Tensor) -> Tensor:
    """0 with the gradient of x; without one where x is not finite."""
    finite = torch.where(x.detach().isfinite(), x, 0.0)
    return finite - finite.detach()


def vimco(log_weight: Tensor, bound) -> Tensor:
    """What each draw adds to the bound, (S, B), without gradient: F(w) - F(w with w_s replaced by the geometric mean of
    the others'), a control variate that does not read z_s (Mnih & Rezende 2016).

    bound: F. With one draw, or where the others have no mass, the control variate is 0; the whole is 0 where F is -inf.
    """
    log_weight = log_weight.detach()
    samples, value = log_weight.shape[0], bound(log_weight)
    if samples < 2:
        return worth(value).expand_as(log_weight)
    own = torch.eye(samples, dtype=torch.bool, device=log_weight.device)[..., None]
    others = torch.where(own, 0.0, log_weight).sum(1) / (samples - 1)  # (S, B), the others' mean
    without = bound(torch.where(own, others[:, None], log_weight).transpose(0, 1))
    return worth(value - torch.where(without.isfinite(), without, 0.0))


class Reweighted:
    """`again(z)` is z; the gradient that reaches it is multiplied by `again.weight`, (S, B), which is set once the bound
    is known: of a doubly reparameterized gradient the second factor (Tucker et al. 2019)."""

    def __init__(self):
        self.weight: Tensor | None = None

    def __call__(self, value: Tensor) -> Tensor:
        return _Reweight.apply(value, self)


class _Reweight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, again: Reweighted) -> Tensor:
        ctx.again = again
        return value.view_as(value)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        weight = ctx.again.weight
        return grad * weight.reshape(*weight.shape, *[1] * (grad.dim() - weight.dim())), None


class _Method(nn.Module):
    """A method of a module as a module of its own."""

    def __init__(self, module: nn.Module, method: str):
        super().__init__()
        self.module, self.method = module, method

    def forward(self, *arguments: Tensor, **named: Tensor) -> Tensor:
        return getattr(self.module, self.method)(*arguments, **named)


class Frozen:
    """A network whose parameters do not move; gradients pass through it to its inputs."""

    def __init__(self, module: nn.Module):
        self.module = module

    @property
    def weight(self) -> Tensor:
        """Of a linear layer or an embedding."""
        weight: Any = self.module.weight
        return weight.detach()

    @property
    def bias(self) -> Tensor | None:
        """Of a linear layer, where it has one."""
        bias: Any = self.module.bias
        return None if bias is None else bias.detach()

    def _run(self, method: str, arguments: tuple[Any, ...], **named: Tensor):
        called = _Method(self.module, method)
        weights = {name: w.detach() for name, w in called.named_parameters()}
        return torch.func.functional_call(called, weights, arguments, named)

    def __call__(self, *arguments: Tensor, **named: Tensor) -> Tensor:
        if hasattr(self.module, "still"):  # some of its parameters are another network's
            still: Any = self.module.still
            return still(*arguments)
        return self._run("forward", arguments, **named)

    def step(self, *arguments: Any) -> tuple[Tensor, Any]:
        return self._run("step", arguments)

    def backwards(self, *arguments: Tensor) -> Tensor:
        return self._run("backwards", arguments)

    def inverse(self, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        return self._run("inverse", arguments)

    def each(self, *arguments: Tensor) -> Tensor:
        return self._run("each", arguments)

    def at(self, *arguments: Tensor) -> Tensor:
        return self._run("at", arguments)

    def paired(self, *arguments: Tensor) -> Tensor:
        return self._run("paired", arguments)


def frozen(module: nn.Module | Frozen) -> Frozen:
    """`module`, its parameters standing still."""
    return module if isinstance(module, Frozen) else Frozen(module)
