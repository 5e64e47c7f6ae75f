"""Free parameters of examples that are none of the training data: fitted, with everything else as it is."""

from __future__ import annotations

import torch
from torch import Tensor


def fit_rows(model, batch: dict, first: dict[str, Tensor], steps: int, rate: float) -> dict:
    """The batch with `first` moved by `steps` steps of Adam on the model's loss; no parameter of the model moves.

    first: by name, (B, ...), one row for each example. Hoffman et al. 2013: local factors before global ones.
    """
    rows = {name: value.to(model.zero.dtype).requires_grad_() for name, value in first.items()}
    optimizer = torch.optim.Adam(rows.values(), lr=rate)
    with torch.enable_grad():
        for _ in range(steps):
            loss = model({**batch, **rows}).loss
            for value, gradient in zip(rows.values(), torch.autograd.grad(loss, list(rows.values())), strict=True):
                value.grad = gradient
            optimizer.step()
    return {**batch, **{name: value.detach() for name, value in rows.items()}}
