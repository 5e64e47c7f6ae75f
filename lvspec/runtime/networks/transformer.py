"""Self-attention over a stretch (Vaswani et al. 2017), normalised ahead of each part (Xiong et al. 2020).

y_0 = W x + b;  a = y_n + O attention(norm(y_n));  y_n+1 = a + W_2 f(W_1 norm(a));  out = norm(y_layers)

attention  head by head Σ_s softmax_s(q_t · k_s / √d) v_s over the sites s that t may read
rotary     entries 2i and 2i + 1 of q_t and k_t are turned by t 10000^(-2i/d), so that q_t · k_s knows t − s (Su et al. 2021)
learned    y_0[t] has a vector of its own for t added
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lvspec.runtime.core.batch import BadBatch
from lvspec.runtime.networks.declared import ACTIVATIONS, reversed_stretches

__all__ = ["BiTransformer", "Transformer"]


class Kept(NamedTuple):
    """What one more site reads of those before it, rows first. keys, values: (N, layers, heads, T, d). read: (N, T), 1 where the
    site counts; zeros throughout are a beginning."""

    keys: Tensor
    values: Tensor
    read: Tensor


class AttentionLayer(nn.Module):
    """One layer: attention, and a perceptron of each site, each of what is normalised and added to it. (N, T, out) -> the same."""

    def __init__(self, out: int, heads: int, activation: str, dropout: float):
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(out), nn.LayerNorm(out)
        self.project, self.join = nn.Linear(out, 3 * out), nn.Linear(out, out)
        self.widen, self.narrow = nn.Linear(out, 4 * out), nn.Linear(4 * out, out)
        self.activation, self.dropout = ACTIVATIONS[activation](), nn.Dropout(dropout)

    def projected(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (N, heads, T, d) each."""
        parts = self.project(self.before(y)).unflatten(-1, (3, self.heads, -1))
        q, k, v = parts.unbind(-3)
        return q.transpose(-2, -3), k.transpose(-2, -3), v.transpose(-2, -3)

    def joined(self, y: Tensor, attended: Tensor) -> Tensor:
        """y (N, T, out) with what its heads found, (N, heads, T, d)."""
        y = y + self.dropout(self.join(attended.transpose(-2, -3).flatten(-2)))
        return y + self.dropout(self.narrow(self.activation(self.widen(self.between(y)))))


def turned_by_sites(x: Tensor, sites: Tensor) -> Tensor:
    """x (N, heads, T, d) with its pairs of entries turned by the numbers of their sites, (T,); an odd last entry stays."""
    pairs = x.shape[-1] // 2
    exact = torch.float64 if x.dtype == torch.float64 else torch.float32
    rates = 10000.0 ** (-torch.arange(pairs, device=x.device, dtype=exact) / max(pairs, 1))
    angles = sites.to(exact).unsqueeze(-1) * rates
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    even, odd = x[..., 0 : 2 * pairs : 2], x[..., 1 : 2 * pairs : 2]
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)
    return torch.cat([turned, x[..., 2 * pairs :]], -1)


class Attentive(nn.Module):
    """What both share. positions: "rotary", or how many sites have a learned vector each: BadBatch beyond them."""

    layers: Any  # a ModuleList does not say what it holds
    positions: Tensor | None

    def __init__(
        self,
        size: int,
        out: int,
        heads: int = 1,
        layers: int = 1,
        dropout: float = 0.0,
        activation: str = "gelu",
        positions: str | int = "rotary",
    ):
        super().__init__()
        if out % heads or out < 2 * heads:
            raise ValueError(f"{type(self).__name__}: {out} numbers are no equal parts of 2 or more for {heads} heads")
        self.enter = nn.Linear(size, out)
        self.positions = nn.Parameter(0.02 * torch.randn(int(positions), out)) if positions != "rotary" else None
        self.layers = nn.ModuleList(AttentionLayer(out, heads, activation, dropout) for _ in range(layers))
        self.leave = nn.LayerNorm(out)

    def entered(self, x: Tensor, sites: Tensor) -> Tensor:
        """y_0 (N, T, out) of x (N, T, in); sites: their numbers, (T,) or (N, T)."""
        y = self.enter(x)
        return y if self.positions is None else y + self.positions[sites]

    def check_extent(self, extent: int) -> None:
        if self.positions is not None and extent > len(self.positions):
            raise BadBatch(f"{type(self).__name__}(positions={len(self.positions)}) is given {extent} sites")

    def nothing(self, x: Tensor) -> Tensor:
        """Of no site, or no example; the sum keeps the graph and the dtype."""
        return x.new_zeros(*x.shape[:-1], self.enter.out_features) + 0 * sum(p.sum() for p in self.parameters())

    def through(self, x: Tensor, reads: Tensor | None) -> Tensor:
        """(N, T, in) -> (N, T, out). reads: (N, 1, T, T) bool, which sites each one reads; None is those up to it."""
        self.check_extent(x.shape[-2])
        sites = torch.arange(x.shape[-2], device=x.device)
        y = self.entered(x, sites)
        for layer in self.layers:
            q, k, v = layer.projected(y)
            if self.positions is None:
                q, k = turned_by_sites(q, sites), turned_by_sites(k, sites)
            attended = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=reads, is_causal=reads is None)
            y = layer.joined(y, attended)
        return self.leave(y)


class Transformer(Attentive):
    """Each site reads those up to itself: (*lead, T, in) -> (*lead, T, out). step: one site more; the state has the keys and values of
    those before. backwards: from each stretch's end."""

    def forward(self, x: Tensor) -> Tensor:
        if x.numel() == 0:
            return self.nothing(x)
        y = self.through(x.reshape(-1, *x.shape[-2:]), None)
        return y.reshape(*x.shape[:-1], y.shape[-1])

    def step(self, x: Tensor, state: Kept | None) -> tuple[Tensor, Kept | None]:
        if x.numel() == 0:
            return self.nothing(x), state
        lead, x = x.shape[:-1], x.reshape(-1, 1, x.shape[-1])
        before = 0 if state is None else state.read.shape[-1]
        here = x.new_ones(len(x), 1)
        read = here if state is None else torch.cat([state.read.to(x.dtype), here], -1)  # (N, T)
        if self.positions is None:  # of the turns only differences count, and those stay where a stretch begins anew
            y, sites = self.enter(x), torch.full((1,), before, device=x.device)
        else:
            own = read.sum(-1, keepdim=True).long() - 1  # how many sites of the row's stretch came before
            self.check_extent(before + 1 if state is None else int(own.max()) + 1)
            y = self.entered(x, own)
        keys, values = [], []
        for n, layer in enumerate(self.layers):
            q, k, v = layer.projected(y)
            if self.positions is None:
                q, k = turned_by_sites(q, sites), turned_by_sites(k, sites)
            if state is not None:
                k, v = torch.cat([state.keys[:, n], k], -2), torch.cat([state.values[:, n], v], -2)
            keys.append(k)
            values.append(v)
            mask = (read > 0)[:, None, None]
            y = layer.joined(y, nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask))
        out = self.leave(y)
        return out.reshape(*lead, out.shape[-1]), Kept(torch.stack(keys, 1), torch.stack(values, 1), read)

    def backwards(self, x: Tensor, lengths: Tensor) -> Tensor:
        return reversed_stretches(self(reversed_stretches(x, lengths)), lengths)


class BiTransformer(Attentive):
    """Each site reads all of its stretch: (*lead, T, in) -> (*lead, T, out); what lies beyond a length is read by none, and 0."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        if x.numel() == 0:
            return self.nothing(x)
        lead, extent = x.shape[:-2], x.shape[-2]
        real = torch.arange(extent, device=x.device) < lengths.expand(lead).reshape(-1, 1)
        itself = torch.eye(
            extent, dtype=torch.bool, device=x.device
        )  # beyond a length a site reads itself: no sum is empty
        y = self.through(x.reshape(-1, *x.shape[-2:]), (real[:, None] | itself).unsqueeze(1))
        y = torch.where(real.unsqueeze(-1), y, torch.zeros((), dtype=y.dtype, device=y.device))
        return y.reshape(*x.shape[:-1], y.shape[-1])
