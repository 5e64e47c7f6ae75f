"""Probabilistic context-free grammars in Chomsky normal form: log p(words), and every question asked of derivations.

inside(i, i, preterminal p) = terminals[i, p]
inside(i, j, nonterminal a) = sum_{l, r} rules[a, l, r] sum_{i <= k < j} inside(i, k, l) inside(k + 1, j, r)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import LOG, full_precision, plain_arithmetic, widest
from lvspec.runtime.core.structured import Parts, Structured
from lvspec.runtime.trees.derivations import Uses
from lvspec.runtime.trees.inside_best import Best, best_derivations, best_inside, k_best_derivations
from lvspec.runtime.trees.inside_differentiable import inside_differentiable
from lvspec.runtime.trees.inside_draws import inside_draws
from lvspec.runtime.trees.inside_log import inside_program
from lvspec.runtime.trees.inside_operator import INSIDE_OPERATOR
from lvspec.runtime.trees.inside_outside import by_place, certain_inside, inside_sum


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
    """The best derivation, and draws where the inside charts are certain, are found from the root down."""

    lengths: Tensor = field(kw_only=True)

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Root, rules, and the terminals of every example."""
        root, rules, terminals = map(full_precision, self.potentials.values())
        return root, rules, terminals.expand(self.rows, *terminals.shape[1:])

    @property
    def mode(self) -> Parts:
        """The best derivation, one of them where several are."""
        uses = self.best_uses()
        return super().mode if uses is None else self.parts(uses)

    def best_uses(self) -> Uses | None:
        """Of the best derivations; None where no sentence is long enough for a rule."""
        if not self.derivable():
            return None
        with torch.no_grad(), plain_arithmetic(self.potentials["terminals"]):
            return best_derivations(self.best(), self.lengths)

    def k_best(self, k: int) -> tuple[Tensor, Parts]:
        """Scores (k, B) in order, -inf where there are fewer derivations; parts (k, B, ...), 0 there."""
        if not self.derivable():
            return super().k_best(k)
        with torch.no_grad(), plain_arithmetic(self.potentials["terminals"]):
            scores, uses = k_best_derivations(self.best(), self.lengths, k)
        parts = {name: use.unflatten(0, (k, self.rows)) for name, use in self.parts(uses).items()}
        return scores.to(full_precision(self.potentials["terminals"]).dtype), parts

    def derivable(self) -> bool:
        """Whether a sentence is long enough for a rule."""
        return self.potentials["terminals"].shape[1] > 1

    def best(self) -> Best:
        """Scores of the best derivations, in float64."""
        root, rules, terminals = map(widest, self.inputs())
        return best_inside(root, rules, by_place(terminals, self.lengths))

    def parts(self, uses: Uses) -> Parts:
        return {name: use.to(p.dtype) for (name, p), use in zip(self.potentials.items(), uses.parts(), strict=True)}

    def sample(self, n: int) -> Parts:
        """n exact draws: (n, B, ...)."""
        with torch.no_grad(), plain_arithmetic(self.potentials["terminals"]):
            found = certain_inside(*self.inputs(), self.lengths)
            if found is None:
                return super().sample(n)
            uses = inside_draws(found, self.lengths, n)
        return {name: use.unflatten(0, (n, self.rows)) for name, use in self.parts(uses).items()}


def bracketings(derivations: Grammar) -> Bracketings:
    """The same derivations by their spans of two words and more, of whatever symbol: potentials spans (1, T, T), 0."""

    def program(semiring, potentials: Parts) -> Tensor:
        return derivations.program(semiring, {**derivations.potentials, **potentials})

    def fast(potentials: Parts) -> Tensor:
        inputs = derivations.inputs()
        root, rules, terminals = inputs
        found = certain_inside(root.detach(), rules.detach(), terminals.detach(), derivations.lengths)
        if found is None or bool(potentials["spans"].detach().any()):
            return program(LOG, {n: widest(p) for n, p in potentials.items()})
        words = by_place(terminals, derivations.lengths)
        return inside_differentiable(found, derivations.lengths, root, rules, words, potentials["spans"])

    T = derivations.potentials["terminals"].shape[-2]
    none = derivations.potentials["terminals"].new_zeros(1, T, T)
    return Bracketings(program, {"spans": none}, derivations.rows, fast, derivations=derivations)


@dataclass(frozen=True)
class Bracketings(Structured):
    """The best one is that of the best derivation."""

    derivations: Grammar = field(kw_only=True)

    @property
    def mode(self) -> Parts:
        uses = self.derivations.best_uses()
        return super().mode if uses is None else {"spans": uses.spans.to(self.potentials["spans"].dtype)}


def pcfg_log_partition(potentials: Parts, lengths: Tensor) -> Tensor:
    """log Z (B), by matrix products in scaled probability space and the outside algorithm as the gradient."""
    root, rules, terminals = (full_precision(potentials[name]) for name in ("root", "rules", "terminals"))
    with plain_arithmetic(terminals):
        if torch.compiler.is_compiling():
            return INSIDE_OPERATOR(root, rules, terminals, lengths)
        return inside_sum(root, rules, terminals, lengths)
