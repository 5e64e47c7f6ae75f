"""One convolution along a stretch that looks back only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lvspec.runtime.networks.declared import reversed_stretches

__all__ = ["Convolution"]


class Convolution(nn.Module):
    """y[t] = b + Σ_k W[k] x[t - k dilation], k < kernel, zeros before the first site: (*lead, T, in) -> (*lead, T, out).

    step: one site more; the state is the last (kernel - 1) dilation inputs. backwards: from each stretch's end.
    """

    def __init__(self, size: int, out: int, kernel: int = 3, dilation: int = 1):
        super().__init__()
        self.taps = nn.Conv1d(size, out, kernel, dilation=dilation)
        self.back, self.apart = (kernel - 1) * dilation, dilation

    def forward(self, x: Tensor) -> Tensor:
        lead, extent = x.shape[:-2], x.shape[-2]
        if x.numel() == 0:  # a convolution refuses stretches without a site; the sum keeps the graph
            return x.new_zeros(*lead, extent, self.taps.out_channels) + 0 * sum(p.sum() for p in self.parameters())
        y = self.taps(nn.functional.pad(x.reshape(-1, extent, x.shape[-1]).mT, (self.back, 0))).mT
        return y.reshape(*lead, extent, y.shape[-1])

    def step(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        lead = x.shape[:-1]
        if x.numel() == 0:
            return x.new_zeros(*lead, self.taps.out_channels), state
        x = x.reshape(-1, x.shape[-1], 1)
        seen = torch.cat([x.new_zeros(*x.shape[:-1], self.back) if state is None else state, x], -1)
        y = nn.functional.conv1d(seen[..., :: self.apart], self.taps.weight, self.taps.bias)
        return y.reshape(*lead, y.shape[-2]), seen[..., 1:]

    def backwards(self, x: Tensor, lengths: Tensor) -> Tensor:
        return reversed_stretches(self(reversed_stretches(x, lengths)), lengths)
