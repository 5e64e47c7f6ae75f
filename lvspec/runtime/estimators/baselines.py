"""Control variates: of the other draws, and one that outlasts a step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["MovingAverage", "leave_one_out", "worth"]

DECAY = 0.9


class MovingAverage(nn.Module):
    """signal - b, where b is the mean of earlier steps' signals, each step's share 0.9 times that of the next.

    b does not hold this step's signals, so it reads no draw of this step: the score term stays unbiased. It moves in
    training mode only, is 0 before the first step, and leaves out signals that are not finite, whose draws are worth 0. real:
    which of the signals count, broadcastable to them.
    """

    total: Tensor
    weight: Tensor

    def __init__(self, decay: float = DECAY):
        super().__init__()
        self.decay = decay
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    def forward(self, signal: Tensor, real: Tensor | None = None) -> Tensor:
        before = self.total / self.weight.clamp_min(1e-12)
        if self.training:
            self._move(signal.detach(), real)
        return worth(signal - before)

    @torch.no_grad()
    def _move(self, signal: Tensor, real: Tensor | None) -> None:
        counts = signal.isfinite() if real is None else signal.isfinite() & real
        number = counts.sum()
        mean = torch.where(counts, signal, 0.0).sum() / number.clamp_min(1)
        share = (1.0 - self.decay) * (number > 0)  # a step without signals is none
        self.total.copy_((1.0 - share) * self.total + share * mean)
        self.weight.copy_((1.0 - share) * self.weight + share)


def leave_one_out(cost: Tensor) -> Tensor:
    """cost - mean of the other samples' costs, (S, ...), S >= 2: the score function's control variate."""
    samples = cost.shape[0]
    if samples < 2:
        raise ValueError("leave-one-out needs at least two samples")
    return worth((cost - cost.mean(0)) * (samples / (samples - 1)))


def worth(advantage: Tensor) -> Tensor:
    """What multiplies ∇ log q, without gradient: 0 where it is not finite. An example that a draw leaves impossible says so by its
    bound, -inf, and moves no q: the gradients of other examples stay numbers."""
    return advantage.detach().nan_to_num(0.0, 0.0, 0.0)
