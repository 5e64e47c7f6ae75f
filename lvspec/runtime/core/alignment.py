"""Latents whose values are the sites of a ragged plate: a position of the source for each word of the target."""

from __future__ import annotations

import torch
from torch import Tensor


def inside_plate(logits: Tensor, mask: Tensor) -> Tensor:
    """logits (..., M) with -inf where the mask is false: what lies beyond an example's own sites has no mass."""
    return torch.where(mask, logits, -torch.inf)
