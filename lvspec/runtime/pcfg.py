"""Probabilistic context-free grammars in Chomsky normal form: log p(words), and every question asked of derivations.

inside(i, i, preterminal p) = terminals[i, p]
inside(i, j, nonterminal a) = sum_{l, r} rules[a, l, r] sum_{i <= k < j} inside(i, k, l) inside(k + 1, j, r)
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad

from lvspec.runtime.chain_log import widest
from lvspec.runtime.inside_sum import inside_sum
from lvspec.runtime.semiring import LOG
from lvspec.runtime.spans import at_lengths, by_end, by_start, within
from lvspec.runtime.structured import Parts, Structured


def pcfg(root: Tensor, rules: Tensor, terminals: Tensor, lengths: Tensor) -> Structured:
    """Derivations of sentences: a nonterminal at the root, two symbols for a nonterminal, a word for a preterminal.

    root: (B or 1, N). rules: (B or 1, N, S, S) with S = N + P, nonterminals first: [parent, left, right].
    terminals: (B, T, P), the log-potential of word t under each preterminal. lengths: (B).
    A sentence of one word has no derivation, since the root is a nonterminal: log Z = -inf. A row without words
    counts nothing: log Z = 0. Source: Baker 1979; the split of symbols as in Kim, Dyer & Rush 2019.
    """

    potentials = {"root": root, "rules": rules, "terminals": terminals}
    program, fast = partial(inside_program, lengths=lengths), partial(pcfg_log_partition, lengths=lengths)
    return Structured(program, potentials, lengths.shape[0], fast)


def bracketings(derivations: Structured) -> Structured:
    """The same derivations by their spans of two words and more, of whatever symbol: potentials spans (1, T, T), 0."""

    def program(semiring, potentials: Parts) -> Tensor:
        return derivations.program(semiring, {**derivations.potentials, **potentials})

    T = derivations.potentials["terminals"].shape[-2]
    return Structured(program, {"spans": derivations.potentials["terminals"].new_zeros(1, T, T)}, derivations.rows)


def pcfg_log_partition(potentials: Parts, lengths: Tensor) -> Tensor:
    """log Z (B), by matrix products in scaled probability space and the outside algorithm as the gradient."""

    def in_logs(*inputs: Tensor) -> Tensor:
        return inside_program(LOG, dict(zip(potentials, map(widest, inputs), strict=True)), lengths)

    return inside_sum(*potentials.values(), lengths, in_logs)


def inside_program(semiring, potentials: Parts, lengths: Tensor) -> Tensor:
    """The sum over all derivations: (..., B). Where there are potentials of spans (B or 1, T, T), as in
    runtime/spans.py, those of two words and more count."""
    root, rules, terminals = (potentials[name] for name in ("root", "rules", "terminals"))
    N, T, B = root.shape[-1], terminals.shape[-2], lengths.shape[0]
    words = terminals.masked_fill(~within(lengths, T).unsqueeze(-1), 0.0)
    cells = semiring.lift(pad(words, (N, 0), value=-torch.inf))  # (B, n, S): nothing but preterminals derives a word
    productions = semiring.lift(rules.unsqueeze(1))
    nothing = semiring.lift(words.new_zeros(B))
    if T == 0:
        return nothing
    starting = ending = cells.unsqueeze(-2)
    none = semiring.lift(words.new_full((B, N), -torch.inf))
    whole = [none, none]
    for w in range(2, T + 1):
        n = T - w + 1
        left, right = starting[..., :n, :, :].unsqueeze(-1), ending[..., 1:, :, :].unsqueeze(-2)
        pairs = semiring.sum(semiring.times(left, right), -3)  # (B, n, S, S)
        found = semiring.sum(semiring.times(productions, pairs.unsqueeze(-3)), (-2, -1))
        if "spans" in potentials:
            found = semiring.times(found, semiring.lift(potentials["spans"].diagonal(w - 1, -2, -1).unsqueeze(-1)))
        cells = pad(found, (0, terminals.shape[-1]), value=-torch.inf)
        starting, ending = by_start(starting, cells), by_end(ending, cells)
        whole.append(found[..., 0, :])
    top = semiring.times(semiring.lift(root), at_lengths(whole, lengths))
    return torch.where(lengths == 0, nothing, semiring.sum(top, -1))
