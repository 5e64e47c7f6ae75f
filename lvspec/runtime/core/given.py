"""What `sample` is given: an empty batch to draw into."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lvspec.runtime.core.batch import BadBatch
from lvspec.runtime.core.inputs import ROW, Input, alike, check_values, in_kind
from lvspec.runtime.core.observed import inside_support, observed_sites

LENGTH = 64  # sites of a ragged plate where nobody says how many


def sample_batch(
    n: int,
    given: Mapping | None,
    lengths: Mapping | None,
    inputs: dict[str, Input],
    like: Tensor,
    plates: dict[str, str | None],
    ends: Mapping | None = None,
) -> dict:
    """An empty batch of n examples to draw into: what is given, and lengths and masks of the ragged plates.

    lengths: plate -> (n,) or one number for all, of a nested plate (n, D), or one for all sites of an example; they may stand
    among what is given, as in a batch. Those that are not mentioned are as long as what is given, else LENGTH.
    plates: the ragged ones, each with the plate that it is nested in. ends: by plate an end symbol, for the plates that there are.
    """
    given, lengths = dict(given or {}), dict(lengths or {})
    lengths |= {p: given.pop(p) for p in plates if p in given}
    for name in (n for n in ends or () if n not in plates):
        raise BadBatch(f"`ends` has `{name}`, and end symbols are told by plate: there are {', '.join(plates)}")
    for name in (*given, *lengths):
        if name not in (inputs if name in given else plates):
            raise BadBatch(
                f"nothing is drawn or read that is called `{name}`: there are {', '.join((*inputs, *plates))}"
            )
    batch = {name: in_kind(name, x, inputs[name], like).to(like.device) for name, x in given.items()}
    rows = torch.arange(n, device=like.device)
    alike({**batch, "index": rows}, inputs | ROW)
    batch["rows"] = rows
    for plate, within in plates.items():
        there = {v: batch[v].shape[inputs[v].place(plate)[-1]] for v in given if plate in inputs[v].plates}
        around = _around(batch, within, inputs, rows)
        value = torch.as_tensor(lengths.get(plate, next(iter(there.values()), LENGTH)), device=like.device)
        value = (value.unsqueeze(-1) if value.dim() and value.dim() < around.dim() else value).expand(around.shape)
        longest = int(value.max()) if value.numel() else 0
        for name, extent in there.items():
            if extent < longest:
                raise BadBatch(f"lengths `{plate}` reach {longest}, but `{name}`, which is given, has {extent} sites")
        sites = torch.arange(next(iter(there.values()), longest), device=like.device)
        batch |= {plate: value, f"{plate}.mask": (sites < value.unsqueeze(-1)) & around.unsqueeze(-1)}
    found = batch | _checked(batch, {n: inputs[n] for n in given}, plates)
    return Given(found, inputs)


class Given(dict):
    """A batch to draw into; BadBatch where something reads a variable that is given, and was not."""

    def __init__(self, batch: dict, inputs: dict[str, Input]):
        super().__init__(batch)
        self.inputs = inputs

    def __missing__(self, name: str):
        one = self.inputs.get(name)
        if one is None:
            raise KeyError(name)
        raise BadBatch(f"what is drawn depends on `{name}`, which is {one.role}: `given` has to hold it, {one.shown()}")


def _checked(batch: dict, inputs: dict[str, Input], plates: dict[str, str | None]) -> dict:
    """What is given, every value that counts in its support, and others where it does not."""
    local = {n: one for n, one in inputs.items() if not one.shared}
    found = observed_sites(batch, local, plates)
    for name in local:
        mask = found[f"{name}.mask"].reshape(*found[f"{name}.mask"].shape, *[1] * len(inputs[name].shape))
        found[name] = torch.where(mask, found[name], torch.zeros_like(found[name]))
    found = inside_support(found, local)
    return {n: check_values(found, inputs)[n] for n in inputs}


def _around(batch: dict, within: str | None, inputs: dict[str, Input], rows: Tensor) -> Tensor:
    """Which sites there are that a plate may have sites in: (n,), or (n, D) of the plate that it is nested in."""
    if within is None:
        return torch.ones_like(rows).bool()
    if f"{within}.mask" in batch:
        return batch[f"{within}.mask"]
    size = next(n for one in inputs.values() if (n := one.plates.get(within)) is not None)
    return torch.ones(len(rows), size, dtype=torch.bool, device=rows.device)
