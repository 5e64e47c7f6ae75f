"""CRF guides: q(z | x) of a chain's states, of segments, of trees, a conditional random field, given the labels that are known.

    q(z) proportional to exp(scores of z + known(z))        known: 0, or -inf for labels that are not the given ones

so that what is drawn, and every expectation, is under q of the labels that are not given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lvspec.runtime.core.structured import Parts, Structured
from lvspec.runtime.core.undefined import Undefined
from lvspec.runtime.segments.segments import segmentation
from lvspec.runtime.segments.windows import token_segments
from lvspec.runtime.structures.labels import known_labels, merged_rows
from lvspec.runtime.structures.linear_chain import LinearChain, linear_chain
from lvspec.runtime.structures.tree_labels import BINARY, NON_PROJECTIVE, PROJECTIVE, Trees

__all__ = [
    "dependency_crf_guide",
    "linear_chain_guide",
    "non_projective_crf_guide",
    "semi_markov_guide",
    "tree_crf_guide",
]

Arguments = tuple[Tensor, ...]


@dataclass(frozen=True)
class CRFGuide:
    """q(z) over labels z (*lead, T), 0 where masked.

    of: the structure, from its arguments, log-factors of labels (rows, T, K), and lengths (rows). labels: of structures
    given by their parts, (..., rows, T). arguments: with rows, or one row for all. known: (rows, T, K). mask: (*lead, T).
    """

    of: Callable[[Arguments, Tensor, Tensor], Structured]
    labels: Callable[[Any, Parts], Tensor]
    arguments: Arguments
    known: Tensor
    mask: Tensor

    @cached_property
    def found(self) -> Structured:
        return self.of(self.arguments, self.known, self.real.sum(-1))

    @property
    def real(self) -> Tensor:
        """The mask, (rows, T)."""
        return self.mask.flatten(0, -2)

    def sample(self, n: int) -> Tensor:
        """n draws: (n, *lead, T) int64."""
        if 0 in self.mask.shape:
            return torch.zeros(n, *self.mask.shape, dtype=torch.int64, device=self.mask.device)
        drawn = self.labels(self.found, self.found.sample(n))
        return torch.where(self.mask, drawn.unflatten(1, self.mask.shape[:-1]), 0)

    @property
    def mode(self) -> Tensor:
        """The most probable structure's labels: (*lead, T) int64."""
        if 0 in self.mask.shape:
            return torch.zeros(self.mask.shape, dtype=torch.int64, device=self.mask.device)
        best = {name: part[None] for name, part in self.found.mode.items()}
        return torch.where(self.mask, self.labels(self.found, best)[0].unflatten(0, self.mask.shape[:-1]), 0)

    def log_prob(self, labels: Tensor) -> Tensor:
        """log q of labels (..., *lead, T), -inf of those that are not the known ones: (..., *lead)."""
        n = labels.numel() // max(self.mask.numel(), 1)
        if 0 in self.mask.shape:
            return self.known.sum().expand(labels.shape[:-1])
        real = self.real.repeat(n, 1)
        arguments, known = (
            tuple(_repeated(a, n, len(self.known)) for a in self.arguments),
            _repeated(self.known, n, len(self.known)),
        )
        found = self.of(arguments, known, real.sum(-1))
        rows = labels.reshape(-1, labels.shape[-1])
        if isinstance(found, LinearChain):
            score = found.score_of(rows)
        else:  # the sum over the structures that have these labels
            chosen = known_labels(rows, real, known.shape[-1], known)
            score = self.of(arguments, known + chosen, real.sum(-1)).log_partition
        return (score - self.found.log_partition.repeat(n)).reshape(labels.shape[:-1])

    @property
    def log_partition(self) -> Tensor:
        """log Z: (*lead)."""
        return (self._nothing() if 0 in self.mask.shape else self.found.log_partition).reshape(self.mask.shape[:-1])

    @property
    def entropy(self) -> Tensor:
        """H[q]: (*lead), differentiable."""
        return (self._nothing() if 0 in self.mask.shape else self.found.entropy).reshape(self.mask.shape[:-1])

    def _nothing(self) -> Tensor:
        """0 for every row, where there is no row or no site."""
        return self.known.flatten(1).sum(1)

    @cached_property
    def sites(self) -> Tensor:
        """q(z_t = k): (*lead, T, K), differentiable."""
        lengths = self.real.sum(-1)
        added = torch.zeros_like(self.known)
        if 0 in self.mask.shape:
            return added.unflatten(0, self.mask.shape[:-1])
        found = _gradient(lambda x: self.of(self.arguments, self.known + x, lengths).log_partition, added)
        return found.unflatten(0, self.mask.shape[:-1])

    @cached_property
    def steps(self) -> Tensor:
        """q(z_{t-1} = j, z_t = k): (*lead, T, K, K), 0 at the first site; differentiable. Of linear chains."""
        if not isinstance(self.found, LinearChain):
            raise Undefined("neighbouring labels: only a linear chain's are joined site by site")
        rows, T, K = self.known.shape
        unary, pairwise = self.found.potentials["unary"], self.found.potentials["pairwise"]
        added, lengths = self.known.new_zeros(rows, max(T - 1, 0), K, K), self.real.sum(-1)
        found = _gradient(lambda x: linear_chain(unary, pairwise.unsqueeze(1) + x, lengths).log_partition, added)
        found = torch.nn.functional.pad(found, (0, 0, 0, 0, 1 if T else 0, 0))
        return found.unflatten(0, self.mask.shape[:-1])


def _gradient(total: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """d total / d at; differentiable where gradients are on."""
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        leaf = at.requires_grad_()
        value = total(leaf)
        if not value.requires_grad:  # nothing has labels
            return torch.zeros_like(at)
        (found,) = torch.autograd.grad(
            value.sum(), leaf, create_graph=differentiable, allow_unused=True, materialize_grads=True
        )
    return found


def _repeated(x: Tensor, n: int, rows: int) -> Tensor:
    """An argument with a row for each of n draws, where it has rows."""
    return x.repeat(n, *[1] * (x.dim() - 1)) if len(x) == rows and n != 1 else x


def _lead(known: Tensor, mask: Tensor, tables: tuple[tuple[Tensor, int], ...]) -> torch.Size:
    """What q differs over: the leading axes of all that it is made of."""
    leads = [t.shape[: t.dim() - own] for t, own in tables]
    return torch.broadcast_shapes(known.shape[:-2], mask.shape[:-1], *leads)


def _rows(x: Tensor, lead: torch.Size, own: int) -> Tensor:
    """(rows, ...), or (1, ...) where all rows share it."""
    return x.unsqueeze(0)[: 0 if 0 in lead else 1] if x.dim() == own else merged_rows(x, lead, own)


def _sites(x: Tensor, lead: torch.Size, T: int) -> Tensor:
    """Scores of each site's labels, (rows, T, K)."""
    return x.expand(*lead, T, x.shape[-1]).flatten(0, len(lead) - 1)


def linear_chain_guide(mask: Tensor, unary: Tensor, pairwise: Tensor, known: Tensor) -> CRFGuide:
    """q(z) proportional to exp(sum_t unary_t[z_t] + sum_t pairwise[z_{t-1}, z_t]) over labels that may be known.

    mask (..., T); unary (K,), or (..., T or 1, K); pairwise (..., K, K); known (..., T, K).
    """
    lead = _lead(known, mask, ((unary, min(unary.dim(), 2)), (pairwise, 2)))
    T = mask.shape[-1]

    def of(arguments: Arguments, factors: Tensor, lengths: Tensor) -> LinearChain:
        return linear_chain(arguments[0] + factors, arguments[1], lengths)

    arguments = (_sites(unary, lead, T), _rows(pairwise, lead, 2))
    return CRFGuide(of, LinearChain.labels_of, arguments, _sites(known, lead, T), mask.expand(*lead, T))


def semi_markov_guide(mask: Tensor, start: Tensor, transition: Tensor, length: Tensor, known: Tensor) -> CRFGuide:
    """q of the states of the segments around the sites, whose borders are summed; its entropy is that of segments.

    mask (..., T); start (..., K); transition (..., K, K); length (..., K, L); known (..., T, K).
    """
    tables = ((start, 1), (transition, 2), (length, 2))
    lead = _lead(known, mask, tables)
    T = mask.shape[-1]

    def of(arguments: Arguments, factors: Tensor, lengths: Tensor) -> Structured:
        return segmentation(token_segments(factors, arguments[2]), arguments[0], arguments[1], lengths)

    arguments = tuple(_rows(x, lead, own) for x, own in tables)
    labels = lambda found, parts: found.segments_of(parts)[0]  # noqa: E731
    return CRFGuide(of, labels, arguments, _sites(known, lead, T), mask.expand(*lead, T))


def _tree_guide(trees: Trees, mask: Tensor, scores: Tensor, known: Tensor) -> CRFGuide:
    lead = _lead(known, mask, ((scores, min(scores.dim(), 2)),))
    T = mask.shape[-1]

    def of(arguments: Arguments, factors: Tensor, lengths: Tensor) -> Structured:
        return trees.of(arguments[0], factors, lengths)

    arguments = (_sites(scores, lead, T),)
    return CRFGuide(of, lambda _, parts: trees.labels(parts), arguments, _sites(known, lead, T), mask.expand(*lead, T))


def dependency_crf_guide(mask: Tensor, arcs: Tensor, known: Tensor) -> CRFGuide:
    """q of the heads of projective trees: mask (..., T), arcs (..., T, T) [word, head], known (..., T, T)."""
    return _tree_guide(PROJECTIVE, mask, arcs, known)


def non_projective_crf_guide(mask: Tensor, arcs: Tensor, known: Tensor) -> CRFGuide:
    """q of the heads of all trees: mask (..., T), arcs (..., T, T) [word, head], known (..., T, T)."""
    return _tree_guide(NON_PROJECTIVE, mask, arcs, known)


def tree_crf_guide(mask: Tensor, spans: Tensor, known: Tensor) -> CRFGuide:
    """q of binary trees by the ends of largest constituents: mask (..., T), spans (..., T, T), known (..., T, T)."""
    return _tree_guide(BINARY, mask, spans, known)
