"""Many jointly Gaussian vectors of one place, integrated out one by one: log p(x) of a path or a tree in time that follows its length.

    z1 ~ N(z0, 1)    z2 ~ N(z1, 1)    x2 ~ N(z2, 1)        ∫ over z2 leaves squares in z1, ∫ over z1 one in z0

The step is that of gaussian_elimination.py, over the vectors that a factor joins with the one that goes: those that it
reads, and those that they were left with by vectors that read it. Questions about z are those of the block as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import plain_arithmetic
from lvspec.runtime.families.multivariate_normal import cholesky
from lvspec.runtime.gaussian.elimination import Squares, seen_squares
from lvspec.runtime.gaussian.joint_gaussian import GaussianBlock, GaussianLevel, LinearGaussian, width
from lvspec.runtime.gaussian.linear_gaussian import apply_matrix

Slots = list[tuple[str, int]]  # vectors below each other: (name, size)


@dataclass(frozen=True)
class OrderedGaussianBlock(GaussianBlock):
    """A block of one level, whose vectors go in this order: each after all that read it."""

    order: tuple[str, ...] = ()

    def log_prob(self) -> Tensor:
        """log p(x), the latents integrated out: (*lead,)."""
        (level,) = self.levels
        with plain_arithmetic(self.like):
            return integrated(level, self.order).to(self.like.dtype)


def integrated(level: GaussianLevel, order: tuple[str, ...]) -> Tensor:
    """log ∫ of the level's factors over its vectors, (*lead,)."""
    sizes = dict(level.new)
    means = prior_means(level)
    factors = [_seen(level, part, means, sizes) for part in level.observed]
    total = level.mask.new_zeros(level.mask.shape, dtype=torch.float64)
    said: dict[str, list[int]] = {name: [] for name in sizes}  # factors by what they speak of
    for i, (names, _) in enumerate(factors):
        for name in names:
            said[name].append(i)
    for name in order:
        met = [i for i in said[name] if factors[i] is not None]
        if not met:
            continue  # nothing is said of it: its own density integrates to one
        latent = level.latents[name]
        spoken = dict.fromkeys(n for i in met for n in factors[i][0])
        rest = [n for n in dict.fromkeys((*spoken, *latent.matrices)) if n != name]
        q = _together([factors[i] for i in met], [name, *rest], sizes)
        matrix = latent.over([(n, sizes[n]) for n in rest])
        left, _ = q.eliminate(matrix, cholesky(latent.covariance.double()))
        for i in met:
            factors[i] = None
        if rest:
            for n in rest:
                said[n].append(len(factors))
            factors.append((rest, left.fewer()))
        else:
            total = total + left.total
    return total


def prior_means(level: GaussianLevel) -> dict[str, Tensor]:
    """E z before anything is seen, of each vector: (..., D)."""
    found: dict[str, Tensor] = {}
    for name, latent in level.latents.items():
        D = latent.covariance.shape[-1]
        mean = latent.offset.double().expand(*latent.offset.shape[:-1], D)
        for above, matrix in latent.matrices.items():
            mean = mean + apply_matrix(matrix.double(), found[above])
        found[name] = mean
    return found


def _seen(level: GaussianLevel, part: LinearGaussian, means: dict[str, Tensor], sizes: dict[str, int]):
    """What is observed, as squares in the vectors that it reads, about their means."""
    inner, gap = part.mask.dim() - level.mask.dim(), part.value.double() - part.offset.double()
    for name, matrix in part.matrices.items():
        mean = means[name]
        for _ in range(inner):
            mean = mean.unsqueeze(-2)
        gap = gap - apply_matrix(matrix.double(), mean)
    matrix = part.over([(name, sizes[name]) for name in part.matrices])
    return list(part.matrices), seen_squares(gap, matrix, part.covariance.double(), part.mask).summed(inner)


def _together(factors: list[tuple[list[str], Squares]], names: list[str], sizes: dict[str, int]) -> Squares:
    """The sum of squares in some of the vectors, as one in all of them."""
    total: Any = None
    for spoken, q in factors:
        q = q if spoken == names else _spread(q, spoken, names, sizes)
        total = q if total is None else total + q
    return total


def _spread(q: Squares, spoken: list[str], names: list[str], sizes: dict[str, int]) -> Squares:
    """What speaks of `spoken` as something that speaks of `names`: of the others nothing."""
    slots = [(n, sizes[n]) for n in spoken]
    begins = {n: width(slots[:i]) for i, n in enumerate(spoken)}
    return q.spread([begins[n] + k if n in begins else None for n in names for k in range(sizes[n])])
