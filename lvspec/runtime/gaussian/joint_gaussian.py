"""Jointly Gaussian latents on a tree of levels, integrated out exactly.

    mu ~ N(0, 25)     effect[j] ~ N(mu, 4)     y[j] ~ N(effect[j], s[j]^2)

A level is what stands on the same plates. Innermost levels go first: each is integrated out given the levels around it,
site by site or, along a chain, from the last site to the first, and the sum of squares that is left is added up over
its sites (elimination in the square root of the information form; Lauritzen & Jensen 2001). The conditionals that fall off on the way
are p(z | x) again, from the outermost level inwards (gaussian_block_posterior.py). All of it is done about the prior's means, in
float64: what is seen adds up over many orders of magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import plain_arithmetic
from lvspec.runtime.families.multivariate_normal import cholesky
from lvspec.runtime.gaussian.elimination import Conditional, Squares, seen_squares
from lvspec.runtime.gaussian.linear_gaussian import apply_matrix, at_site


@dataclass(frozen=True)
class LinearGaussian:
    """v = sum of matrices[u] u + offset + noise, noise ~ N(0, covariance), for one variable v.

    matrices: (..., N, D) by what is read, "z" or, k sites back, "z@k". offset (..., N), covariance (..., N, N).
    value (..., N), mask (...): of what is observed, and where. Axes in front of the event broadcast from the right.
    """

    matrices: dict[str, Tensor]
    offset: Tensor
    covariance: Tensor
    value: Any = None
    mask: Any = None

    def over(self, slots: list[tuple[str, int]]) -> Tensor:
        """The matrix (..., N, n) over the entries of a stacked vector, given as (what, size)."""
        N = self.covariance.shape[-1]
        none = self.covariance.new_zeros(N, 0)
        parts = [self.matrices.get(name, none.new_zeros(N, size)) for name, size in slots] or [none]
        shape = torch.broadcast_shapes(*(p.shape[:-2] for p in parts))
        return torch.cat([p.double().expand(*shape, N, p.shape[-1]) for p in parts], -1)


@dataclass(frozen=True)
class GaussianLevel:
    """latents: by name, each after those of its own site that it reads. observed: what reads them, and no level below.
    mask (*lead, plates): the real sites. above: the number of the level around it. depth: how many sites of each latent
    the state of a chain along the last axis holds; empty where the sites are independent. inner: how many axes of sites
    the level has beyond the level above. scalars: latents that are numbers."""

    latents: dict[str, LinearGaussian]
    observed: tuple[LinearGaussian, ...]
    mask: Tensor
    above: int | None = None
    inner: int = 0
    depth: dict[str, int] | None = None
    scalars: frozenset[str] = frozenset()

    @property
    def chain(self) -> bool:
        return self.depth is not None

    @property
    def new(self) -> list[tuple[str, int]]:
        """What one site adds to the state: (what, size)."""
        return [(name, latent.covariance.shape[-1]) for name, latent in self.latents.items()]

    @property
    def slots(self) -> list[tuple[str, int]]:
        """The state at a site: its own latents, then what it keeps of earlier sites."""
        depth = self.depth or {}
        kept = [(f"{name}@{k}", size) for name, size in self.new for k in range(1, depth.get(name, 1))]
        return [*self.new, *kept]

    @property
    def before(self) -> list[tuple[str, int]]:
        """The state one site earlier, as this site's variables name it."""
        return [(further_back(name), size) for name, size in self.slots] if self.chain else []


def further_back(name: str) -> str:
    """What is k sites back, seen from one site on: k + 1 back."""
    base, _, k = name.partition("@")
    return f"{base}@{int(k or 0) + 1}"


def width(slots: list[tuple[str, int]]) -> int:
    return sum(size for _, size in slots)


@dataclass(frozen=True)
class Prior:
    """z = matrix u + root e about the prior's means, u the state before (of a chain) and the levels above: matrix
    (..., n, m), root (..., n, d). log_det (...): of the covariance of what a site adds. mean (..., n), of the state
    with the levels above behind it: (..., n + m')."""

    matrix: Tensor
    root: Tensor
    log_det: Tensor
    mean: Tensor


@dataclass(frozen=True)
class GaussianBlock:
    """levels: outermost first; the first is the only one with none above. like: of the dtype of answers. choices: how many
    axes behind that of the examples are values of discrete latents, each of which has coefficients of its own."""

    levels: tuple[GaussianLevel, ...]
    like: Tensor
    choices: int = 0

    def around(self, i: int | None) -> list[tuple[str, int]]:
        """Everything that stands at a site of level i: its state, and those of the levels above."""
        return [] if i is None else [*self.levels[i].slots, *self.around(self.levels[i].above)]

    # ------------------------------------------------------------ the prior
    def priors(self) -> list[Prior]:
        """The levels' priors, outermost first."""
        found: list[Prior] = []
        for level in self.levels:
            mean = None if level.above is None else found[level.above].mean
            found.append(self._prior(level, mean))
        return found

    def _prior(self, level: GaussianLevel, above: Tensor | None) -> Prior:
        outer = [*level.before, *self.around(level.above)]
        own, D = width(level.new), width(level.slots)
        parts = list(level.latents.values())
        inside = _stacked([p.over(level.new) for p in parts], 2)  # strictly lower: each after what it reads
        ahead = _stacked([p.over(outer) for p in parts], 2)
        offset = _stacked([p.offset.double().expand(*p.offset.shape[:-1], p.covariance.shape[-1]) for p in parts], 1)
        noise = _block_diagonal([cholesky(p.covariance.double()) for p in parts])
        eye = torch.eye(own, dtype=noise.dtype, device=noise.device)
        matrix, offset, root = (
            torch.linalg.solve_triangular(eye - inside, x, upper=False, unitriangular=True)
            for x in (ahead, offset.unsqueeze(-1), noise)
        )
        matrix = _stacked([matrix, _kept(level, outer, noise)], 2)
        offset = torch.cat([offset.squeeze(-1), offset.new_zeros(*offset.shape[:-2], D - own)], -1)
        root = torch.cat([root, root.new_zeros(*root.shape[:-2], D - own, own)], -2)
        log_det = 2 * noise.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return Prior(matrix, root, log_det, self._mean(level, matrix, offset, above))

    def _mean(self, level: GaussianLevel, matrix: Tensor, offset: Tensor, above: Tensor | None) -> Tensor:
        """The prior's mean of the state at each site, with that of the levels above behind it."""
        for _ in range(level.inner):
            above = None if above is None else above.unsqueeze(-2)
        outer = offset.new_zeros(0) if above is None else above
        if not level.chain:
            return _behind(apply_matrix(matrix, outer) + offset, outer)
        D, found = offset.shape[-1], []
        state = offset.new_zeros(D)
        for t in range(level.mask.shape[-1]):
            here = at_site(outer, t, 1) if above is not None else outer
            ahead = apply_matrix(at_site(matrix, t, 2), _behind(state, here)) + at_site(offset, t, 1)
            state = torch.where(level.mask[..., t, None], ahead, 0.0)  # padding is no site
            found.append(state)
        shape = torch.broadcast_shapes(*(s.shape for s in found), (D,))
        states = torch.stack([s.expand(shape) for s in found], -2) if found else offset.new_zeros(*shape[:-1], 0, D)
        return _behind(states, outer)

    # ------------------------------------------------------------ elimination
    def eliminated(self) -> tuple[Tensor, list[list[Conditional]], list[Prior]]:
        """log p(x), and for each level p(z | the levels above, x): one for all sites, or one for each site of a chain."""
        with plain_arithmetic(self.like):
            priors = self.priors()
            messages: list[Squares | None] = [None] * len(self.levels)
            found: list[list[Conditional]] = [[] for _ in self.levels]
            left: Any = None
            for i in reversed(range(len(self.levels))):
                level = self.levels[i]
                left, found[i] = self._level(level, priors[i], self._said(i, priors[i], messages[i]))
                if level.above is not None:
                    left, above = left.summed(level.inner - level.chain), messages[level.above]
                    messages[level.above] = left if above is None else above + left
            return left.total, found, priors

    def _said(self, i: int, prior: Prior, below: Squares | None) -> Squares:
        """What observations at level i, and the levels below, say of the state and of the levels above."""
        level, slots = self.levels[i], self.around(i)
        said = Squares.nothing(prior.mean.new_zeros(*level.mask.shape), width(slots))
        said = said if below is None else said + below
        for part in level.observed:
            inner = part.mask.dim() - level.mask.dim()
            mean = prior.mean
            for _ in range(inner):
                mean = mean.unsqueeze(-2)
            matrix = part.over(slots)
            gap = part.value.double() - apply_matrix(matrix, mean) - part.offset.double()
            said = said + seen_squares(gap, matrix, part.covariance.double(), part.mask).summed(inner)
        return said

    @staticmethod
    def _level(level: GaussianLevel, prior: Prior, said: Squares) -> tuple[Squares, list[Conditional]]:
        if not level.chain:
            left, conditional = said.eliminate(prior.matrix, prior.root)
            return left, [conditional]
        D, message = width(level.slots), None
        found: list[Conditional] = []
        for t in reversed(range(level.mask.shape[-1])):
            here = said.at(t) if message is None else said.at(t) + message
            matrix, root = at_site(prior.matrix, t, 2), at_site(prior.root, t, 2)
            matrix = torch.where(level.mask[..., t, None, None], matrix, 0.0)
            message, conditional = here.widened(D, D).eliminate(matrix, root)
            message = message.fewer()
            found.insert(0, conditional)
        message = said.summed(1) if message is None else message  # no site says nothing
        return message.without(D), found

    def log_prob(self) -> Tensor:
        """log p(x), the latents integrated out: (*lead,)."""
        return self.eliminated()[0].to(self.like.dtype)

    @cached_property
    def solved(self) -> tuple[Tensor, list[list[Conditional]], list[Prior]]:
        """What questions of the posterior share."""
        return self.eliminated()


def _kept(level: GaussianLevel, outer: list[tuple[str, int]], like: Tensor) -> Tensor:
    """What the state keeps of the state before, as a matrix of 0 and 1."""
    rows = [s for s in level.slots if "@" in s[0]]
    columns: dict[str, int] = {}
    at = 0
    for name, size in outer:
        columns.setdefault(name, at)
        at += size
    matrix = like.new_zeros(width(rows), at)
    row = 0
    for name, size in rows:
        matrix[row : row + size, columns[name] : columns[name] + size] = torch.eye(
            size, dtype=like.dtype, device=like.device
        )
        row += size
    return matrix


def _behind(state: Tensor, outer: Tensor) -> Tensor:
    """(state, outer) as one vector."""
    shape = torch.broadcast_shapes(state.shape[:-1], outer.shape[:-1])
    return torch.cat([state.expand(*shape, -1), outer.expand(*shape, -1)], -1)


def _stacked(parts: list[Tensor], event: int) -> Tensor:
    """Rows below each other."""
    shape = torch.broadcast_shapes(*(p.shape[:-event] for p in parts))
    return torch.cat([p.expand(*shape, *p.shape[-event:]) for p in parts], -event)


def _block_diagonal(parts: list[Tensor]) -> Tensor:
    """Square matrices along the diagonal of one."""
    n = sum(p.shape[-1] for p in parts)
    rows, at = [], 0
    for p in parts:
        size = p.shape[-1]
        rows.append(torch.nn.functional.pad(p, (at, n - at - size)))
        at += size
    return _stacked(rows, 2)
