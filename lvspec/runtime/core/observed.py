"""What is observed: which sites of a variable count, and what may not be read where they do not.

A site that is not observed has no factor of its own. The value that stands there is never read by the model: where a factor
that counts would read it, the batch is refused (it would have to be summed or integrated). A guide reads a filler there.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lvspec.runtime.core.batch import BadBatch, along, prepare_plate
from lvspec.runtime.core.inputs import ROW, Input, assert_values, check_values, example_of, read_batch


def observed_sites(batch: dict, inputs: dict[str, Input], plates: dict[str, str | None]) -> dict:
    """The batch with `"x.mask"`, the sites of x that count: within the lengths of its plates, and observed; and where some
    are not, with `"x.missing"`, those within the lengths that are not.

    plates: the ragged ones, each with the plate that it is nested in.
    """
    batch = dict(batch)
    for name, one in inputs.items():
        mask = torch.ones(batch[name].shape[: one.sites], dtype=torch.bool, device=batch[name].device)
        for plate in one.plates:
            inside = batch.get(f"{plate}.mask")
            if inside is None:
                continue
            *around, own = one.place(plate, plates[plate])
            if around:  # (B, D, T)
                inside = inside.reshape(len(inside), *[1] * (around[0] - 1), *inside.shape[1:])
            mask = mask & along(inside, mask, own)  # (B, T), or (B, D, T)
        observed = batch.get(f"{name}_observed")
        batch[f"{name}.mask"] = mask if observed is None else mask & observed
        if observed is not None:
            batch[f"{name}.missing"] = mask & ~observed
    return batch


def complete_rows(batch: dict, name: str) -> Tensor:
    """Where every site of the variable's last plate has its value: (B, ...), the plate's axis gone."""
    absent = batch.get(f"{name}.missing", torch.zeros_like(batch[f"{name}.mask"]))
    return ~absent.any(-1)


def inside_support(batch: dict, inputs: dict[str, Input]) -> dict:
    """Sites that do not count hold a value at which the density and its gradient are finite, and which q may read."""
    batch = dict(batch)
    for name, one in ((n, i) for n, i in inputs.items() if has_filler(i)):
        x, mask = batch[name], batch[f"{name}.mask"]
        mask = mask.reshape(*mask.shape, *[1] * (x.dim() - mask.dim()))
        if x.numel():
            batch[name] = torch.where(
                mask, x, SAFE[one.kind](x) if one.filler is None else torch.full_like(x, one.filler)
            )
    return batch


def has_filler(one: Input) -> bool:
    """Whether another value than 0 stands where nothing counts."""
    return one.kind in SAFE or one.filler is not None


# a value inside the support, of kinds of which 0 is none, or a value that has no logarithm
SAFE = {
    "positive": torch.ones_like,
    "nonnegative": torch.ones_like,
    "count": torch.ones_like,
    "unit": lambda x: torch.full_like(x, 0.5),
    "simplex": lambda x: torch.full_like(x, 1 / x.shape[-1]),
    "sphere": lambda x: torch.full_like(x, x.shape[-1] ** -0.5),
    "onehot": lambda x: (torch.arange(x.shape[-1], device=x.device) == 0).to(x.dtype).expand_as(x),
}


def prepare_batch(
    batch: Mapping, inputs: dict[str, Input], like: Tensor, plates: dict[str, str | None], own: tuple[str, ...] = ()
) -> dict:
    """The batch as `read_batch` reads it, with lengths, masks and places of the ragged plates' real sites, and with
    `"x.mask"` of what is observed; every value that counts in its support.

    plates: the ragged ones, each with the plate that it is nested in. own: free parameters of examples that the batch may bring.
    """
    inputs = inputs | ROW
    batch = read_batch(batch, inputs, like, (*plates,), own)
    there = {n: i for n, i in inputs.items() if i.role not in ("hidden", "row") and not i.shared}
    for plate, within in plates.items():
        places = {n: one.place(plate, within) for n, one in there.items() if plate in one.plates}
        batch = prepare_plate(batch, plate, places, within)
    shown = {n: i for n, i in there.items() if i.role == "observed" or i.role == "given" and has_filler(i)}
    batch = inside_support(observed_sites(batch, shown, plates), shown)
    anchor = next((batch[n] for n in (*there, *plates, *ROW) if batch.get(n) is not None), None)
    if anchor is None:
        raise BadBatch(
            "nothing in the batch says how many examples there are: give `weight`, a number for each, or a variable"
        )
    return {**check_values(batch, inputs), "rows": torch.arange(len(anchor), device=anchor.device)}


def refuse_missing(
    batch: dict, name: str, read_by: str, sites_back: dict[str, int | str] | None = None, summable: bool = True
) -> dict:
    """The batch, unless a site of `name` that is not observed is read by a factor that counts: BadBatch.

    read_by: who reads it, an observed variable, whose factors count where it is observed, or something else, which counts everywhere.
    sites_back: how many sites back it reads, by plate of `name` in order, or "any" of those before. Without it any site may be read.
    summable: whether it has finitely many values, so that a latent in its place could be summed.
    """
    if f"{name}_observed" not in batch:
        return batch
    absent, counts = batch[f"{name}.missing"], batch.get(f"{read_by}.mask")
    if sites_back is None:
        harm = absent if counts is None else any_site(absent) & any_site(counts)
    else:
        counts = batch[f"{name}.mask"] | absent if counts is None else counts
        for axis, k in enumerate(sites_back.values(), start=1):
            counts = ahead(counts, axis, k) if isinstance(k, int) else later(counts, axis)
        harm = absent & counts
    assert_values(~harm.any(), harm, lambda: _missing(batch, name, read_by, harm, summable))
    return batch


def refuse_short(
    batch: dict,
    plate: str,
    site: int,
    name: str,
    reader: str,
    counts: str | None = None,
    beyond: int = 0,
    around: str | None = None,
) -> dict:
    """The batch, unless an example has no site of this number along a plate, and a factor that counts reads `name` there: BadBatch.

    counts: the mask of the reader's sites; None: it counts in every example. beyond: it reads it in examples that have more sites
    than so many, where that is above 0. around: the mask of the plate that this one is nested in."""
    harm = batch[plate] <= site
    if beyond:
        harm = harm & (batch[plate] > beyond)
    return _refuse(batch, plate, harm, f"`{reader}` reads site {site} of `{name}` along `{plate}`", counts, around)


def refuse_empty(batch: dict, plate: str, name: str, counts: str | None = None, around: str | None = None) -> dict:
    """The batch, unless an example has no site along a plate of which `name` is one: BadBatch. counts, around: as for `refuse_short`."""
    return _refuse(batch, plate, batch[plate] <= 0, f"`{name}` is one of the sites along `{plate}`", counts, around)


def _refuse(batch: dict, plate: str, harm: Tensor, reason: str, counts: str | None, around: str | None) -> dict:
    """The batch, unless an example is harmed where its sites count."""
    if around is not None:
        harm = harm & batch[around]
    if counts is not None:
        there = any_site(batch[counts])
        harm = harm & there.reshape(-1, *[1] * (harm.dim() - 1))
    assert_values(~harm.any(), harm, lambda: _short(batch, plate, reason, harm))
    return batch


def _short(batch: dict, plate: str, reason: str, harm: Tensor) -> str:
    place = harm.nonzero()[0].tolist()
    where = f"example {place[0]}" + (f" at {place[1]}" if len(place) > 1 else "") + example_of(batch, place[0])
    return f"{reason}, and {where} has {int(batch[plate][tuple(place)])} of them. Leave such examples out"


def any_site(mask: Tensor) -> Tensor:
    """Of each row whether any of its sites is marked, where it has some: (B,)."""
    return mask.unsqueeze(-1).flatten(1).any(1)


def _missing(batch: dict, name: str, reader: str, harm: Tensor, summable: bool) -> str:
    row = int(harm.nonzero()[0][0])
    place = [row, *batch[f"{name}.missing"][row].nonzero()[0].tolist()]
    where = (f"at {place}" if len(place) > 1 else f"in example {row}") + example_of(batch, row)
    mend = "Leave such examples out, or fill the value in"
    if summable:
        mend = f"Declare `{name}` under `latent:`, where it may be given for some examples and is summed or drawn for others"
    return f"`{name}` is not observed {where}, and `{reader}` reads it, which needs its value. {mend}"


def ahead(counts: Tensor, axis: int, k: int) -> Tensor:
    """Whether the site k further on counts."""
    extent = counts.shape[axis]
    gone = torch.zeros_like(counts.narrow(axis, 0, min(k, extent)))
    return torch.cat([counts.narrow(axis, min(k, extent), max(extent - k, 0)), gone], axis) if k else counts


def later(counts: Tensor, axis: int) -> Tensor:
    """Whether any site further on counts."""
    further = ahead(counts, axis, 1).flip(axis).int().cummax(axis).values if counts.shape[axis] else counts
    return further.bool().flip(axis)


def refuse_parts(batch: dict, name: str) -> dict:
    """The batch, unless of one structure (along the last axis of sites) some sites are observed and others are not: BadBatch."""
    if f"{name}_observed" not in batch:
        return batch
    harm = batch[f"{name}.missing"].any(-1) & batch[f"{name}.mask"].any(-1)
    assert_values(
        ~harm.any(),
        harm,
        lambda: f"`{name}` is observed in part in example {int(harm.nonzero()[0][0])}: give all of its sites or none",
    )
    return batch
