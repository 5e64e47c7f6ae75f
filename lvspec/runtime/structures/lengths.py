"""Lengths that are asked for and that no structure has."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.batch import BadBatch


def possible_lengths(log_p: Tensor, lengths: Tensor, who: str) -> None:
    """BadBatch where nothing of such a length can be drawn: log_p (rows,) = log Σ p of all structures of lengths (rows,) is -inf.
    who: what cannot yield so many symbols."""
    possible = log_p > -torch.inf
    if not bool(possible.all()):
        row = int(possible.long().argmin())
        raise BadBatch(f"{who} cannot yield {int(lengths[row])} symbol{'s' * (int(lengths[row]) != 1)}")
