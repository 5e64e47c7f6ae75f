"""Symbols at the leaves of hidden trees: log p(x) = log sum_tree p(x, tree), and the trees of a given x.

Arguments are logits; each is normalised over what it decides. A row without symbols counts nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.labels import merged
from lvspec.runtime.pcfg import pcfg
from lvspec.runtime.structured import Structured


def leading(symbols: Tensor, *arguments: tuple[Tensor, int]) -> torch.Size:
    """What rows differ over: the leading axes of symbols (..., T) and of (argument, its own axes), broadcast."""
    return torch.broadcast_shapes(symbols.shape[:-1], *(a.shape[: a.dim() - own] for a, own in arguments))


def pcfg_parts(symbols: Tensor, mask: Tensor, root: Tensor, rules: Tensor, terminals: Tensor) -> Structured:
    """The derivations of sentences under a grammar (runtime/pcfg.py), one row for each of the leading axes.

    symbols, mask: (..., T). root: (..., N). rules: (..., N, N + P, N + P), [parent, left, right]. terminals: (..., P, V).
    """
    lead = leading(symbols, (root, 1), (rules, 3), (terminals, 2))
    words, real = merged(symbols, lead, 1), merged(mask, lead, 1)
    words = torch.where(real, words, 0)
    root = merged(root.log_softmax(-1), lead, 1)
    rules = merged(rules.flatten(-2).log_softmax(-1).unflatten(-1, rules.shape[-2:]), lead, 3)
    table = merged(terminals.log_softmax(-1), lead, 2)
    if table.dim() == 2:
        at_words = torch.nn.functional.embedding(words, table.mT)  # (rows, T, P)
    else:
        at_words = table.gather(-1, words.unsqueeze(1).expand(-1, table.shape[1], -1)).mT
    root = root.unsqueeze(0) if root.dim() == 1 else root
    rules = rules.unsqueeze(0) if rules.dim() == 3 else rules
    return pcfg(root, rules, at_words, real.sum(-1))


def pcfg_log_prob(symbols: Tensor, mask: Tensor, root: Tensor, rules: Tensor, terminals: Tensor) -> Tensor:
    """log p(x), all derivations summed: (...). A sentence of one word has none: -inf."""
    found = pcfg_parts(symbols, mask, root, rules, terminals).log_partition
    return found.reshape(leading(symbols, (root, 1), (rules, 3), (terminals, 2)))
