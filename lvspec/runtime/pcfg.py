"""Probabilistic context-free grammars in Chomsky normal form: log p(words), and every question asked of derivations.

inside(i, i, preterminal p) = terminals[i, p]
inside(i, j, nonterminal a) = sum_{l, r} rules[a, l, r] sum_{i <= k < j} inside(i, k, l) inside(k + 1, j, r)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lvspec.runtime.chain_log import widest
from lvspec.runtime.inside_again import inside_again
from lvspec.runtime.inside_draws import inside_draws
from lvspec.runtime.inside_log import inside_program
from lvspec.runtime.inside_ops import INSIDE_OPERATOR
from lvspec.runtime.inside_sum import by_place, certain_inside, inside_sum
from lvspec.runtime.semiring import LOG, full_precision, plain_arithmetic
from lvspec.runtime.structured import Parts, Structured


def pcfg(root: Tensor, rules: Tensor, terminals: Tensor, lengths: Tensor) -> Grammar:
    """Derivations of sentences: a nonterminal at the root, two symbols for a nonterminal, a word for a preterminal.

    root: (B or 1, N). rules: (B or 1, N, S, S) with S = N + P, nonterminals first: [parent, left, right].
    terminals: (B, T, P), the log-potential of word t under each preterminal. lengths: (B).
    A sentence of one word has no derivation, since the root is a nonterminal: log Z = -inf. A row without words
    counts nothing: log Z = 0. Source: Baker 1979; the split of symbols as in Kim, Dyer & Rush 2019.
    """
    potentials = {"root": root, "rules": rules, "terminals": terminals}
    program, fast = partial(inside_program, lengths=lengths), partial(pcfg_log_partition, lengths=lengths)
    return Grammar(program, potentials, lengths.shape[0], fast, lengths=lengths)


@dataclass(frozen=True)
class Grammar(Structured):
    """Derivations are drawn from the root down, where the inside charts are certain."""

    lengths: Tensor | None = None

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Root, rules, and the terminals of every example."""
        root, rules, terminals = map(full_precision, self.potentials.values())
        return root, rules, terminals.expand(self.rows, *terminals.shape[1:])

    def sample(self, n: int) -> Parts:
        """n exact draws: (n, B, ...)."""
        with torch.no_grad(), plain_arithmetic(self.potentials["terminals"]):
            found = certain_inside(*self.inputs(), self.lengths)
            if found is None:
                return super().sample(n)
            uses = inside_draws(found, self.lengths, n)
        parts = zip(self.potentials.items(), uses, strict=True)
        return {name: use.to(p.dtype).unflatten(0, (n, self.rows)) for (name, p), use in parts}


def bracketings(derivations: Grammar) -> Structured:
    """The same derivations by their spans of two words and more, of whatever symbol: potentials spans (1, T, T), 0."""

    def program(semiring, potentials: Parts) -> Tensor:
        return derivations.program(semiring, {**derivations.potentials, **potentials})

    def fast(potentials: Parts) -> Tensor:
        inputs = derivations.inputs()
        found = certain_inside(*(x.detach() for x in inputs), derivations.lengths)
        if found is None or bool(potentials["spans"].detach().any()):
            return program(LOG, {n: widest(p) for n, p in potentials.items()})
        root, rules, terminals = inputs
        words = by_place(terminals, derivations.lengths)
        return inside_again(found, derivations.lengths, root, rules, words, potentials["spans"])

    T = derivations.potentials["terminals"].shape[-2]
    none = derivations.potentials["terminals"].new_zeros(1, T, T)
    return Structured(program, {"spans": none}, derivations.rows, fast)


def pcfg_log_partition(potentials: Parts, lengths: Tensor) -> Tensor:
    """log Z (B), by matrix products in scaled probability space and the outside algorithm as the gradient."""
    root, rules, terminals = (full_precision(potentials[name]) for name in ("root", "rules", "terminals"))
    with plain_arithmetic(terminals):
        if torch.compiler.is_compiling():
            return INSIDE_OPERATOR(root, rules, terminals, lengths)
        return inside_sum(root, rules, terminals, lengths)
