"""Hidden structures as arrays: the best one (`mode`), and the probability of every part (`marginals`).

         mode        marginals
spans    (B, T, T)   (B, T, T)       whether the words i .. j, inclusive, are a constituent; words alone are not told
heads    (B, T)      (B, T, T + 1)   the head of a word: 0 is the root, 1 the first word
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.structured import Parts, Structured
from lvspec.runtime.model.structure_beside_draws import StructureBesideDraws
from lvspec.runtime.trees.pcfg import Grammar, bracketings


def spans(posterior: Structured | StructureBesideDraws, marginals: bool) -> dict[str, Tensor]:
    """Of the best derivation, and of all."""
    trees = posterior.seen_as(by_spans) if isinstance(posterior, StructureBesideDraws) else by_spans(posterior)
    return {"mode": trees.mode["spans"].bool(), **({"marginals": trees.marginals["spans"]} if marginals else {})}


def by_spans(derivations: Structured) -> Structured:
    assert isinstance(derivations, Grammar)
    return bracketings(derivations)


def heads(posterior: Structured | StructureBesideDraws, marginals: bool) -> dict[str, Tensor]:
    """Each word's head in the best tree, and the probability of every head."""
    mode = by_word(posterior.mode).argmax(-1)
    return {"mode": mode, **({"marginals": by_word(posterior.marginals)} if marginals else {})}


def by_word(parts: Parts) -> Tensor:
    """Heads of words (B, T, T + 1), from root (B, T) and attach (B, head, modifier, valence)."""
    return torch.cat([parts["root"].unsqueeze(1), parts["attach"].sum(-1)], 1).mT


# what a structure's trees are read as -> the two answers
ANSWERS = {"spans": spans, "heads": heads}
