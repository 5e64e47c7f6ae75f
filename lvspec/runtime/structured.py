"""Distributions over structures (segmentations, trees, alignments): one program, and every question asked of it.

p(y) = exp(sum_parts theta(part) [part in y] - log Z)        log Z = log sum_y exp theta(y) = program(LOG, theta)

A part is an entry of a potential: a span, an arc, a step of a chain. Marginals, the best structures and draws are
gradients of the program under other semirings (Li & Eisner 2009), and have the shapes of the potentials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lvspec.runtime.semiring import LOG, MAX, SAMPLE, BestSemiring

Parts = dict[str, Tensor]  # potential's name -> (B, ...), as the potential


class Undefined(Exception):
    """A question that a family of structures has no answer to; the message says why."""


def weighted(parts: Tensor, potential: Tensor) -> Tensor:
    """(B,): sum of parts * potential over all but the first axis, where 0 * -inf is 0."""
    product = torch.where(parts == 0, 0.0, parts * potential.masked_fill(parts == 0, 0.0))
    return product.flatten(1).sum(1)


@dataclass(frozen=True)
class Structured:
    """program(semiring, potentials) -> (B,), a sum over all structures; (k, B) for the k best.
    fast: the same sum under LOG, by a quicker way. potentials: log-potentials (B, ...) or (1, ...) for all examples.
    undefined: question -> why there is no answer.
    """

    program: Callable[[object, Parts], Tensor]
    potentials: Parts
    rows: int
    fast: Callable[[Parts], Tensor] | None = None
    undefined: Mapping[str, str] = field(default_factory=dict)

    @property
    def log_partition(self) -> Tensor:
        """log Z: (B,), differentiable in the potentials."""
        return self.fast(self.potentials) if self.fast else self.program(LOG, self.potentials)

    def score(self, parts: Parts) -> Tensor:
        """theta(y) of structures given by their parts: (B,)."""
        return sum(weighted(parts[n], p) for n, p in self.potentials.items())

    def log_prob(self, parts: Parts) -> Tensor:
        """log p(y): (B,)."""
        return self.score(parts) - self.log_partition

    @property
    def marginals(self) -> Parts:
        """p(part in y) of every example: (B, ...) each; differentiable where gradients are on."""
        self.ask("marginals")
        value, potentials = self.evaluated(LOG)
        return self.gradient(value, potentials, differentiable=torch.is_grad_enabled())

    @property
    def mode(self) -> Parts:
        """The best structure: 1 for its parts, 0 elsewhere."""
        self.ask("mode")
        return self.gradient(*self.evaluated(MAX, detached=True))

    def k_best(self, k: int) -> tuple[Tensor, Parts]:
        """Scores (k, B) in order, -inf where there are fewer structures; parts (k, B, ...)."""
        self.ask("k_best")
        value, potentials = self.evaluated(BestSemiring(k), detached=True)
        found = [self.gradient(v, potentials, keep=True) for v in value]
        return value.detach(), {n: torch.stack([f[n] for f in found]) for n in potentials}

    def sample(self, n: int) -> Parts:
        """n exact draws: (n, B, ...)."""
        self.ask("sample")
        value, potentials = self.evaluated(SAMPLE, detached=True)
        found = [self.gradient(value, potentials, keep=True) for _ in range(n)]  # each backward pass draws anew
        return {
            name: torch.stack([f[name] for f in found]) if found else p.new_zeros((0, *p.shape))
            for name, p in potentials.items()
        }

    @property
    def entropy(self) -> Tensor:
        """H[p]: (B,), differentiable. H = log Z - sum p(part) theta(part)."""
        return self.cross_entropy(self)

    def cross_entropy(self, other: Structured) -> Tensor:
        """E_self[-log other(y)]: (B,), of two distributions over the same parts."""
        self.ask("entropy")
        parts = self.marginals
        return other.log_partition - sum(weighted(parts[n], p.expand_as(parts[n])) for n, p in other.potentials.items())

    def kl(self, other: Structured) -> Tensor:
        """KL(self || other): (B,)."""
        return self.cross_entropy(other) - self.entropy

    @property
    def log_count(self) -> Tensor:
        """The log of the number of structures whose score is not -inf: (B,)."""
        self.ask("log_count")
        return self.program(LOG, {n: p.detach().masked_fill(p > -torch.inf, 0.0) for n, p in self.potentials.items()})

    # ------------------------------------------------------------
    def ask(self, question: str) -> None:
        if question in self.undefined:
            raise Undefined(f"{question}: {self.undefined[question]}")

    def evaluated(self, semiring, detached: bool = False) -> tuple[Tensor, Parts]:
        """The program's value, and the leaves (one row an example) that its gradient is taken by."""
        with torch.enable_grad():
            rows = {n: p.expand(self.rows, *p.shape[1:]) for n, p in self.potentials.items()}
            if detached or not torch.is_grad_enabled():
                rows = {n: p.detach().clone().requires_grad_() for n, p in rows.items()}
            else:
                rows = {n: p if p.requires_grad else p.detach().clone().requires_grad_() for n, p in rows.items()}
            value = self.fast(rows) if semiring is LOG and self.fast else self.program(semiring, rows)
        return value, rows

    @staticmethod
    def gradient(value: Tensor, potentials: Parts, differentiable: bool = False, keep: bool = False) -> Parts:
        found = torch.autograd.grad(
            value.sum(),
            list(potentials.values()),
            create_graph=differentiable,
            retain_graph=differentiable or keep,
            allow_unused=True,
            materialize_grads=True,
        )
        return dict(zip(potentials, found, strict=True))
