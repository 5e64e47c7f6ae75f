"""x + f(x): a perceptron whose result is added to what goes in (He et al. 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from lvspec.runtime.networks.declared import MLP

__all__ = ["Residual"]


class Residual(nn.Module):
    """x + MLP(x): (*lead, in) -> the same. sizes: in, hidden...; without a hidden one the map is linear."""

    def __init__(self, *sizes: int, activation: str = "relu", dropout: float = 0.0, bias: bool = True):
        super().__init__()
        self.added = MLP(*sizes, sizes[0], activation=activation, dropout=dropout, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.added(x)
