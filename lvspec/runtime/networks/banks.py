"""Banks of K alike networks: all of them at one input, each at its own, or one by an index.

each:   x (*lead, in) -> (*lead, K, out)
paired: x (*lead, K, in) -> (*lead, K, out)
at:     index (*lead) int64, x (*lead, in) -> (*lead, out)
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from lvspec.runtime.networks.declared import ACTIVATIONS

__all__ = ["Bank", "EmbeddingBank", "LinearBank", "MLPBank"]


class LinearBank(nn.Module):
    """K linear maps with stacked weights (K, out, in) and biases (K, out)."""

    def __init__(self, K: int, size: int, out: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(K, out, size))
        self.bias = nn.Parameter(torch.empty(K, out)) if bias else None
        bound = 1 / math.sqrt(size) if size else 0.0
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def each(self, x: Tensor) -> Tensor:
        K, out, size = self.weight.shape
        bias = None if self.bias is None else self.bias.reshape(-1)
        return nn.functional.linear(x, self.weight.reshape(K * out, size), bias).unflatten(-1, (K, out))

    def paired(self, x: Tensor) -> Tensor:
        out = torch.einsum("...ki,koi->...ko", x, self.weight)
        return out if self.bias is None else out + self.bias

    def at(self, index: Tensor, x: Tensor) -> Tensor:
        out = (self.weight[index] @ x.unsqueeze(-1)).squeeze(-1)
        return out if self.bias is None else out + self.bias[index]


class MLPBank(nn.Module):
    """K multi-layer perceptrons, layer by layer as LinearBanks."""

    layers: Any  # a ModuleList does not say what it holds

    def __init__(self, K: int, *sizes: int, activation: str = "relu", dropout: float = 0.0, bias: bool = True):
        super().__init__()
        self.layers = nn.ModuleList(LinearBank(K, a, b, bias) for a, b in zip(sizes[:-1], sizes[1:], strict=True))
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)

    def between(self, x: Tensor) -> Tensor:
        return self.dropout(self.activation(x))

    def each(self, x: Tensor) -> Tensor:
        x = self.layers[0].each(x)
        for layer in self.layers[1:]:
            x = layer.paired(self.between(x))
        return x

    def paired(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = layer.paired(self.between(x) if i else x)
        return x

    def at(self, index: Tensor, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = layer.at(index, self.between(x) if i else x)
        return x


class EmbeddingBank(nn.Module):
    """K embedding tables (K, num, dim); x is int64 and stands without the `in` axis: each (*lead) -> (*lead, K, dim)."""

    def __init__(self, K: int, num: int, dim: int, begin: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(K, num + begin, dim))

    def each(self, x: Tensor) -> Tensor:
        return self.weight.transpose(0, 1)[x]

    def paired(self, x: Tensor) -> Tensor:
        return self.weight[torch.arange(self.weight.shape[0], device=x.device), x]

    def at(self, index: Tensor, x: Tensor) -> Tensor:
        return self.weight[index, x]


class Bank(nn.Module):
    """K networks of any kind, side by side.

    Recurrent ones (recurrent=True): each (*lead, T, in) -> (*lead, K, T, out), paired (*lead, K, T, in) -> the same,
    at: index (*lead), at_sites: index (*lead, T). Further arguments (lengths) are passed on to every network. backwards: reads
    each stretch from its end. step: index (*lead), x (*lead, in) -> (*lead, out), one site more of every network.
    """

    networks: Any  # a ModuleList does not say what it holds

    def __init__(self, networks: list[nn.Module], recurrent: bool = True):
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.axis = -3 if recurrent else -2

    def each(self, x: Tensor, *arguments: Tensor, backwards: bool = False) -> Tensor:
        parts = [network.backwards if backwards else network for network in self.networks]
        return torch.stack([network(x, *arguments) for network in parts], self.axis)

    def paired(self, x: Tensor, *arguments: Tensor, backwards: bool = False) -> Tensor:
        parts = [network.backwards if backwards else network for network in self.networks]
        inputs = zip(parts, x.unbind(self.axis), strict=True)
        return torch.stack([network(part, *arguments) for network, part in inputs], self.axis)

    def at(self, index: Tensor, x: Tensor, *arguments: Tensor, backwards: bool = False) -> Tensor:
        """All are run and one is chosen, so that shapes do not depend on the values of the index."""
        out = self.each(x, *arguments, backwards=backwards)
        lead = torch.broadcast_shapes(index.shape, out.shape[: self.axis])
        out = out.expand(*lead, *out.shape[self.axis :])
        where = index.expand(lead).reshape(*lead, *[1] * -self.axis)
        return out.gather(self.axis, where.expand(*lead, 1, *out.shape[self.axis + 1 :])).squeeze(self.axis)

    def at_sites(self, index: Tensor, x: Tensor, *arguments: Tensor, backwards: bool = False) -> Tensor:
        """At each site what its own network gives of the stretch."""
        out = self.each(x, *arguments, backwards=backwards)  # (*lead, K, T, out)
        *lead, extent = torch.broadcast_shapes(index.shape, (*out.shape[:-3], out.shape[-2]))
        where = index.expand(*lead, extent)[..., None, :, None].expand(*lead, 1, extent, out.shape[-1])
        return out.expand(*lead, *out.shape[-3:]).gather(-3, where).squeeze(-3)

    def step(self, index: Tensor, x: Tensor, state) -> tuple[Tensor, object]:
        """What the chosen network gives at one more site; all of them go on."""
        pairs = [n.step(x, s) for n, s in zip(self.networks, state or [None] * len(self.networks), strict=True)]
        out = torch.stack([y for y, _ in pairs], -2)  # (*lead, K, out)
        where = index[..., None, None].expand(*out.shape[:-2], 1, out.shape[-1])
        return out.gather(-2, where).squeeze(-2), [s for _, s in pairs]
