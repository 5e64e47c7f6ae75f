"""Free parameters of examples: each one's row; of examples that are none of the training data fitted, with everything else
as it is."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.batch import BadBatch


def own_row(batch: dict, name: str, table: Tensor) -> Tensor:
    """(B, ...): what the batch brings along, else the rows of its examples in the training data, `index`."""
    if name in batch:
        return batch[name]
    if "index" not in batch:
        raise BadBatch(
            f"`index` is not in the batch: the numbers of the examples, each of which has a `{name}` of its own; of others than "
            "the training data's `model.fit_rows(batch)` finds it"
        )
    return table[batch["index"]]


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
