"""q(z | x) of a batch as an object: what diagnostics ask of a guide."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.structures.crf_guides import CRFGuide


class Encoded:
    """distribution: its arguments (B, sites, event) each. Draws are (n, B, sites, event)."""

    def __init__(self, distribution: Distribution):
        self.distribution = distribution

    @property
    def arguments(self) -> dict[str, Tensor]:
        """By name."""
        return vars(self.distribution)

    def sample(self, n: int) -> Tensor:
        """n draws, without gradient."""
        return self.distribution.sample((n,))

    @property
    def mean(self) -> Tensor | None:
        """E z, (B, sites, event), of families of numbers that have one in closed form, else None."""
        return self.distribution.mean

    def log_prob_of_each(self, value: Tensor) -> Tensor:
        """log q(value_i | x_j), (I, J), of values (I, sites, event) under every example's q."""
        wide = type(self.distribution)(*(a[None] for a in self.arguments.values()))
        found = wide.log_prob(value[:, None])
        return found.flatten(2).sum(2) if found.dim() > 2 else found


class EncodedLabels:
    """q: a CRF guide, of whole labellings; labels that the batch gives are given to it. there: of which outer sites there are
    labels, (B, *outer); None: of all."""

    def __init__(self, q: CRFGuide, there: Tensor | None = None):
        self.q, self.there = q, there

    @property
    def marginals(self) -> Tensor:
        """q(z_i = k), (B, *sites, K)."""
        return self.q.sites

    @property
    def mode(self) -> Tensor:
        """The labels of the most probable structure, (B, *sites): a labelling, a tree, segments."""
        return self.q.mode

    @property
    def entropy(self) -> Tensor:
        """Of structures, (B,)."""
        entropy = self.q.entropy if self.there is None else torch.where(self.there, self.q.entropy, 0.0)
        return entropy.unsqueeze(-1).flatten(1).sum(1)

    def sample(self, n: int) -> Tensor:
        """n labellings, (n, B, *sites) int64, without gradient."""
        return self.q.sample(n)
