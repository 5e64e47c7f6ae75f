"""Invertible maps of vectors, z_0 -> z = f(z_0), each with log|det df/dz_0|: `steps` of a kind, one after the other.

    log p(z) = log base(z_0) - log|det df/dz_0|

forward(z_0, context) -> (z, log|det df/dz_0|), inverse(z, context) -> (z_0, the same at z_0), over (*lead, D) and
(*lead,). The context (*lead, C), where a flow has one, broadcasts.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import softplus

from lvspec.runtime.networks.declared import ACTIVATIONS

__all__ = ["Coupling", "InverseAutoregressive", "MaskedAutoregressive", "Planar", "Radial"]


class Flow(nn.Module):
    """Elementary maps `steps`, in order; `inverse` where each of them has one."""

    steps: Any  # a ModuleList does not say what it holds

    def __init__(self, steps: list[nn.Module]):
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        volume = torch.zeros((), dtype=z.dtype, device=z.device)
        for step in self.steps:
            z, log_det = step(z, context)
            volume = volume + log_det
        return z, volume

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        volume = torch.zeros((), dtype=z.dtype, device=z.device)
        for step in reversed(self.steps):
            z, log_det = step.inverse(z, context)
            volume = volume + log_det
        return z, volume


class Amortized(nn.Module):
    """A map's own numbers: free ones, or linear in the context."""

    def __init__(self, count: int, context: int | None):
        super().__init__()
        if context is None:
            self.numbers = nn.Parameter(0.1 * torch.randn(count))
        else:
            self.linear = nn.Linear(context, count)

    def values(self, context: Tensor | None) -> Tensor:
        return self.numbers if context is None else self.linear(context)


# ---------------------------------------------------------------- planar and radial maps
class PlanarStep(Amortized):
    """z + û tanh(w·z + b), û = u + (softplus(w·u) - 1 - w·u) w / |w|², so that w·û >= -1 and the map is one-to-one.

    log|det| = log(1 + tanh'(w·z + b) w·û) = log(h² + (1 - h²) softplus(w·u)) with h = tanh(w·z + b), without a difference that
    rounds to 0 (Rezende & Mohamed 2015, with their appendix A.1).
    """

    def __init__(self, dim: int, context: int | None):
        super().__init__(2 * dim + 1, context)
        self.sizes = (dim, dim, 1)

    def forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        u, w, b = self.values(context).split(self.sizes, -1)
        inner = (w * u).sum(-1, keepdim=True)
        u = u + (softplus(inner) - 1 - inner) * w / (w * w).sum(-1, keepdim=True)
        h = ((w * z).sum(-1, keepdim=True) + b).tanh()
        return z + u * h, (h * h + (1 - h * h) * softplus(inner)).log().squeeze(-1)


class Planar(Flow):
    """Planar maps. A draw has a density where it came out; other values have none in closed form."""

    def __init__(self, dim: int, context: int | None = None, steps: int = 1):
        super().__init__([PlanarStep(dim, context) for _ in range(steps)])


class RadialStep(Amortized):
    """z + β (z - c) / (α + r), r = |z - c|, α = softplus(a) > 0, β = softplus(b) - α >= -α.

    log|det| = (D - 1) log(1 + β / (α + r)) + log(1 + α β / (α + r)²) (Rezende & Mohamed 2015, appendix A.2), with s = softplus(b)
    the logs of (r + s) / (α + r) and (r² + 2 α r + α s) / (α + r)², sums of what is positive.
    """

    def __init__(self, dim: int, context: int | None):
        super().__init__(dim + 2, context)
        self.sizes = (dim, 1, 1)

    def forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        centre, a, b = self.values(context).split(self.sizes, -1)
        alpha, s = softplus(a), softplus(b)
        away = z - centre
        r = torch.linalg.vector_norm(away, dim=-1, keepdim=True)
        far = alpha + r
        log_det = (z.shape[-1] - 1) * (r + s).log() + (r * r + 2 * alpha * r + alpha * s).log()
        return z + (s - alpha) / far * away, (log_det - (z.shape[-1] + 1) * far.log()).squeeze(-1)


class Radial(Flow):
    """Radial maps. A draw has a density where it came out; other values have none in closed form."""

    def __init__(self, dim: int, context: int | None = None, steps: int = 1):
        super().__init__([RadialStep(dim, context) for _ in range(steps)])


# ---------------------------------------------------------------- z ⊙ σ + μ, σ and μ from a masked network
class Conditioner(nn.Module):
    """μ and σ's raw value of each entry, from those entries that a mask lets through and the context.

    reads: (hidden, D), gives: (D, hidden): which entries a hidden number reads, and which it gives something to.
    """

    reads: Tensor
    gives: Tensor

    def __init__(self, reads: Tensor, gives: Tensor, context: int | None, activation: str, first: float):
        super().__init__()
        hidden, dim = reads.shape
        self.enter, self.leave = nn.Linear(dim, hidden), nn.Linear(hidden, 2 * dim)
        self.context = None if context is None else nn.Linear(context, hidden, bias=False)
        self.activation = ACTIVATIONS[activation]()
        self.register_buffer(
            "reads", reads.contiguous(), persistent=False
        )  # whoever copies into it needs its own memory
        self.register_buffer("gives", gives.repeat(2, 1), persistent=False)
        with torch.no_grad():  # the flow begins near the identity
            self.leave.weight.mul_(0.1)
            self.leave.bias.copy_(torch.cat([torch.zeros(dim), torch.full((dim,), first)]))

    def forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        hidden = functional.linear(z, self.enter.weight * self.reads, self.enter.bias)
        if self.context is not None:
            hidden = hidden + self.context(context)
        both = functional.linear(self.activation(hidden), self.leave.weight * self.gives, self.leave.bias)
        location, raw = both.chunk(2, -1)
        return location, raw


class CouplingStep(nn.Module):
    """The kept entries as they are, the others z ⊙ σ + μ, log σ = tanh(·), both of the kept (Dinh et al. 2017)."""

    def __init__(self, dim: int, hidden: int, context: int | None, activation: str, turn: bool):
        super().__init__()
        kept = (torch.arange(dim) + turn) % 2 == 0
        reads, gives = kept.expand(hidden, dim), ~kept[:, None].expand(dim, hidden)
        self.network = Conditioner(reads, gives, context, activation, 0.0)
        self.register_buffer("kept", kept, persistent=False)

    def forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        mu, log_sigma = self.maps(z, context)
        return z * log_sigma.exp() + mu, log_sigma.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        mu, log_sigma = self.maps(z, context)  # of the kept entries, which did not move
        return (z - mu) * (-log_sigma).exp(), log_sigma.sum(-1)

    def maps(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        mu, raw = self.network(z, context)
        return mu.masked_fill(self.kept, 0.0), raw.tanh().masked_fill(self.kept, 0.0)


class Coupling(Flow):
    """Affine coupling: from step to step the other entries, the even ones or the odd ones, are kept."""

    def __init__(self, dim: int, hidden: int, context: int | None = None, steps: int = 1, activation: str = "relu"):
        super().__init__([CouplingStep(dim, hidden, context, activation, k % 2 == 1) for k in range(steps)])


class InverseAutoregressiveStep(nn.Module):
    """z ⊙ σ + μ, σ = sigmoid(·), where σ and μ of an entry read the entries before it (Kingma et al. 2016).

    The network is masked (Germain et al. 2015): hidden number i reads the first i D / H entries, rounded down. The
    inverse finds one entry after the other.
    """

    first = 2.0  # sigmoid(2) = 0.88

    def __init__(self, dim: int, hidden: int, context: int | None, activation: str, backwards: bool):
        super().__init__()
        place = torch.arange(dim).flip(0) if backwards else torch.arange(dim)
        seen = torch.arange(hidden) * dim // hidden  # how many entries a hidden number reads, below D
        self.network = Conditioner(place < seen[:, None], seen <= place[:, None], context, activation, self.first)
        self.dim = dim

    def log_scale(self, raw: Tensor) -> Tensor:
        """log σ, finite where σ itself is too small for a number."""
        return functional.logsigmoid(raw)

    def forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        mu, raw = self.network(z, context)
        log_sigma = self.log_scale(raw)
        return z * log_sigma.exp() + mu, log_sigma.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        found, largest = torch.zeros_like(z), torch.finfo(z.dtype).max
        most = largest**0.5  # of what lies further the square is infinite: it has no density, and moves nothing
        for _ in range(self.dim):  # after k rounds the first k entries are right
            mu, raw = self.network(found.clamp(-most, most), context)
            wide = (-self.log_scale(raw)).clamp_max(math.log(largest) - 1).exp()
            found = ((z - mu) * wide).clamp(-largest, largest)
            found = torch.where(found.abs() < most, found, found.detach())
        _, raw = self.network(found.clamp(-most, most), context)
        return found, self.log_scale(raw).sum(-1)


class InverseAutoregressive(Flow):
    """Inverse autoregressive maps, the order of the entries reversed from step to step."""

    def __init__(self, dim: int, hidden: int, context: int | None = None, steps: int = 1, activation: str = "relu"):
        every = range(steps)
        super().__init__([InverseAutoregressiveStep(dim, hidden, context, activation, k % 2 == 1) for k in every])


UNIT = math.log(math.e - 1)  # softplus of this is 1


class MaskedAutoregressiveStep(InverseAutoregressiveStep):
    """The inverse of such a map, with σ = softplus(·): densities take one pass, draws one for each entry
    (Papamakarios et al. 2017)."""

    first = UNIT

    def log_scale(self, raw: Tensor) -> Tensor:
        small = raw < -40  # where softplus(x) = exp(x)
        return torch.where(small, raw, softplus(raw.masked_fill(small, 0.0)).log())

    def forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        found, log_det = InverseAutoregressiveStep.inverse(self, z, context)
        return found, -log_det

    def inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        found, log_det = InverseAutoregressiveStep.forward(self, z, context)
        return found, -log_det


class MaskedAutoregressive(Flow):
    """Masked autoregressive maps, the order of the entries reversed from step to step."""

    def __init__(self, dim: int, hidden: int, context: int | None = None, steps: int = 1, activation: str = "relu"):
        every = range(steps)
        super().__init__([MaskedAutoregressiveStep(dim, hidden, context, activation, k % 2 == 1) for k in every])
