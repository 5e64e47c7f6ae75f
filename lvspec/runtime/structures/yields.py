"""Symbols at the leaves of hidden trees: log p(x) = log sum_tree p(x, tree), and the trees of a given x.

Arguments are logits; each is normalised over what it decides. A row without symbols counts nothing.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lvspec.runtime.core.structured import Structured
from lvspec.runtime.families.categorical import Categorical
from lvspec.runtime.segments.segments import with_first_axis
from lvspec.runtime.structures.labels import leading, merged_rows
from lvspec.runtime.structures.lengths import possible_lengths
from lvspec.runtime.trees.low_rank import low_rank_pcfg
from lvspec.runtime.trees.pcfg import pcfg
from lvspec.runtime.trees.valence import dmv, order

__all__ = [
    "dmv_log_prob",
    "dmv_parts",
    "low_rank_pcfg_draw",
    "low_rank_pcfg_log_prob",
    "low_rank_pcfg_parts",
    "pcfg_draw",
    "pcfg_log_prob",
    "pcfg_parts",
]


def pcfg_parts(symbols: Tensor, mask: Tensor, root: Tensor, rules: Tensor, terminals: Tensor) -> Structured:
    """The derivations of sentences under a grammar (runtime/trees/pcfg.py), one row for each of the leading axes.

    symbols, mask: (..., T). root: (..., N). rules: (..., N, N + P, N + P), [parent, left, right]. terminals: (..., P, V).
    """
    lead = leading(symbols, (root, 1), (rules, 3), (terminals, 2))
    words, real = merged_rows(symbols, lead, 1), merged_rows(mask, lead, 1)
    words = torch.where(real, words, 0)
    root = merged_rows(root.log_softmax(-1), lead, 1)
    rules = merged_rows(rules.flatten(-2).log_softmax(-1).unflatten(-1, rules.shape[-2:]), lead, 3)
    tags = at_words(merged_rows(terminals.log_softmax(-1), lead, 2), words)
    return pcfg(with_first_axis(root, 2), with_first_axis(rules, 4), tags, real.sum(-1))


def at_words(table: Tensor, words: Tensor) -> Tensor:
    """Scores (rows, T, P) of words (rows, T) by a table (rows, P, V), or one for all rows."""
    if table.dim() == 2:
        return torch.nn.functional.embedding(words, table.mT)
    return table.gather(-1, words.unsqueeze(1).expand(-1, table.shape[1], -1)).mT


def pcfg_log_prob(symbols: Tensor, mask: Tensor, root: Tensor, rules: Tensor, terminals: Tensor) -> Tensor:
    """log p(x), all derivations summed: (...). A sentence of one word has none: -inf."""
    lead = leading(symbols, (root, 1), (rules, 3), (terminals, 2))
    if 0 in lead:
        return root.new_zeros(lead)
    return pcfg_parts(symbols, mask, root, rules, terminals).log_partition.reshape(lead)


def pcfg_draw(mask: Tensor, root: Tensor, rules: Tensor, terminals: Tensor) -> Tensor:
    """x ~ p(x | how many words): a derivation of preterminals, then words (..., T) int64; 0 where masked.

    Words sum to one under each preterminal, so derivations of that length are drawn with scores of 0 for words. BadBatch where there is
    none, as of one word.
    """
    lead = leading(mask, (root, 1), (rules, 3), (terminals, 2))
    found = pcfg_parts(torch.zeros_like(mask, dtype=torch.int64), mask, root, rules, terminals)
    return words_drawn(found, mask, terminals, lead)


def words_drawn(derivations: Structured, mask: Tensor, terminals: Tensor, lead: torch.Size) -> Tensor:
    """Words of derivations drawn with scores of 0 for words."""
    free = {**derivations.potentials, "terminals": torch.zeros_like(derivations.potentials["terminals"])}
    derivations = replace(derivations, potentials=free)
    possible_lengths(derivations.log_partition, merged_rows(mask, lead, 1).sum(-1), "the grammar")
    tags = derivations.sample(1)["terminals"][0].argmax(-1)  # (rows, T)
    words = merged_rows(terminals.log_softmax(-1), lead, 2)
    if words.dim() == 3:
        words = words.gather(1, tags.unsqueeze(-1).expand(-1, -1, words.shape[-1]))
    else:
        words = words[tags]
    return torch.where(mask, Categorical(words).sample().reshape(*lead, mask.shape[-1]), 0)


def low_rank_pcfg_parts(
    symbols: Tensor, mask: Tensor, root: Tensor, head: Tensor, left: Tensor, right: Tensor, terminals: Tensor
) -> Structured:
    """The derivations under a grammar whose rules are sums over ranks, p(a -> l r) = sum_q p(q | a) p(l | q) p(r | q)
    (runtime/trees/low_rank.py), with a rank for each rule; one row for each of the leading axes.

    symbols, mask: (..., T). root: (..., N). head: (..., N, R). left, right: (..., R, N + P). terminals: (..., P, V).
    """
    tables = ((root, 1), (head, 2), (left, 2), (right, 2), (terminals, 2))
    lead = leading(symbols, *tables)
    words, real = merged_rows(symbols, lead, 1), merged_rows(mask, lead, 1)
    words = torch.where(real, words, 0)
    *rules, table = (merged_rows(x.log_softmax(-1), lead, own) for x, own in tables)
    rules = [with_first_axis(x, own + 1) for x, (_, own) in zip(rules, tables, strict=False)]
    at_root, at_head, at_left, at_right = rules
    return low_rank_pcfg(at_root, at_head, at_left, at_right, at_words(table, words), real.sum(-1))


def low_rank_pcfg_log_prob(
    symbols: Tensor, mask: Tensor, root: Tensor, head: Tensor, left: Tensor, right: Tensor, terminals: Tensor
) -> Tensor:
    """log p(x), all derivations summed: (...). A sentence of one word has none: -inf."""
    lead = leading(symbols, (root, 1), (head, 2), (left, 2), (right, 2), (terminals, 2))
    if 0 in lead:
        return root.new_zeros(lead)
    return low_rank_pcfg_parts(symbols, mask, root, head, left, right, terminals).log_partition.reshape(lead)


def low_rank_pcfg_draw(
    mask: Tensor, root: Tensor, head: Tensor, left: Tensor, right: Tensor, terminals: Tensor
) -> Tensor:
    """x ~ p(x | how many words), (..., T) int64, as pcfg_draw."""
    lead = leading(mask, (root, 1), (head, 2), (left, 2), (right, 2), (terminals, 2))
    nothing = torch.zeros_like(mask, dtype=torch.int64)
    found = low_rank_pcfg_parts(nothing, mask, root, head, left, right, terminals)
    return words_drawn(found, mask, terminals, lead)


def dmv_parts(symbols: Tensor, mask: Tensor, root: Tensor, stop: Tensor, attach: Tensor) -> Structured:
    """The dependency trees of sentences of tags (runtime/trees/valence.py), one row for each of the leading axes.

    symbols, mask: (..., T). root: (..., C). stop: (..., C, 2, 2, 2), [head, side, valence, decision (go on, stop)].
    attach: (..., C, 2, C), [head, side, modifier].
    """
    lead = leading(symbols, (root, 1), (stop, 4), (attach, 3))
    tags, real = merged_rows(symbols, lead, 1), merged_rows(mask, lead, 1)
    tags = torch.where(real, tags, 0)
    tables = [merged_rows(table.log_softmax(-1), lead, own) for table, own in ((root, 1), (stop, 4), (attach, 3))]
    per_row = torch.arange(len(tags), device=tags.device)

    def at(table: Tensor, own: int, *index: Tensor) -> Tensor:
        rows = () if table.dim() == own else (per_row.reshape(-1, *[1] * (index[0].dim() - 1)),)
        return table[(*rows, *index)]

    side = order(tags.shape[1], tags.device).long().unsqueeze(0)
    pairs = at(tables[2], 3, tags.unsqueeze(2), side, tags.unsqueeze(1))  # (rows, T, T)
    return dmv(at(tables[0], 1, tags), at(tables[1], 4, tags), pairs.unsqueeze(-1), real.sum(-1))


def dmv_log_prob(symbols: Tensor, mask: Tensor, root: Tensor, stop: Tensor, attach: Tensor) -> Tensor:
    """log p(tags), all projective trees with one root summed: (...)."""
    lead = leading(symbols, (root, 1), (stop, 4), (attach, 3))
    if 0 in lead:
        return root.new_zeros(lead)
    return dmv_parts(symbols, mask, root, stop, attach).log_partition.reshape(lead)
