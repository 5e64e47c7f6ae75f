"""p(x_{n+1} | x_1 .. x_n) from log p(x): the probabilities with one more site, over their sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lvspec.runtime.core.batch import BadBatch

FORECAST_ROWS = 4096  # rows of a batch at a time


@torch.no_grad()
def forecast(
    log_prob: Callable[[dict], Tensor], batch: dict, name: str, plate: str, values: int | None = None
) -> Tensor:
    """log p(x_{n+1} = v | x_1 .. x_n, n + 1 sites) for v < values, (B, values), behind each row's own length n.

    Whether a model says how many sites there are (a grammar), is told (labels that are normalised globally), or goes on
    for ever (a chain), this is a distribution; of a chain it is p(x_{n+1} | x_1 .. x_n).
    log_prob: a model's. name: a discrete observed variable along `plate` alone. values: how many it has, all of them; a model's
    own method says so itself. Whatever else varies along the plate reaches one site further than x already: given variables with their values, others with `y_observed` false
    there. It costs `values` evaluations of log p at n + 1 sites.
    """
    if "rows" in batch:
        raise ValueError("forecast takes a batch that is not prepared: it adds a site")
    x = batch[name]
    if x.dim() != 2:
        shape = tuple(x.shape)
        raise ValueError(f"forecast is of one symbol along `{plate}`, (B, T), and `{name}` has the shape {shape}")
    values = all_values(log_prob, name, values)
    lengths = batch.get(plate, torch.full(x.shape[:1], x.shape[1], device=x.device))
    known = {**batch, name: one_site_more(x, 0), plate: lengths}
    if f"{name}_observed" in batch:
        known[f"{name}_observed"] = one_site_more(batch[f"{name}_observed"], True)
        known[f"{name}_observed"][torch.arange(len(x), device=x.device), lengths] = True
    found = []
    for chunk in torch.arange(values, device=x.device).split(max(1, FORECAST_ROWS // max(len(x), 1))):
        rows = {n: v.repeat_interleave(len(chunk), 0) for n, v in known.items()}
        ends = rows[plate]
        rows[name][torch.arange(len(ends), device=x.device), ends] = chunk.repeat(len(x)).to(x.dtype)
        try:
            found.append(log_prob({**rows, plate: ends + 1}).view(len(x), -1))
        except BadBatch as reason:
            further = f"whatever else varies along `{plate}` has one site more, {x.shape[1] + 1}"
            raise BadBatch(f"forecast adds a site to `{name}`, and {further}: {reason}") from None
    return torch.cat(found, 1).log_softmax(1)


def all_values(log_prob: Callable, name: str, values: int | None) -> int:
    """How many values a variable has: of fewer, the probabilities would be divided by less than their sum."""
    model: Any = getattr(log_prob, "__self__", None)
    one = model.batch_inputs().get(name) if hasattr(model, "batch_inputs") else None
    size = values if one is None else 2 if one.kind == "boolean" else one.below
    if isinstance(size, str) or not size:  # the sites of a plate, counts without a last one, numbers
        raise ValueError(f"forecast is of a variable with a number of values that is known, and `{name}` has none")
    if values not in (None, size):
        raise ValueError(f"`{name}` has {size} values, and forecast was asked for {values}: all of them add up to 1")
    return size


def one_site_more(x: Tensor, value: float) -> Tensor:
    """x (B, T, ...) with a last site that holds `value`."""
    return torch.cat([x, x.new_full((len(x), 1, *x.shape[2:]), value)], 1)
