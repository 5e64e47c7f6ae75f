"""A linear-chain conditional random field: a label at each site, neighbours joined by a table.

p(z) proportional to exp(sum_t unary[t, z_t] + sum_{t>0} pairwise[z_{t-1}, z_t])        (Lafferty, McCallum & Pereira 2001)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lvspec.runtime.chains.chain import chain
from lvspec.runtime.core.structured import Parts, Structured


@dataclass(frozen=True)
class LinearChain(Structured):
    """Parts: unary (B, T, K); pairwise (B or 1, K, K) of counts, or (B or 1, T - 1, K, K). lengths: (B) or None."""

    lengths: Tensor | None = None

    def parts_of(self, labels: Tensor) -> Parts:
        """The parts of labellings (..., B, T), whose labels beyond a length do not matter."""
        sites, steps = self.real(labels)
        K, T = self.potentials["unary"].shape[-1], labels.shape[-1]
        dtype = self.potentials["unary"].dtype
        labels = torch.where(sites, labels, 0)
        unary = torch.zeros(*labels.shape, K, dtype=dtype, device=labels.device)
        unary.scatter_(-1, labels.unsqueeze(-1), sites.to(dtype).unsqueeze(-1))
        pairs = labels[..., :-1] * K + labels[..., 1:]
        if self.potentials["pairwise"].dim() == 4:
            pairwise = torch.zeros(*labels.shape[:-1], max(T - 1, 0), K * K, dtype=dtype, device=labels.device)
            pairwise.scatter_(-1, pairs.unsqueeze(-1), steps.to(dtype).unsqueeze(-1))
        else:
            pairwise = torch.zeros(*labels.shape[:-1], K * K, dtype=dtype, device=labels.device)
            pairwise.scatter_add_(-1, pairs, steps.to(dtype))
        return {"unary": unary, "pairwise": pairwise.unflatten(-1, (K, K))}

    def labels_of(self, parts: Parts) -> Tensor:
        """The labels (..., B, T) of structures given by their parts; 0 beyond a length."""
        return parts["unary"].argmax(-1)

    def score_of(self, labels: Tensor) -> Tensor:
        """theta of one labelling (B, T) of each example: (B,); no table of all labels is made."""
        sites, steps = self.real(labels)
        unary, pairwise = self.potentials["unary"], self.potentials["pairwise"]
        labels = torch.where(sites, labels, 0)
        K = unary.shape[-1]
        at_sites = unary.expand(*labels.shape, K).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        pairs = labels[:, :-1] * K + labels[:, 1:]
        flat = pairwise.flatten(-2)
        if pairwise.dim() == 4:
            at_steps = flat.expand(*pairs.shape, K * K).gather(-1, pairs.unsqueeze(-1)).squeeze(-1)
        elif pairwise.shape[0] == 1:
            at_steps = flat[0].index_select(0, pairs.flatten()).view(pairs.shape)
        else:
            at_steps = flat.gather(1, pairs)
        return at_sites.masked_fill(~sites, 0.0).sum(1) + at_steps.masked_fill(~steps, 0.0).sum(1)

    def real(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Which sites (.., T) and which steps (.., T - 1) lie within the lengths, as wide as the labels."""
        sites = real_prefix(labels.shape[-1], self.lengths, labels.device).expand(labels.shape)
        return sites, sites[..., 1:]


def linear_chain(
    unary: Tensor, pairwise: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None
) -> LinearChain:
    """The distribution over labellings of lengths (B) sites; an example without sites has one, which is empty.

    unary: (B, T, K). pairwise: (K, K) or (1, K, K) for all, (B, K, K) by example, (B or 1, T - 1, K, K) by step.
    mask: (B, T), in place of lengths: true at the real sites, which come first.
    """
    if mask is not None:
        lengths = mask.sum(1)
    if pairwise.dim() == 2:
        pairwise = pairwise.unsqueeze(0)
    rows = max(unary.shape[0], pairwise.shape[0], 0 if lengths is None else lengths.shape[0])
    return LinearChain(
        partial(labellings_sum, lengths=lengths),
        {"unary": unary, "pairwise": pairwise},
        rows,
        partial(labellings_log_partition, rows=rows, lengths=lengths),
        lengths=lengths,
    )


def labelling_log_prob(
    unary: Tensor, pairwise: Tensor, labels: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """log p(z) of one labelling (B, T) of each example: (B,)."""
    found = linear_chain(unary, pairwise, lengths, mask)
    return found.score_of(labels) - found.log_partition


def labellings_sum(semiring, potentials: Parts, lengths: Tensor | None) -> Tensor:
    """The sum over labellings, (..., B), by the forward recursion over the sites."""
    unary, pairwise = semiring.lift(potentials["unary"]), semiring.lift(potentials["pairwise"])
    stepwise = potentials["pairwise"].dim() == 4
    sites = unary.unbind(-2)
    steps = pairwise.unbind(-3) if stepwise else [pairwise] * (len(sites) - 1)
    nothing = semiring.lift(potentials["unary"].new_zeros(potentials["unary"].shape[0]))
    if not sites:
        return nothing
    message = sites[0]
    for t, (here, step) in enumerate(zip(sites[1:], steps, strict=True), 1):
        pushed = semiring.sum(semiring.times(message.unsqueeze(-1), step), -2)
        after = semiring.times(pushed, here)
        message = after if lengths is None else torch.where((lengths > t).unsqueeze(-1), after, message)
    total = semiring.sum(message, -1)
    return total if lengths is None else torch.where(lengths > 0, total, nothing)


def labellings_log_partition(potentials: Parts, rows: int, lengths: Tensor | None) -> Tensor:
    """log Z (B,), by matrix products in scaled probability space and the backward algorithm as the gradient."""
    unary, pairwise = potentials["unary"], potentials["pairwise"]
    T, K = unary.shape[1:]
    if T == 0:
        return unary.flatten(1).sum(1)
    unary = unary.expand(rows, T, K)
    mask = None if lengths is None else real_prefix(T, lengths, unary.device)
    unary = unary if mask is None else unary.masked_fill(~mask.unsqueeze(-1), 0.0)
    shared = pairwise.shape[0] == 1
    axes = ("" if shared else "B") + ("T" if pairwise.dim() == 4 else "")
    if pairwise.dim() == 4:  # chains count the step into site t as t
        pairwise = torch.nn.functional.pad(pairwise, (0, 0, 0, 0, 1, 0))
    table = pairwise[0] if shared else pairwise
    value = chain(unary.new_zeros(K), (table,), unary, (f"i,{axes}ij->j",), mask)
    return value if lengths is None else torch.where(lengths > 0, value, 0.0)


def real_prefix(extent: int, lengths: Tensor | None, device: torch.device) -> Tensor:
    """(B, extent): which sites come before the lengths; (1, extent) where all do."""
    if lengths is None:
        return torch.ones(1, extent, dtype=torch.bool, device=device)
    return torch.arange(extent, device=device) < lengths.unsqueeze(-1)
