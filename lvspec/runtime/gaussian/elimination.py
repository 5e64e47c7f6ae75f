"""One Gaussian vector integrated out of a sum of squares: the step that every exact integral over a block is made of.

    z = F u + L e,  e ~ N(0, I)        log ∫ N(e; 0, I) exp q(z, u) de = q'(u),   p(z | u) = N(G u + c, W W')

q(w) = constant - |A w - b|^2 / 2, of w = (z, u). With (A_z L; I) = Q R the likeliest e given u is Y u + y, where
R (Y | y) = Q' (-A_z F - A_u | b; 0), and q'(u) is q there, less what that e costs, less log |R|. Nothing is divided by a
variance, and A' A is never formed: what is seen through little noise has rows of size spread / noise, and rounding costs
as much, where in the normal equations it costs the square of that. Those rows stand first, so that what is small is
taken off what is large and not the other way round (Bierman 1977, "Factorization methods for discrete sequential
estimation"; Björck 1996, "Numerical methods for least squares problems", 2.4 and 4.4).

Of many rows as many are kept as there are columns: X = (A | b) becomes Q' X, with an orthogonal Q that is a constant. To first
order that is all of it; the second derivative is in (X - Q Q' X)' (X - Q Q' X), which is 0, and is carried along.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from lvspec.runtime.families.multivariate_normal import cholesky
from lvspec.runtime.families.special import LOG_TWO_PI
from lvspec.runtime.gaussian.linear_gaussian import sandwich
from lvspec.runtime.gaussian.orthogonal import orthogonal

MANY = 2  # rows for each column, beyond which making them fewer takes less time than taking them along


@dataclass(frozen=True)
class Conditional:
    """p(z | u) = N(matrix u + offset, root root'); matrix (..., n, m). log_det (...): of R' R, by which e is narrower than
    its prior."""

    matrix: Tensor
    offset: Tensor
    root: Tensor
    log_det: Tensor


@dataclass(frozen=True)
class Squares:
    """constant - |X (w, -1)|^2 / 2 - (w, -1)' bend (w, -1) / 2: X = (A | b) (..., r, n + 1), constant (...), bend
    (..., n + 1, n + 1), a 0 that has a second derivative, or None."""

    X: Tensor
    constant: Tensor
    bend: Tensor | None = None

    @staticmethod
    def nothing(zero: Tensor, n: int) -> Squares:
        """0, of n entries, at the places of zero."""
        return Squares(zero.new_zeros(*zero.shape, 0, n + 1), zero)

    @property
    def total(self) -> Tensor:
        """The number that it is once all entries are integrated out: (...)."""
        bend = 0.0 if self.bend is None else self.bend[..., 0, 0]
        return self.constant - 0.5 * (self.X.square().sum((-2, -1)) + bend)

    def __add__(self, other: Squares) -> Squares:
        shape = torch.broadcast_shapes(self.X.shape[:-2], other.X.shape[:-2])
        X = torch.cat([x.expand(*shape, *x.shape[-2:]) for x in (self.X, other.X)], -2)
        bends = [b for b in (self.bend, other.bend) if b is not None]
        return Squares(X, self.constant + other.constant, sum(bends[1:], bends[0]) if bends else None)

    def summed(self, axes: int) -> Squares:
        """Added up over the last `axes` axes of sites."""
        if not axes:
            return self
        bend = None if self.bend is None else self.bend.sum(tuple(range(-axes - 2, -2)))
        constant = self.constant.sum(tuple(range(-axes, 0)))
        return Squares(self.X.flatten(-axes - 2, -2), constant, bend)

    def fewer(self) -> Squares:
        """The same in as many rows as there are columns, where it has several times as many."""
        if self.X.shape[-2] <= MANY * self.X.shape[-1]:
            return self
        Q = orthogonal(self.X.detach())[0]
        X, bend = Q.mT @ self.X, self.bend
        if torch.is_grad_enabled() and self.X.requires_grad:
            rest = self.X - Q @ X
            bend = rest.mT @ rest if bend is None else bend + rest.mT @ rest
        return Squares(X, self.constant, bend)

    def at(self, site: int) -> Squares:
        """One site of the last axis of sites."""
        bend = None if self.bend is None else self.bend[..., site, :, :]
        return Squares(self.X[..., site, :, :], self.constant[..., site], bend)

    def _columns(self, of) -> Squares:
        """With of(x, axis) of the columns."""
        return Squares(of(self.X, -1), self.constant, None if self.bend is None else of(of(self.bend, -1), -2))

    def widened(self, at: int, size: int) -> Squares:
        """The same of a vector with `size` more entries before entry `at`, on which nothing depends."""
        return self._columns(lambda x, axis: inserted(x, at, size, axis))

    def without(self, size: int) -> Squares:
        """The same of a vector without its first `size` entries, on which nothing depends."""
        return self._columns(lambda x, axis: x.narrow(axis, size, x.shape[axis] - size))

    def spread(self, places: list[int | None]) -> Squares:
        """The same of another vector: which entry each of its entries is, None where nothing depends on it."""
        n = self.X.shape[-1]
        at = torch.tensor([n if p is None else p for p in places] + [n - 1], device=self.X.device)
        return self._columns(lambda x, axis: pad(x, (0, 0) * (-1 - axis) + (0, 1)).index_select(axis, at))

    def eliminate(self, matrix: Tensor, root: Tensor) -> tuple[Squares, Conditional]:
        """∫ over z = matrix u + root e, e ~ N(0, I), of exp of it: what is left, of u, and p(z | u)."""
        (n, d), m = root.shape[-2:], matrix.shape[-1]
        pulled = self.X[..., :n] @ root
        eye = torch.eye(d, dtype=root.dtype, device=root.device).expand(*pulled.shape[:-2], d, d)
        Q, R = orthogonal(torch.cat([pulled, eye], -2))
        V = pad(self.X[..., n:] + pad(self.X[..., :n] @ matrix, (0, 1)), (0, 0, 0, d))
        ahead = Q.mT @ V
        reached = root @ torch.linalg.solve_triangular(R, ahead, upper=True)  # L (-Y | y)
        along, centre = matrix - reached[..., :m], reached[..., m]
        right = root.mT.expand(*R.shape[:-2], *root.mT.shape[-2:])
        narrowed = torch.linalg.solve_triangular(R.mT, right, upper=False).mT
        log_det = 2 * R.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
        constant, bend = self.constant - 0.5 * log_det, None
        if self.bend is not None:
            whole = torch.cat([along, -centre.unsqueeze(-1)], -1)
            eye = torch.eye(m + 1, dtype=root.dtype, device=root.device).expand(*whole.shape[:-2], m + 1, m + 1)
            bend = sandwich(torch.cat([whole, eye], -2).mT, self.bend)
            constant = constant - 0.5 * (narrowed * (self.bend[..., :n, :n] @ narrowed)).sum((-2, -1))
        return Squares(V - Q @ ahead, constant, bend), Conditional(along, centre, narrowed, log_det)


def inserted(x: Tensor, at: int, size: int, dim: int) -> Tensor:
    """x with `size` zeros before entry `at` of axis `dim`."""
    shape = list(x.shape)
    shape[dim] = size
    return torch.cat([x.narrow(dim, 0, at), x.new_zeros(shape), x.narrow(dim, at, x.shape[dim] - at)], dim)


def seen_squares(gap: Tensor, matrix: Tensor, covariance: Tensor, mask: Tensor) -> Squares:
    """log N(gap; matrix w, covariance) as a function of w, where mask is true; gap (..., N), matrix (..., N, n)."""
    factor = cholesky(covariance)
    shape = torch.broadcast_shapes(mask.shape, gap.shape[:-1], matrix.shape[:-2])
    X = torch.cat([x.expand(*shape, *x.shape[-2:]) for x in (matrix, gap.unsqueeze(-1))], -1)
    X = whitened(factor, torch.where(mask[..., None, None], X, 0.0))
    log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + 0.5 * gap.shape[-1] * LOG_TWO_PI
    return Squares(X, torch.where(mask, -log_det, 0.0))


def whitened(factor: Tensor, X: Tensor) -> Tensor:
    """factor^-1 X, (..., N, m): where the factor is the same everywhere, all of X is one right hand side."""
    if factor.dim() > 2:
        return torch.linalg.solve_triangular(factor, X, upper=False)
    columns = X.movedim(-2, 0)
    return torch.linalg.solve_triangular(factor, columns.flatten(1), upper=False).reshape(columns.shape).movedim(0, -2)
