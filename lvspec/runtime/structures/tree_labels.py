"""Trees over a sentence as labels of its words: each word names a word, and the names say which tree it is.

dependency trees   the head of the word; the word itself at the root
binary trees       the last word of the largest constituent that begins at the word

p(tree) is proportional to exp(sum of its parts' scores), given the number of words; a sentence without words has one
tree. What is known of a word's label, or asked about it, is a log-factor (..., T, T), [word, label].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from lvspec.runtime.core.semiring import COUNT, LOG
from lvspec.runtime.core.structured import Parts, Structured
from lvspec.runtime.structures.labels import entered, known_labels, leading, merged_rows
from lvspec.runtime.trees.dependencies import projective
from lvspec.runtime.trees.non_projective import non_projective
from lvspec.runtime.trees.spans import tree_crf

__all__ = [
    "dependency_crf_draw",
    "dependency_crf_log_prob",
    "dependency_crf_sum",
    "non_projective_crf_draw",
    "non_projective_crf_log_prob",
    "non_projective_crf_sum",
    "tree_crf_draw",
    "tree_crf_log_prob",
    "tree_crf_sum",
]


@dataclass(frozen=True)
class Trees:
    """A kind of trees. of: their distribution, from scores (rows, T, T) and log-factors of labels (rows, T, T), or
    None, and lengths (rows). labels: of structures given by their parts, (..., rows, T)."""

    of: Callable[[Tensor, Tensor | None, Tensor], Structured]
    labels: Callable[[Parts], Tensor]

    def sum(self, potentials: Tensor, mask: Tensor, scores: Tensor, semiring=LOG) -> Tensor:
        """log sum_tree p(tree) prod_t exp f_t(label_t): potentials f (..., T, T), scores (..., T, T), mask (..., T)."""
        lead = potentials.shape[:-2]
        inner = entered(semiring, lead)
        if 0 in potentials.shape:
            return semiring.left(inner.lift(potentials.flatten(-2).sum(-1)))
        factors = merged_rows(potentials, lead, 2)
        scores, lengths = rows_of(scores, mask, lead)
        value = self.of(scores, factors, lengths).under(inner)
        if inner is not COUNT:  # a tree counts one, whatever its probability
            value = value - self.of(scores, None, lengths).log_partition
        return semiring.left(value.reshape(*value.shape[:-1], *lead))

    def log_prob(self, labels: Tensor, mask: Tensor, scores: Tensor) -> Tensor:
        """log p(tree) by its labels (..., T), -inf where they are those of no such tree: (...)."""
        lead = leading(labels, (scores, 2))
        known = known_labels(labels, mask, labels.shape[-1], scores)
        return self.sum(known.expand(*lead, *known.shape[-2:]), mask, scores)

    def draw(self, mask: Tensor, scores: Tensor) -> Tensor:
        """The labels of a tree ~ p: (..., T) int64, 0 where masked."""
        lead = leading(mask, (scores, 2))
        if 0 in (*lead, mask.shape[-1]):
            return torch.zeros(*lead, mask.shape[-1], dtype=torch.int64, device=mask.device)
        rows, lengths = rows_of(scores, mask, lead)
        found = self.labels(self.of(rows, None, lengths).sample(1))[0]
        return torch.where(mask, found.reshape(*lead, mask.shape[-1]), 0)


def rows_of(scores: Tensor, mask: Tensor, lead: torch.Size) -> tuple[Tensor, Tensor]:
    """Scores (rows, T, T) and lengths (rows), one row for each of the leading axes."""
    T = mask.shape[-1]
    lengths = merged_rows(mask.expand(*lead, T), lead, 1).sum(-1)
    return merged_rows(scores.expand(*lead, T, T), lead, 2), lengths


# ---------------------------------------------------------------- dependency trees
def rooted(scores: Tensor) -> Tensor:
    """Scores (..., T, T), [word, head] with those of the root at [word, word], as arcs (..., T + 1, T + 1),
    [head, modifier] with the root in front."""
    root = scores.diagonal(dim1=-2, dim2=-1).unsqueeze(-2)
    return pad(torch.cat([root, scores.mT], -2), (1, 0))


def heads(parts: Parts) -> Tensor:
    """Each word's head, itself at the root."""
    found = parts["arcs"][..., 1:].argmax(-2)
    itself = torch.arange(found.shape[-1], device=found.device)
    return torch.where(found == 0, itself, found - 1)


def _dependencies(of: Callable[[Tensor, Tensor], Structured]) -> Trees:
    def build(scores: Tensor, factors: Tensor | None, lengths: Tensor) -> Structured:
        return of(rooted(scores if factors is None else scores + factors), lengths)

    return Trees(build, heads)


PROJECTIVE, NON_PROJECTIVE = _dependencies(projective), _dependencies(non_projective)


def dependency_crf_sum(potentials: Tensor, mask: Tensor, arcs: Tensor, semiring=LOG) -> Tensor:
    """log sum_tree p(tree) prod_t exp f_t(head_t) over projective trees with one root (Eisner 1996).

    potentials (..., T, T), 0 where masked; arcs (..., T, T), the score of [word, head], of the root at [word, word]: (...).
    """
    return PROJECTIVE.sum(potentials, mask, arcs, semiring)


def dependency_crf_log_prob(heads: Tensor, mask: Tensor, arcs: Tensor) -> Tensor:
    """log p(tree) of projective trees by their heads (..., T), the word itself at the root; -inf of others: (...)."""
    return PROJECTIVE.log_prob(heads, mask, arcs)


def dependency_crf_draw(mask: Tensor, arcs: Tensor) -> Tensor:
    """Heads of projective trees ~ p at the words of mask (..., T), the word itself at the root; 0 elsewhere."""
    return PROJECTIVE.draw(mask, arcs)


def non_projective_crf_sum(potentials: Tensor, mask: Tensor, arcs: Tensor, semiring=LOG) -> Tensor:
    """log sum_tree p(tree) prod_t exp f_t(head_t) over all trees with one root (Koo et al. 2007).

    Shapes as for dependency_crf_sum. The k best are not defined: a determinant has no maximum.
    """
    return NON_PROJECTIVE.sum(potentials, mask, arcs, semiring)


def non_projective_crf_log_prob(heads: Tensor, mask: Tensor, arcs: Tensor) -> Tensor:
    """log p(tree) of all trees by their heads (..., T), the word itself at the root; -inf of no tree: (...)."""
    return NON_PROJECTIVE.log_prob(heads, mask, arcs)


def non_projective_crf_draw(mask: Tensor, arcs: Tensor) -> Tensor:
    """Heads of trees ~ p at the words of mask (..., T), the word itself at the root; 0 elsewhere."""
    return NON_PROJECTIVE.draw(mask, arcs)


# ---------------------------------------------------------------- binary trees
def _binary(scores: Tensor, factors: Tensor | None, lengths: Tensor) -> Structured:
    return tree_crf(scores, lengths, torch.zeros_like(scores) if factors is None else factors)


BINARY = Trees(_binary, lambda parts: parts["largest"].argmax(-1))


def tree_crf_sum(potentials: Tensor, mask: Tensor, spans: Tensor, semiring=LOG) -> Tensor:
    """log sum_tree p(tree) prod_t exp f_t(end_t) over binary trees; the largest constituent from t on ends at end_t.

    potentials (..., T, T), 0 where masked; spans (..., T, T), the score of a constituent [first, last word]: (...).
    """
    return BINARY.sum(potentials, mask, spans, semiring)


def tree_crf_log_prob(ends: Tensor, mask: Tensor, spans: Tensor) -> Tensor:
    """log p(tree) of binary trees by where the largest constituent from each word on ends, (..., T): (...)."""
    return BINARY.log_prob(ends, mask, spans)


def tree_crf_draw(mask: Tensor, spans: Tensor) -> Tensor:
    """Binary trees ~ p over the words of mask (..., T), as where the largest constituent from each word on ends."""
    return BINARY.draw(mask, spans)


def constituents(ends: Tensor, mask: Tensor) -> Tensor:
    """The constituents (..., T, T), [first, last word], of binary trees by their labels (..., T); words included.

    A word that is not the first begins the right part of a constituent; what lies before it, down to the nearest word
    whose largest constituent reaches as far, is the left part.
    """
    T = ends.shape[-1]
    places = torch.arange(T, device=ends.device)
    reaches = (ends.unsqueeze(-2) >= ends.unsqueeze(-1)) & (places < places.unsqueeze(-1))  # [word, word before]
    first = torch.where(reaches, places, -1).amax(-1) if T else ends
    found = torch.zeros(*ends.shape, T, dtype=torch.bool, device=ends.device)
    found.scatter_(-1, ends.unsqueeze(-1), mask.unsqueeze(-1))
    split = mask & (first >= 0)
    left = (places == first.unsqueeze(-1)) & split.unsqueeze(-1)  # [word, where its left neighbour begins]
    before = torch.zeros_like(found)
    before[..., :, : T - 1] = left.mT[..., :, 1:] if T else left
    both = found | before | torch.eye(T, dtype=torch.bool, device=ends.device)
    return both & mask.unsqueeze(-1) & mask.unsqueeze(-2)
