"""Distributions over structures (segmentations, trees, alignments): one program, and every question asked of it.

p(y) = exp(sum_parts theta(part) [part in y] - log Z)        log Z = log sum_y exp theta(y) = program(LOG, theta)

A part is an entry of a potential: a span, an arc, a step of a chain; a structure may use one several times (a
transition that all steps share), and is given by how often it uses each. Marginals, the best structures and draws are
gradients of the program under other semirings (Li & Eisner 2009), and have the shapes of the potentials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import LOG, MAX, SAMPLE, BestSemiring, finite_part, full_precision, widest
from lvspec.runtime.core.undefined import Undefined

Parts = dict[str, Tensor]  # potential's name -> (B, ...), as the potential


def weighted(parts: Tensor, potential: Tensor) -> Tensor:
    """(..., B): sum of parts (..., B, *shape) * potential (B or 1, *shape) over the shape, where 0 * -inf is 0."""
    product = parts * potential.masked_fill(parts == 0, 0.0)
    return product.unsqueeze(-1).flatten(parts.dim() - potential.dim() + 1).sum(-1)


@dataclass(frozen=True)
class Structured:
    """program(semiring, potentials) -> (B,), a sum over all structures; (k, B) for the k best. It is run in float64.
    fast: the same sum under LOG, by a quicker way. potentials: log-potentials (B, ...) or (1, ...) for all examples.
    undefined: question -> why there is no answer.

    An example without a structure has log Z = -inf; its parts, entropy and divergences are 0.
    """

    program: Callable[[object, Parts], Tensor]
    potentials: Parts
    rows: int
    fast: Callable[[Parts], Tensor] | None = None
    undefined: Mapping[str, str] = field(default_factory=dict)

    @property
    def log_partition(self) -> Tensor:
        """log Z: (B,), differentiable in the potentials."""
        return self.total(LOG, self.potentials)

    def score(self, parts: Parts) -> Tensor:
        """theta(y) of structures given by their parts: (B,), or (n, B) of n each."""
        first, *others = (weighted(parts[n], p) for n, p in self.potentials.items())
        return sum(others, first)

    def log_prob(self, parts: Parts) -> Tensor:
        """log p(y): (B,), or (n, B)."""
        total = self.log_partition
        return self.score(parts) - total.masked_fill(total == -torch.inf, torch.inf)

    @property
    def marginals(self) -> Parts:
        """E[how often y uses the part], of every example: (B, ...) each; differentiable where gradients are on."""
        self.ask("marginals")
        return self.expected()[1]

    @property
    def expected_counts(self) -> Parts:
        """The marginals in the potentials' own shapes: summed over the examples that share a potential."""
        self.ask("marginals")
        differentiable = torch.is_grad_enabled()
        return self.gradient(*self.evaluated(LOG, apart=False), differentiable)

    @property
    def mode(self) -> Parts:
        """The best structure, one of them where several are."""
        self.ask("mode")
        return self.gradient(*self.evaluated(MAX, detached=True))

    def k_best(self, k: int) -> tuple[Tensor, Parts]:
        """Scores (k, B) in order, -inf where there are fewer structures; parts (k, B, ...), 0 there."""
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
        """H[p] = log Z - sum_parts p(part) theta(part): (B,), differentiable."""
        self.ask("entropy")
        total, parts = self.expected()
        return finite_part(total) - sum(weighted(parts[n], p) for n, p in self.potentials.items())

    def cross_entropy(self, other: Structured) -> Tensor:
        """E_self[-log other(y)]: (B,), of two distributions over the same parts; inf where `other` forbids some y."""
        self.ask("entropy")
        total, parts = self.expected()
        found = finite_part(other.log_partition) - sum(weighted(parts[n], p) for n, p in other.potentials.items())
        return found.masked_fill(total == -torch.inf, 0.0)

    def kl(self, other: Structured) -> Tensor:
        """KL(self || other): (B,); inf where `other` forbids some y."""
        self.ask("entropy")
        total, parts = self.expected()
        gain = sum(weighted(parts[n], p - other.potentials[n]) for n, p in self.potentials.items())
        return (finite_part(other.log_partition) - finite_part(total) + gain).masked_fill(total == -torch.inf, 0.0)

    @property
    def log_count(self) -> Tensor:
        """The log of the number of structures whose score is not -inf: (B,)."""
        self.ask("log_count")
        with torch.no_grad():
            return self.total(LOG, {n: p.masked_fill(p > -torch.inf, 0.0) for n, p in self.potentials.items()})

    def under(self, semiring) -> Tensor:
        """The program's value (..., B) under a semiring, differentiable in the potentials; its gradient answers what
        the semiring asks."""
        if semiring.name == "tempered":
            return self.tempered(semiring.beta)
        return self.total(semiring, self.potentials)

    def tempered(self, beta: Tensor) -> Tensor:
        """(1 / beta) log sum_y exp(beta theta(y)), beta (B,): minus its derivative at 1 is the entropy."""

        def scaled(p: Tensor) -> Tensor:
            none = p.detach() == -torch.inf  # -inf * beta has no derivative by beta
            rows = beta.to(p.dtype).view(-1, *[1] * (p.dim() - 1))
            return (rows * p.masked_fill(none, 0.0)).masked_fill(none, -torch.inf)

        value = self.total(LOG, {n: scaled(p) for n, p in self.potentials.items()})
        none = value.detach() == -torch.inf
        return (value.masked_fill(none, 0.0) / beta.to(value.dtype)).masked_fill(none, -torch.inf)

    # ------------------------------------------------------------
    def ask(self, question: str) -> None:
        if question in self.undefined:
            raise Undefined(f"{question}: {self.undefined[question]}")

    def total(self, semiring, potentials: Parts) -> Tensor:
        """The program's value (..., B), in the potentials' precision."""
        dtype = full_precision(next(iter(potentials.values()))).dtype
        if semiring is LOG and self.fast:
            value = self.fast(potentials)
        else:  # log messages grow with the structures, and a rounding of 1e5 is an error of e
            value = self.program(semiring, {n: widest(p) for n, p in potentials.items()})
        return value.to(dtype).expand(*value.shape[:-1], self.rows)

    def expected(self) -> tuple[Tensor, Parts]:
        """log Z and the marginals, from one pass; differentiable where gradients are on."""
        differentiable = torch.is_grad_enabled()
        value, potentials = self.evaluated(LOG)
        return value if differentiable else value.detach(), self.gradient(value, potentials, differentiable)

    def evaluated(self, semiring, detached: bool = False, apart: bool = True) -> tuple[Tensor, Parts]:
        """The program's value, and the potentials that its gradient is taken by; apart: one row for each example."""
        if torch.compiler.is_compiling():  # a graph that is broken between the value and its gradient gives zeros
            raise Undefined("answers that are gradients of the program, within a compiled graph: ask outside of it")
        attached = torch.is_grad_enabled() and not detached
        with torch.enable_grad():
            given = self.potentials
            rows = {n: p.expand(self.rows, *p.shape[1:]) for n, p in given.items()} if apart else given
            rows = {n: p if attached and p.requires_grad else p.detach().requires_grad_() for n, p in rows.items()}
            return self.total(semiring, rows), rows

    @staticmethod
    def gradient(value: Tensor, potentials: Parts, differentiable: bool = False, keep: bool = False) -> Parts:
        if not value.requires_grad:  # no structure has parts
            return {n: torch.zeros_like(p) for n, p in potentials.items()}
        found = torch.autograd.grad(
            value,
            list(potentials.values()),
            torch.ones_like(value),
            create_graph=differentiable,
            retain_graph=differentiable or keep,
            allow_unused=True,
            materialize_grads=True,
        )
        return dict(zip(potentials, found, strict=True))
