"""Labels of a whole sequence as one random variable: log sum_z p(z) prod_t exp f_t(z_t), and draws of z.

p(z) is proportional to exp(its scores), given the number of sites; where there is none, the sum is 1. A semiring other
than the log one answers questions about p(z) exp f(z), and the normaliser of p stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add

import torch
from torch import Tensor

from lvspec.runtime.chains.chain import chain
from lvspec.runtime.core.semiring import COUNT, LOG, SAMPLE, FilterSemiring, merge_semiring
from lvspec.runtime.core.tensors import merge_lead
from lvspec.runtime.core.undefined import Undefined
from lvspec.runtime.segments.segments import token_segmentation_sum, windowed_segmentation_sum
from lvspec.runtime.segments.windows import border_windows
from lvspec.runtime.structures.linear_chain import labelling_log_prob

__all__ = [
    "linear_chain_draw",
    "linear_chain_log_prob",
    "linear_chain_sum",
    "semi_markov_borders",
    "semi_markov_draw",
    "semi_markov_log_prob",
    "semi_markov_sum",
]


def leading(symbols: Tensor, *arguments: tuple[Tensor, int]) -> torch.Size:
    """What rows differ over: the leading axes of symbols (..., T) and of (argument, its own axes), broadcast."""
    return torch.broadcast_shapes(symbols.shape[:-1], *(a.shape[: a.dim() - own] for a, own in arguments))


def merged_rows(x: Tensor, lead: tuple[int, ...], events: int) -> Tensor:
    """(lead..., events) as (rows, events); what has no leading axes stays as it is, shared by all rows."""
    if x.dim() == events:
        return x
    return merge_lead(x.reshape(*[1] * (len(lead) + events - x.dim()), *x.shape), lead)


def entered(semiring, lead: tuple[int, ...]):
    """What the one structure of a row is reduced by."""
    return semiring.entered() if len(lead) == 1 else merge_semiring(semiring, lead)


def as_log_probability(value: Tensor, log_z: Tensor, chosen, asked, lead: tuple[int, ...]) -> Tensor:
    """Scores (..., rows), reduced by what was chosen where a semiring asked, as log-probabilities (..., *lead)."""
    if chosen is not COUNT:  # a labelling counts one, whatever its probability
        value = value - log_z
    return asked.left(value.reshape(*value.shape[:-1], *lead))


def linear_chain_sum(potentials: Tensor, mask: Tensor, unary: Tensor, pairwise: Tensor, semiring=LOG) -> Tensor:
    """p(z) = exp(sum_t unary_t[z_t] + sum_t pairwise[z_{t-1}, z_t]) / Z (Lafferty, McCallum & Pereira 2001).

    potentials (..., T, K), 0 where masked; mask (..., T); unary (K,), or (..., T or 1, K); pairwise (..., K, K): (...).
    """
    if isinstance(semiring, FilterSemiring):
        raise Undefined("filtered: what a site says of its state is normalised over all sites, the later ones as well")
    lead = potentials.shape[:-2]
    rows, mask = merged_rows(potentials, lead, 2), merged_rows(mask, lead, 1)
    unary = unary if unary.dim() == 1 else merged_rows(unary, lead, 2)
    unary = torch.where(mask.unsqueeze(-1), unary, 0.0)
    pairwise = merged_rows(pairwise, lead, 2)
    start = torch.zeros_like(unary[:1, 0]) if mask.shape[1] else unary.new_zeros(1, unary.shape[-1])
    step = ("i,Bij->j",) if pairwise.dim() == 3 else ("i,ij->j",)

    def total(scores: Tensor, semiring) -> Tensor:
        return chain(start, (pairwise,), scores, step, mask=mask, semiring=semiring)

    chosen = entered(semiring, lead)
    return as_log_probability(total(rows + unary, chosen), total(unary, LOG), chosen, semiring, lead)


def semi_markov_sum(
    potentials: Tensor,
    mask: Tensor,
    start: Tensor,
    transition: Tensor,
    length: Tensor,
    windows: Tensor | None = None,
    begins: Tensor | None = None,
    semiring=LOG,
) -> Tensor:
    """p(segments) = exp(start[z_1] + sum transition[z_{i-1}, z_i] + sum length[z_i, |segment i| - 1]) / Z, and z at a
    site is the state of the segment around it (Sarawagi & Cohen 2004).

    potentials (..., T, K), 0 where masked; mask (..., T); start (..., K); transition (..., K, K); length (..., K, L): (...).
    windows (..., T, L, K or 1), 0 past the end: what site t + i says if its segment began at t (Wiseman, Shieber & Rush
    2018). begins (..., T, 2): what is added at each site, by whether a segment begins there.
    """
    if isinstance(semiring, FilterSemiring):
        raise Undefined("filtered: a pass over segments that stops at each site is not written yet")
    lead = potentials.shape[:-2]
    if 0 in lead:
        return semiring.left(entered(semiring, lead).lift(potentials.flatten(-2).sum(-1)))
    rows, lengths = merged_rows(potentials, lead, 2), merged_rows(mask, lead, 1).sum(-1)
    inside = [merged_rows(windows, lead, 3)] if windows is not None else []
    inside += [border_windows(merged_rows(begins, lead, 2), length.shape[-1])] if begins is not None else []
    start, transition, length = (
        merged_rows(start, lead, 1),
        merged_rows(transition, lead, 2),
        merged_rows(length, lead, 2),
    )

    def total(tokens: Tensor, semiring) -> Tensor:
        return token_segmentation_sum(tokens, length, start, transition, lengths, semiring)

    chosen = entered(semiring, lead)
    if inside:
        value = windowed_segmentation_sum(rows, reduce(add, inside), length, start, transition, lengths, chosen)
    else:
        value = total(rows, chosen)
    return as_log_probability(value, total(torch.zeros_like(rows), LOG), chosen, semiring, lead)


def labels_draw(summed: Callable[[Tensor], Tensor], potentials: Tensor) -> Tensor:
    """z ~ p: (..., T) int64, where summed(potentials) is a sum over labels under the sampling semiring."""
    if not potentials.numel():  # no site, and nothing that a sum of them would be a function of
        return potentials.argmax(-1)
    with torch.enable_grad():
        leaf = potentials.detach().clone().requires_grad_()
        (parts,) = torch.autograd.grad(summed(leaf).sum(), leaf)
    return parts.argmax(-1)


def linear_chain_draw(mask: Tensor, unary: Tensor, pairwise: Tensor) -> Tensor:
    """z ~ exp(sum_t unary_t[z_t] + sum_t pairwise[z_{t-1}, z_t]) / Z at the sites of mask (..., T); 0 elsewhere."""
    zeros = unary.new_zeros(*mask.shape, unary.shape[-1])
    return labels_draw(lambda f: linear_chain_sum(f, mask, unary, pairwise, semiring=SAMPLE), zeros)


def semi_markov_draw(mask: Tensor, start: Tensor, transition: Tensor, length: Tensor) -> Tensor:
    """The states at the sites of mask (..., T) of segments drawn from p; 0 elsewhere."""
    zeros = start.new_zeros(*mask.shape, start.shape[-1])
    return labels_draw(lambda f: semi_markov_sum(f, mask, start, transition, length, semiring=SAMPLE), zeros)


def known_labels(labels: Tensor, mask: Tensor, states: int, like: Tensor) -> Tensor:
    """Log-factors that leave the given labels alone: 0 for them, -inf for others, 0 where masked."""
    chosen = torch.arange(states, device=labels.device) == labels.unsqueeze(-1)
    return torch.where(chosen | ~mask.unsqueeze(-1), 0.0, -torch.inf).to(like.dtype)


def semi_markov_log_prob(labels: Tensor, mask: Tensor, start: Tensor, transition: Tensor, length: Tensor) -> Tensor:
    """log p of the states of the segments around the sites, their borders summed over: labels (..., T), (...)."""
    lead = leading(labels, (start, 1), (transition, 2), (length, 2))
    known = known_labels(labels, mask, start.shape[-1], start)
    return semi_markov_sum(known.expand(*lead, *known.shape[-2:]), mask, start, transition, length)


def semi_markov_borders(labels: Tensor, mask: Tensor, start: Tensor, transition: Tensor, length: Tensor) -> Tensor:
    """Whether a segment begins at each site, drawn given the states of the sites: labels (..., T) -> (..., T), 0 or 1."""
    lead = leading(labels, (start, 1), (transition, 2), (length, 2))
    known = known_labels(labels, mask, start.shape[-1], start)
    known = known.expand(*lead, *known.shape[-2:])

    def summed(begins: Tensor) -> Tensor:
        return semi_markov_sum(known, mask, start, transition, length, begins=begins, semiring=SAMPLE)

    return labels_draw(summed, start.new_zeros(*lead, mask.shape[-1], 2))


def linear_chain_log_prob(labels: Tensor, mask: Tensor, unary: Tensor, pairwise: Tensor) -> Tensor:
    """log p(z), of labels that are all known: their score, and one sum over labellings. labels (..., T), (...)."""
    sites = 1 if unary.dim() == 1 else 2  # the same scores at every site, or one row of them for each
    lead = leading(labels, (unary, sites), (pairwise, 2))
    if 0 in lead:
        return unary.new_zeros(lead)
    scores = merged_rows(unary.expand(*lead, labels.shape[-1], unary.shape[-1]), lead, 2)
    rows, real = merged_rows(labels, lead, 1), merged_rows(mask, lead, 1)
    return labelling_log_prob(scores, merged_rows(pairwise, lead, 2), rows, mask=real).reshape(lead)
