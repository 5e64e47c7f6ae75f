"""Ragged batches: what lies beyond a length is never read."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import may_look


class BadBatch(ValueError):
    """A batch that does not fit the model: the message says what, where, and what was expected."""


def sites_mask(lengths: Tensor, extent: int) -> Tensor:
    """lengths (...) -> (..., extent) bool: true at real sites."""
    return torch.arange(extent, device=lengths.device) < lengths.unsqueeze(-1)


def plate_extent(batch: dict, plate: str, variables: dict[str, int]) -> int:
    """How many sites the variables' tensors have along a plate; all must agree. Where none is there, the most of its lengths."""
    extents = {name: batch[name].shape[axis] for name, axis in variables.items() if batch.get(name) is not None}
    lengths = batch.get(plate)
    if not extents and lengths is None:
        raise BadBatch(
            f"nothing in the batch says how many sites plate `{plate}` has: give its lengths under the key `{plate}`"
        )
    if not extents and lengths is not None:
        return max(int(lengths.max()), 0) if lengths.numel() else 0
    if len(set(extents.values())) > 1:
        raise BadBatch(f"tensors disagree on one plate's extent: {extents}")
    return next(iter(extents.values()))


def clean(value: Tensor, mask: Tensor, axes: tuple[int, ...]) -> Tensor:
    """value with zeros where the mask is false; `axes` of value are those of the mask, in this order."""
    shape = [1] * value.dim()
    for axis, extent in zip(axes, mask.shape, strict=True):
        shape[axis] = extent
    return torch.where(mask.reshape(shape), value, torch.zeros((), dtype=value.dtype, device=value.device))


def prepare_plate(
    batch: dict, plate: str, variables: dict[str, int] | dict[str, tuple[int, ...]], within: str | None = None
) -> dict:
    """A new batch with `plate` (lengths), `plate.mask` (B, T), `plate.sites` (N,) and cleaned variables.

    variables: name -> axis of this plate in that tensor. within: the plate that this one is nested in
    (lengths (B, D), mask (B, D, T)), whose axis is 1, or stands before this one's. Lengths that are absent mean full
    ones. `name_observed` is cleaned too.
    """
    places = {n: a if isinstance(a, tuple) else (a,) if within is None else (1, a) for n, a in variables.items()}
    extent = plate_extent(batch, plate, {n: axes[-1] for n, axes in places.items()})
    lengths = batch.get(plate)
    lead = tuple(getattr(lengths, "shape", ()))
    for sample, axes in ((batch[n], axes) for n, axes in places.items() if batch.get(n) is not None):
        lead = (sample.shape[0], *(sample.shape[a] for a in axes[:-1]))
        if lengths is None:
            lengths = torch.full(lead, extent, dtype=torch.int64, device=sample.device)
        break
    assert lengths is not None  # else the extent is not known
    check_lengths(lengths, plate, lead, extent)
    around = batch.get(f"{within}.mask")
    if around is not None and lengths.dim() == 2 and around.shape[1] < lengths.shape[1]:
        lengths = lengths[:, : around.shape[1]]  # they alone speak of both plates: the outer one ends before
    mask = sites_mask(lengths, extent)
    if around is not None:
        if tuple(lengths.shape) != tuple(around.shape):
            raise BadBatch(
                f"lengths `{plate}` have shape {tuple(lengths.shape)}, `{within}` has {tuple(around.shape)} sites"
            )
        mask = mask & around.unsqueeze(-1)
    prepared = dict(batch)
    prepared[plate] = lengths
    prepared[f"{plate}.mask"] = mask
    if mask.device.type != "meta":
        prepared[f"{plate}.sites"] = mask.flatten().nonzero().squeeze(-1)
    else:
        prepared[f"{plate}.sites"] = torch.arange(mask.numel(), device=mask.device)
    for name, axes in places.items():
        for key in (name, f"{name}_observed"):
            if prepared.get(key) is not None and prepared[key].dim() > axes[-1]:
                prepared[key] = clean(prepared[key], mask, (0, *axes))
    return prepared


def check_lengths(lengths: Tensor, plate: str, lead: tuple[int, ...], extent: int) -> None:
    """BadBatch where lengths are no whole numbers, have another shape than the batch or lie outside 0 .. extent."""
    if not isinstance(lengths, Tensor) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise BadBatch(f"lengths `{plate}` are no tensor of whole numbers (torch.int64)")
    if tuple(lengths.shape) != lead:
        raise BadBatch(f"lengths `{plate}` have shape {tuple(lengths.shape)}, but the batch has {lead}")
    if lengths.device.type == "meta" or lengths.numel() == 0:
        return
    low, high = int(lengths.min()), int(lengths.max())
    if low < 0 or high > extent:
        raise BadBatch(f"lengths `{plate}` run from {low} to {high}, but the padded extent is {extent}")


def previous(x: Tensor, dim: int, begin: float | None = 0, k: int = 1) -> Tensor:
    """x shifted along dim: site t holds x[t - k], and `begin` where there is no such site (k < 0: x[t + |k|]); None: what
    the first site holds, where only a value that x can take will do."""
    extent = x.shape[dim]
    if begin is None:
        filler = torch.cat([x.narrow(dim, 0, min(1, extent))] * min(k, extent), dim) if extent else x
    else:
        filler = torch.full_like(x.narrow(dim, 0, min(abs(k), extent)), begin)
    if k == 0:
        return x
    if k > 0:
        return torch.cat([filler, x.narrow(dim, 0, max(extent - k, 0))], dim)
    return torch.cat([x.narrow(dim, min(-k, extent), max(extent + k, 0)), filler], dim)


def following(x: Tensor, real: Tensor, dim: int, begin: float = 0, k: int = 1) -> Tensor:
    """Site t holds x[t + k], and `begin` where that is no real site. real: the plate's mask, which broadcasts with x."""
    return previous(torch.where(real, x, begin), dim, begin, -k)


def until_length(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """x with zeros beyond each example's last site along dim."""
    return torch.where(along(mask, x, dim), x, torch.zeros((), dtype=x.dtype, device=x.device))


def site(states: Tensor, index: Tensor, lengths: Tensor, dim: int) -> Tensor:
    """states[..., index, ...] along dim; index and lengths broadcast with the axes before it; 0 where the length is 0."""
    dim = dim % states.dim()
    lead, tail = torch.broadcast_shapes(states.shape[:dim], index.shape), states.shape[dim + 1 :]
    states = states.expand(*lead, *states.shape[dim:])
    if states.shape[dim] == 0:
        return states.sum(dim)
    ones = [1] * len(tail)
    at = index.expand(lead).reshape(*lead, 1, *ones).expand(*lead, 1, *tail)
    found = states.gather(dim, at).squeeze(dim)
    real = lengths.expand(lead).reshape(*lead, *ones) > 0
    return torch.where(real, found, torch.zeros((), dtype=states.dtype, device=states.device))


def last(states: Tensor, lengths: Tensor, dim: int) -> Tensor:
    """The state at each stretch's last real site: states (*lead, T, ...), lengths broadcast with lead."""
    return site(states, (lengths - 1).clamp_min(0), lengths, dim)


def first(states: Tensor, lengths: Tensor, dim: int) -> Tensor:
    """The state at each stretch's first site, 0 for a stretch of length 0."""
    return site(states, torch.zeros_like(lengths), lengths, dim)


def along(mask: Tensor, x: Tensor, dim: int) -> Tensor:
    """The mask (..., T) with its last axis along `dim` of x and its others along the leading axes."""
    dim = dim % x.dim()
    shape = [1] * x.dim()
    shape[: mask.dim() - 1] = mask.shape[:-1]
    shape[dim] = mask.shape[-1]
    return mask.reshape(shape)


def masked_sum(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """sum of x over the real sites along dim; values beyond them are never read, NaN included."""
    return torch.where(along(mask, x, dim), x, torch.zeros((), dtype=x.dtype, device=x.device)).sum(dim)


def masked_mean(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """mean of x over the real sites along dim, 0 where there is none."""
    here = along(mask, x, dim)
    return masked_sum(x, mask, dim) / here.sum(dim % x.dim()).clamp_min(1)


def masked_max(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """max of x over the real sites along dim, 0 where there is none."""
    here = along(mask, x, dim)
    if x.shape[dim] == 0:
        return x.sum(dim)
    most = torch.where(here, x, -torch.inf).amax(dim)
    return torch.where(here.any(dim % x.dim()), most, torch.zeros((), dtype=x.dtype, device=x.device))


def weighted_mean(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """sum w v / sum w over the batch, 0 for an empty one; what weighs nothing is no part of it, whatever it is."""
    if weight is None:
        return values.mean() if values.numel() else values.sum()
    total = weight.sum()
    return torch.where(weight == 0, 0.0, weight * values).sum() / torch.where(total == 0, torch.ones_like(total), total)


def real_sites(x: Tensor, mask: Tensor) -> Tensor:
    """x where the site is real, 0 elsewhere; `mask` is broadcastable to x."""
    if may_look(x):
        product = x * mask  # a fraction of a choice's cost, and it keeps x's layout
        if math.isfinite(float(product.detach().sum())):  # -inf * 0 is what could go wrong
            return product
    return torch.where(mask, x, 0.0)


def one_elsewhere(x: Tensor, mask: Tensor) -> Tensor:
    """x where the site is real, 1 elsewhere, where functions of it have a value and a slope; `mask` is broadcastable to x."""
    return torch.where(mask, x, 1.0)


def masked_softmax(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """softmax over the real sites of axis `dim`; 0 at the others, and everywhere where there are none."""
    return torch.where(along(mask, x, dim), masked_log_softmax(x, mask, dim), -torch.inf).exp()


def masked_log_softmax(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """log softmax over the real sites of axis `dim`; 0 at the others."""
    here = along(mask, x, dim)
    return torch.where(here, torch.where(here, x, torch.finfo(x.dtype).min / 4).log_softmax(dim), 0.0)


def masked_logsumexp(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """log Σ exp over the real sites; a very negative finite number where there are none."""
    return torch.where(along(mask, x, dim), x, torch.finfo(x.dtype).min / 4).logsumexp(dim)


def masked_min(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """The least value over the real sites; 0 where there are none."""
    return -masked_max(-x, mask, dim)


def masked_prod(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """The product over the real sites; 1 where there are none."""
    return torch.where(along(mask, x, dim), x, 1.0).prod(dim)


def batch_rows(batch: dict) -> int:
    """How many examples a prepared batch has."""
    return batch["rows"].shape[0]


def later_sum(x: Tensor, dim: int) -> Tensor:
    """Σ_{t' ≥ t} x_{t'}: what lies downstream of site t along an ordered plate."""
    return x.flip(dim).cumsum(dim).flip(dim)


def until_end(x: Tensor, lengths: Tensor, end: int | None) -> Tensor:
    """Lengths cut behind the first end symbol of each row: x (n, T), lengths (n,); or (n, D, T) and (n, D)."""
    if end is None or not x.shape[-1]:
        return lengths
    ended = x == end
    first = torch.where(ended.any(-1), ended.int().argmax(-1) + 1, lengths)
    return torch.minimum(first, lengths)
