"""The entropy of a CRF guide, as the mean of log q over every labelling."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.ir.structured import structure_of
from lvspec.verify.oracle.structured import expected_log_probability
from lvspec.verify.oracle.world import World


def has_entropy(world: World, name: str) -> bool:
    """Whether the entropy of a latent's q is taken as a whole: q is a CRF whose labellings say which structure it is."""
    factor = world.factors.get(name)
    structure = structure_of(factor) if factor is not None else None
    return structure is not None and structure.one_to_one


def expected_log_q(world: World, name: str, at: tuple[int, ...]) -> Tensor:
    """E_q[log q] of such a latent, where log_q counts log q: at the first site that the batch does not give."""
    factor = world.factors[name]
    sites = world.run(factor, at)
    known = world.known_values(name, sites)
    if at != next(s for s, k in zip(sites, known, strict=True) if k is None):
        return torch.zeros((), dtype=torch.float64)
    family = factor.general.dist.family
    return world.memory.recall(
        ("H", name, at, tuple(known)), lambda: expected_log_probability(family, world.arguments(factor, at), known)
    )
