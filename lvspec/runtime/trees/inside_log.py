"""The inside algorithm of a grammar in any semiring: the generic program, and what is right on the sharpest potentials."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from lvspec.runtime.core.structured import Parts
from lvspec.runtime.trees.spans import at_lengths, by_end, by_start, within

LARGEST = 2**22  # numbers of a temporary


def inside_program(semiring, potentials: Parts, lengths: Tensor, kept: list[Tensor] | None = None) -> Tensor:
    """The sum over all derivations: (..., B). spans, where given: of those of two words or more. kept: takes the cells
    (..., B, n, S) of the widths 1 .."""
    root, rules, terminals = (potentials[name] for name in ("root", "rules", "terminals"))
    N, T, B = root.shape[-1], terminals.shape[-2], lengths.shape[0]
    words = terminals.masked_fill(~within(lengths, T).unsqueeze(-1), 0.0)
    cells = semiring.lift(pad(words, (N, 0), value=-torch.inf))  # (B, n, S): nothing but preterminals derives a word
    productions = semiring.lift(rules.unsqueeze(1))
    nothing = semiring.lift(words.new_zeros(B))
    if T == 0:
        return nothing
    kept = [] if kept is None else kept
    kept.append(cells)
    starting = ending = cells.unsqueeze(-2)
    none = semiring.lift(words.new_full((B, N), -torch.inf))
    whole = [none, none]
    for w in range(2, T + 1):
        n = T - w + 1
        found = derived(semiring, productions, starting[..., :n, :, :], ending[..., 1:, :, :])
        if "spans" in potentials:
            found = semiring.times(found, semiring.lift(potentials["spans"].diagonal(w - 1, -2, -1).unsqueeze(-1)))
        cells = pad(found, (0, terminals.shape[-1]), value=-torch.inf)
        kept.append(cells)
        starting, ending = by_start(starting, cells), by_end(ending, cells)
        whole.append(found[..., 0, :])
    top = semiring.times(semiring.lift(root), at_lengths(whole, lengths))
    return torch.where(lengths == 0, nothing, semiring.sum(top, -1))


def derived(semiring, productions: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Sums over splits and rules: left, right (..., B, n, splits, S) -> (..., B, n, N).

    Where the sums' terms are too many to be kept, a few places at a time, and once more in the backward pass.
    """

    def found(left: Tensor, right: Tensor) -> Tensor:
        pairs = semiring.sum(semiring.times(left.unsqueeze(-1), right.unsqueeze(-2)), -3)
        return semiring.sum(semiring.times(productions, pairs.unsqueeze(-3)), (-2, -1))

    n, few = left.shape[-3], places_at_once(left, productions.shape[-3])
    if few >= n:
        return found(left, right)
    pieces = zip(left.split(few, -3), right.split(few, -3), strict=True)
    return torch.cat([checkpoint(found, *p, use_reentrant=False, preserve_rng_state=False) for p in pieces], -2)


def places_at_once(left: Tensor, parents: int) -> int:
    """For how many places the terms of the sums over splits (.., B, n, splits, S) and over rules are made at once."""
    splits, S = left.shape[-2:]
    return max(1, LARGEST // max(1, left[..., 0, 0, 0].numel() * S * S * max(splits, parents)))
