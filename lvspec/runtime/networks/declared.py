"""The networks that a spec can declare. All take (*lead, in) or, along a stretch, (*lead, T, in)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "BiGRU",
    "BiLSTM",
    "DilatedConvolution",
    "Dropout",
    "Embedding",
    "GRU",
    "LSTM",
    "LayerNorm",
    "Linear",
    "MLP",
    "RNN",
    "Tied",
    "each_kept",
    "restarted",
]

Linear = nn.Linear
Dropout = nn.Dropout
LayerNorm = nn.LayerNorm

ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
}


class MLP(nn.Sequential):
    """Linear maps with an activation between them: sizes are in, hidden..., out."""

    def __init__(self, *sizes: int, activation: str = "relu", dropout: float = 0.0, bias: bool = True):
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            if i:
                layers.append(ACTIVATIONS[activation]())
                if dropout:
                    layers.append(nn.Dropout(dropout))
            layers.append(nn.Linear(before, after, bias=bias))
        super().__init__(*layers)


class Tied(nn.Module):
    """Linear maps whose matrices are another network's, transposed, from its last one to its first; of an embedding, its
    table. sizes: in, hidden..., out. Biases are its own."""

    def __init__(
        self, other: nn.Module, *sizes: int, activation: str = "relu", dropout: float = 0.0, bias: bool = True
    ):
        super().__init__()
        self.others = (other,)  # in a tuple: its parameters have their names where they are declared
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(n)) for n in sizes[1:] if bias)
        self.activation, self.dropout, self.out = ACTIVATIONS[activation](), nn.Dropout(dropout), sizes[-1]

    def matrices(self) -> list[Tensor]:
        """(out, in) of each layer."""
        other = self.others[0]
        if isinstance(other, nn.Embedding):
            return [other.weight[: self.out]]  # the last row may be the begin symbol's
        layers = [m for m in other.modules() if isinstance(m, nn.Linear)]
        return [m.weight.mT for m in reversed(layers)]

    @property
    def weight(self) -> Tensor:
        """Of a single layer."""
        return self.matrices()[0]

    @property
    def bias(self) -> Tensor | None:
        """Of a single layer."""
        return self.biases[0] if len(self.biases) else None

    def forward(self, x: Tensor) -> Tensor:
        return self.through(x, self.matrices(), list(self.biases))

    def still(self, x: Tensor) -> Tensor:
        """The same with parameters that do not move."""
        return self.through(x, [m.detach() for m in self.matrices()], [b.detach() for b in self.biases])

    def through(self, x: Tensor, matrices: list[Tensor], biases: list[Tensor]) -> Tensor:
        for i, matrix in enumerate(matrices):
            x = nn.functional.linear(
                x if not i else self.dropout(self.activation(x)), matrix, biases[i] if biases else None
            )
        return x


class Embedding(nn.Embedding):
    """num vectors of size dim; with begin=True one more, for the begin symbol, whose id is num."""

    def __init__(self, num: int, dim: int, begin: bool = False):
        super().__init__(num + begin, dim)


def each_kept(state, change: Callable[[Tensor], Tensor]):
    """The state that `step` goes on with, every tensor of it changed: None, a tensor, or a tuple or list of states. The first axis of
    each tensor is that of the rows."""
    if state is None or isinstance(state, Tensor):
        return None if state is None else change(state)
    parts = [each_kept(part, change) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)


def restarted(state, begins: Tensor):
    """The state before the first site in rows whose stretch begins anew: begins (*lead) bool. All states begin with zeros."""

    def anew(kept: Tensor) -> Tensor:
        return torch.where(begins.reshape(-1, *[1] * (kept.dim() - 1)), torch.zeros_like(kept), kept)

    return each_kept(state, anew)


def reversal(lengths: Tensor, extent: int) -> Tensor:
    """Positions (..., T) that reverse each stretch's real sites and leave what lies beyond them."""
    t = torch.arange(extent, device=lengths.device)
    lengths = lengths.unsqueeze(-1)
    return torch.where(t < lengths, lengths - 1 - t, t)


def reversed_stretches(x: Tensor, lengths: Tensor) -> Tensor:
    """x (*lead, T, D) with the real sites of each stretch in opposite order; lengths broadcast with lead."""
    return x.gather(-2, reversal(lengths.expand(x.shape[:-2]), x.shape[-2]).unsqueeze(-1).expand(x.shape))


class Recurrent(nn.RNNBase):
    """What recurrent networks share. forward: (*lead, T, in) -> (*lead, T, out), whatever the leading axes are."""

    def __init__(self, size: int, hidden: int, layers: int = 1, dropout: float = 0.0):
        dropout = dropout if layers > 1 else 0.0
        super().__init__(size, hidden, layers, dropout=dropout, batch_first=True)  # type: ignore[arg-type]  # torch's own kind

    def forward(self, x: Tensor) -> Tensor:  # without the state, which `step` is for
        lead, extent = x.shape[:-2], x.shape[-2]
        if x.numel() == 0:
            # torch refuses empty batches and stretches; the sum keeps the graph and the dtype
            return x.new_zeros(*lead, extent, self.hidden_size) + 0 * sum(p.sum() for p in self.parameters())
        states, _ = super().forward(x.reshape(-1, extent, x.shape[-1]))
        return states.reshape(*lead, extent, self.hidden_size)

    def step(self, x: Tensor, state) -> tuple[Tensor, object]:
        """One site more: (*lead, in) -> (*lead, out), and the state to go on with; None before the first site."""
        lead = x.shape[:-1]
        if x.numel() == 0:
            return x.new_zeros(*lead, self.hidden_size), state
        layers_first = each_kept(state, lambda kept: kept.transpose(0, 1).contiguous())  # as torch has it
        out, state = super().forward(x.reshape(-1, 1, x.shape[-1]), layers_first)
        return out.reshape(*lead, self.hidden_size), each_kept(state, lambda kept: kept.transpose(0, 1))

    def backwards(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Reads each stretch from its end."""
        return reversed_stretches(self(reversed_stretches(x, lengths)), lengths)


class RNN(Recurrent, nn.RNN):  # type: ignore[misc]  # a forward pass without the state
    """Elman's network: h_t = tanh(W x_t + U h_t-1 + b)."""


class GRU(Recurrent, nn.GRU):  # type: ignore[misc]  # a forward pass without the state
    """Gated recurrent units (Cho et al. 2014)."""


class LSTM(Recurrent, nn.LSTM):  # type: ignore[misc]  # a forward pass without the state
    """Long short-term memory (Hochreiter & Schmidhuber 1997)."""


class DilatedConvolution(nn.Module):
    """Convolutions that look back only, each twice as far as the one before: (*lead, T, in) -> (*lead, T, out).

    y_0 = W x + b;   y_n+1[t] = y_n[t] + relu(b_n + Σ_k W_n[k] y_n[t - k 2^n]),  k < kernel, n < layers, zeros before the first
    site. Site t has seen x[t - (kernel - 1) (2^layers - 1)] .. x[t]. After Yang et al. 2017. backwards: from each stretch's end.
    step: one site more; the state is, of each layer, the inputs that it looks back at.
    """

    layers: Any  # a ModuleList does not say what it holds

    def __init__(self, size: int, hidden: int, layers: int = 4, kernel: int = 3, dropout: float = 0.0):
        super().__init__()
        self.enter = nn.Linear(size, hidden)
        self.layers = nn.ModuleList(nn.Conv1d(hidden, hidden, kernel, dilation=2**n) for n in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        if y.numel() == 0:  # a convolution refuses stretches without a site; the sum keeps the graph
            return y + 0 * sum(p.sum() for p in self.layers.parameters())
        lead, y = y.shape[:-2], y.reshape(-1, *y.shape[-2:]).mT
        for layer in self.layers:
            back = (layer.kernel_size[0] - 1) * layer.dilation[0]
            y = y + self.dropout(layer(nn.functional.pad(y, (back, 0))).relu())
        return y.mT.reshape(*lead, *y.mT.shape[-2:])

    def step(self, x: Tensor, state) -> tuple[Tensor, object]:
        y = self.enter(x)
        if y.numel() == 0:
            return y, state
        lead, y, after = y.shape[:-1], y.reshape(-1, y.shape[-1]), []
        for n, layer in enumerate(self.layers):
            apart = layer.dilation[0]
            back = (layer.kernel_size[0] - 1) * apart
            seen = [*(state[n] if state else [torch.zeros_like(y)] * back), y]  # the last back + 1 inputs
            after.append(seen[1:])
            found = nn.functional.conv1d(torch.stack(seen[::apart], -1), layer.weight, layer.bias)
            y = y + self.dropout(found.squeeze(-1).relu())
        return y.reshape(*lead, y.shape[-1]), after

    def backwards(self, x: Tensor, lengths: Tensor) -> Tensor:
        return reversed_stretches(self(reversed_stretches(x, lengths)), lengths)


class Bidirectional(nn.Module):
    """Layers of two recurrent networks, one of which reads each stretch from its end: (*lead, T, in) -> (*lead, T, 2 out).

    The reversal is an index (no packing), so it compiles; what lies beyond a length is 0.
    """

    forth: Any  # a ModuleList does not say what it holds
    back: Any

    def __init__(self, kind: type[nn.Module], size: int, hidden: int, layers: int, dropout: float):
        super().__init__()
        sizes = [size] + [2 * hidden] * (layers - 1)
        self.forth = nn.ModuleList(kind(s, hidden) for s in sizes)
        self.back = nn.ModuleList(kind(s, hidden) for s in sizes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        for level, (forth, back) in enumerate(zip(self.forth, self.back, strict=True)):
            if level:
                x = self.dropout(x)
            x = torch.cat([forth(x), back.backwards(x, lengths)], -1)
        real = torch.arange(x.shape[-2], device=x.device) < lengths.unsqueeze(-1)
        return torch.where(real.unsqueeze(-1), x, torch.zeros((), dtype=x.dtype, device=x.device))


class BiLSTM(Bidirectional):
    """Two LSTMs, one in each direction."""

    def __init__(self, size: int, hidden: int, layers: int = 1, dropout: float = 0.0):
        super().__init__(LSTM, size, hidden, layers, dropout)


class BiGRU(Bidirectional):
    """Two GRUs, one in each direction."""

    def __init__(self, size: int, hidden: int, layers: int = 1, dropout: float = 0.0):
        super().__init__(GRU, size, hidden, layers, dropout)
