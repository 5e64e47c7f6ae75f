"""A grammar whose rules are a sum of R products: many symbols at the price of few.

    rules[a, l, r] = sum_q head[a, q] left[q, l] right[q, r]                                  (Yang, Zhao & Tu 2021)
    inside(i, j, a) = sum_q head[a, q] sum_k (sum_l left[q, l] inside(i, k, l)) (sum_r right[q, r] inside(k + 1, j, r))

A part of a sentence is kept as its two sums over symbols, (R) each, so that a split costs R and not N S S.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import LOG, full_precision, plain_arithmetic, widest
from lvspec.runtime.core.structured import Parts, Structured
from lvspec.runtime.trees.inside import highest
from lvspec.runtime.trees.spans import at_lengths, by_end, by_start, within

NO_MAXIMUM_OF_SUMS = "a rule is a sum over ranks, and the best derivation with its ranks is not the best derivation"
RANKS_COUNT = "of derivations with their ranks, which are no part of the grammar"
UNDEFINED_OF_RANKS = {
    "mode": NO_MAXIMUM_OF_SUMS,
    "k_best": NO_MAXIMUM_OF_SUMS,
    "entropy": RANKS_COUNT,
    "log_count": RANKS_COUNT,
}


def low_rank_pcfg(
    root: Tensor, head: Tensor, left: Tensor, right: Tensor, terminals: Tensor, lengths: Tensor
) -> Structured:
    """Derivations as those of `pcfg`, and of each rule its rank, whose uses are marginals and drawn like all others.

    root: (B or 1, N). head: (B or 1, N, R). left, right: (B or 1, R, S), S = N + P with nonterminals first.
    terminals: (B, T, P). lengths: (B).
    """
    potentials = {"root": root, "head": head, "left": left, "right": right, "terminals": terminals}
    program = partial(low_rank_program, lengths=lengths)
    fast = partial(low_rank_log_partition, lengths=lengths)
    return Structured(program, potentials, lengths.shape[0], fast, UNDEFINED_OF_RANKS)


def low_rank_program(semiring, potentials: Parts, lengths: Tensor, products: LogProducts | None = None) -> Tensor:
    """The sum over all derivations: (..., B). products: what sums over symbols and ranks; None: the semiring."""
    product: Any = products or SemiringProducts(semiring)
    words = potentials["terminals"]
    N, T = potentials["root"].shape[-1], words.shape[-2]
    words = semiring.lift(words.masked_fill(~within(lengths, T).unsqueeze(-1), 0.0))
    nothing = semiring.lift(words.new_zeros(len(lengths)))
    if T == 0:
        return nothing
    head = product.table(potentials["head"])
    left, left_words = (product.table(t) for t in potentials["left"].tensor_split([N], -1))
    right, right_words = (product.table(t) for t in potentials["right"].tensor_split([N], -1))
    starting, ending = product(words, left_words).unsqueeze(-2), product(words, right_words).unsqueeze(-2)
    none = semiring.lift(words.new_full((len(lengths), N), -torch.inf))
    whole = [none, none]
    for w in range(2, T + 1):
        pairs = semiring.times(starting[..., : T - w + 1, :, :], ending[..., 1:, :, :])
        cells = product(semiring.sum(pairs, -2), head)
        whole.append(cells[..., 0, :])
        if w < T:
            starting, ending = by_start(starting, product(cells, left)), by_end(ending, product(cells, right))
    top = semiring.times(semiring.lift(potentials["root"]), at_lengths(whole, lengths))
    return torch.where(lengths == 0, nothing, semiring.sum(top, -1))


def low_rank_log_partition(potentials: Parts, lengths: Tensor) -> Tensor:
    """log Z (B), by matrix products of rescaled probabilities in the first precision in which nothing is lost; else in
    the log domain. Charts are logs in float64. On an accelerator the choice waits for it."""
    words = full_precision(potentials["terminals"])
    potentials = {name: widest(p) for name, p in potentials.items()}
    with plain_arithmetic(words):
        unseen = words.device.type == "meta" or torch.compiler.is_compiling()  # nothing may be asked of the data
        for dtype in () if unseen else dict.fromkeys((words.dtype, torch.float64)):
            products = LogProducts(dtype)
            value = low_rank_program(LOG, potentials, lengths, products)
            if not products.lossy():
                return value
        return low_rank_program(LOG, potentials, lengths)


@dataclass
class SemiringProducts:
    """The sum over f of x[f] times table[g, f], for x (..., B, n, F) and table (B or 1, G, F): (..., B, n, G)."""

    semiring: Any

    def table(self, table: Tensor) -> Tensor:
        return self.semiring.lift(table).unsqueeze(-3)

    def __call__(self, x: Tensor, table: Tensor) -> Tensor:
        return self.semiring.sum(self.semiring.times(x.unsqueeze(-2), table), -1)


@dataclass
class LogProducts:
    """The same of logs, by matrix products of max-shifted numbers in `dtype`, and whether one lost mass: factors are
    at most 1, so that an entry far above the smallest number is right, and one below it must be a sum of zeros."""

    dtype: torch.dtype
    lost: list[Tensor] = field(default_factory=list)

    def table(self, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """exp(table - scale) transposed, the scale, and which entries are not zero."""
        scale = highest(table, (-2, -1))
        return (table - scale).to(self.dtype).exp().mT, scale, (table > -torch.inf).to(self.dtype).mT

    def __call__(self, x: Tensor, table: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        matrix, scale, allowed = table
        shift = highest(x)
        sums = torch.matmul((x - shift).to(self.dtype).exp(), matrix)
        info = torch.finfo(self.dtype)
        small = sums.detach() < info.tiny / info.eps * x.shape[-1]
        if x.device.type != "cpu" or bool(small.any()):
            self.lost.append((small & (torch.matmul((x > -torch.inf).to(self.dtype), allowed) > 0)).any())
        none = sums.detach() == 0
        return (sums.masked_fill(none, 1.0).to(x.dtype).log() + shift + scale).masked_fill(none, -torch.inf)

    def lossy(self) -> bool:
        return bool(torch.stack(self.lost).any()) if self.lost else False
