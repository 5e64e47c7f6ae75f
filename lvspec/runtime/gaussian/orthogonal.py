"""X = Q R: what covariances and quadratic forms become where only their roots are kept."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def orthogonal(X: Tensor) -> tuple[Tensor, Tensor]:
    """Q (..., r, n) with orthonormal columns and R (..., n, n) upper triangular, of X (..., r, n), r >= n. An accelerator's own
    takes one matrix after the other: there all of them go column by column."""
    return torch.linalg.qr(X) if X.device.type in ("cpu", "meta") else by_columns(X)


def by_columns(X: Tensor) -> tuple[Tensor, Tensor]:
    """The same by Gram and Schmidt, each column twice (Giraud, Langou & Rozložník 2005); a column that depends on those
    before it may have zeros in Q."""
    Q, columns = X[..., :0], []
    for k in range(X.shape[-1]):
        x = X[..., k : k + 1]
        once = Q.mT @ x
        x = x - Q @ once
        again = Q.mT @ x
        x = x - Q @ again
        size = x.square().sum(-2, keepdim=True).sqrt()
        columns.append(pad(torch.cat([once + again, size], -2), (0, 0, 0, X.shape[-1] - k - 1)))
        Q = torch.cat([Q, x / torch.where(size == 0, 1.0, size)], -1)
    return Q, torch.cat(columns, -1) if columns else X[..., :0, :]


def lower_root(X: Tensor) -> Tensor:
    """Lower triangular L (..., n, n), of either sign on its diagonal, with L L' = X X'; X (..., n, r), r >= n."""
    return orthogonal(X.mT)[1].mT
