"""One Gaussian vector integrated out of a quadratic form: the step that every exact integral over a block is made of.

    z = F u + L e,  e ~ N(0, I)        log ∫ N(e; 0, I) exp q(z, u) de = q'(u),   p(z | u) = N(G u + c, W W')

q is -w' Lambda w / 2 + eta' w + constant, of w = (z, u). With M = I + L' Lambda_zz L the likeliest e given u is Y u + y, and
q'(u) is q there, less what that e costs, less log |M| / 2. Written so, Lambda stays a sum of squares however much is
seen, and nothing is divided by a variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.runtime.distributions import LOG_TWO_PI
from lvspec.runtime.kalman import apply_matrix, sandwich
from lvspec.runtime.multivariate_normal import cholesky


@dataclass(frozen=True)
class Quadratic:
    """-w' precision w / 2 + eta' w + constant: precision (..., n, n), eta (..., n), constant (...)."""

    precision: Tensor
    eta: Tensor
    constant: Tensor

    def __add__(self, other: Quadratic) -> Quadratic:
        return Quadratic(self.precision + other.precision, self.eta + other.eta, self.constant + other.constant)

    def summed(self, axes: int) -> Quadratic:
        """Added up over the last `axes` axes of sites."""
        if not axes:
            return self
        over = [tuple(range(-axes - event, -event or 0)) for event in (2, 1, 0)]
        parts = (self.precision, self.eta, self.constant)
        return Quadratic(*(x.sum(dims) for x, dims in zip(parts, over, strict=True)))

    def at(self, site: int) -> Quadratic:
        """One site of the last axis of sites."""
        return Quadratic(self.precision[..., site, :, :], self.eta[..., site, :], self.constant[..., site])

    def widened(self, at: int, size: int) -> Quadratic:
        """The same of a vector with `size` more entries before entry `at`, on which nothing depends."""
        precision = inserted(inserted(self.precision, at, size, -2), at, size, -1)
        return Quadratic(precision, inserted(self.eta, at, size, -1), self.constant)

    def without(self, size: int) -> Quadratic:
        """The same of a vector without its first `size` entries, on which nothing depends."""
        return Quadratic(self.precision[..., size:, size:], self.eta[..., size:], self.constant)


def inserted(x: Tensor, at: int, size: int, dim: int) -> Tensor:
    """x with `size` zeros before entry `at` of axis `dim`."""
    shape = list(x.shape)
    shape[dim] = size
    return torch.cat([x.narrow(dim, 0, at), x.new_zeros(shape), x.narrow(dim, at, x.shape[dim] - at)], dim)


def seen_quadratic(gap: Tensor, matrix: Tensor, covariance: Tensor, mask: Tensor) -> Quadratic:
    """log N(gap; matrix w, covariance) as a function of w, where mask is true; gap (..., N), matrix (..., N, n)."""
    factor = cholesky(covariance)
    gap = torch.where(mask.unsqueeze(-1), gap, 0.0).unsqueeze(-1)
    matrix = torch.where(mask[..., None, None], matrix, 0.0)
    white = torch.linalg.solve_triangular(factor, gap, upper=False)
    rows = torch.linalg.solve_triangular(factor, matrix, upper=False)
    log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + 0.5 * gap.shape[-2] * LOG_TWO_PI
    constant = torch.where(mask, -0.5 * (white**2).sum((-2, -1)) - log_det, 0.0)
    return Quadratic(rows.mT @ rows, (rows.mT @ white).squeeze(-1), constant)


@dataclass(frozen=True)
class Conditional:
    """p(z | u) = N(matrix u + offset, root root'); matrix (..., n, m). log_det (...): of M, by which e is narrower than
    its prior."""

    matrix: Tensor
    offset: Tensor
    root: Tensor
    log_det: Tensor


def eliminate(q: Quadratic, matrix: Tensor, root: Tensor) -> tuple[Quadratic, Conditional]:
    """∫ over z = matrix u + root e, e ~ N(0, I), of exp q(z, u): the quadratic in u that is left, and p(z | u)."""
    n, m = root.shape[-2], matrix.shape[-1]
    precision, eta = q.precision[..., :n, :n], q.eta[..., :n]
    eye = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
    pulled = root.mT @ precision
    factor = cholesky(eye + pulled @ root)
    slope = -torch.cholesky_solve(pulled @ matrix + root.mT @ q.precision[..., :n, n:], factor)  # Y
    best = torch.cholesky_solve(root.mT @ eta.unsqueeze(-1), factor).squeeze(-1)  # y
    along = matrix + root @ slope
    centre = apply_matrix(root, best)
    whole = torch.cat([along, torch.eye(m, dtype=root.dtype, device=root.device).expand(*along.shape[:-2], m, m)], -2)
    left = q.eta - apply_matrix(q.precision[..., :n], centre)
    log_det = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = q.constant + (eta * centre).sum(-1) - 0.5 * (centre * apply_matrix(precision, centre)).sum(-1)
    constant = constant - 0.5 * (best**2).sum(-1) - 0.5 * log_det
    rest = Quadratic(
        sandwich(whole.mT, q.precision) + slope.mT @ slope,
        apply_matrix(whole.mT, left) - apply_matrix(slope.mT, best),
        constant,
    )
    narrowed = torch.linalg.solve_triangular(
        factor, root.mT.expand(*factor.shape[:-2], *root.mT.shape[-2:]), upper=False
    )
    return rest, Conditional(along, centre, narrowed.mT, log_det)
