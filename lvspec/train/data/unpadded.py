"""Blocks of values as nested lists without padding: along a nested plate each site around it has its own number of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lvspec.ir.spec import Plate


def unpadded(
    values: list, plates: Sequence[Plate], lengths: Mapping[str, np.ndarray], around: Mapping[str, int] | None = None
) -> list:
    """Nested lists with an axis for each of `plates`, and whatever stands at a site, cut along each plate whose length is known:
    (), or (D,) of a plate nested in plate d. around: the sites that these values stand at, by plate."""
    if not plates:
        return values
    plate, around = plates[0], around or {}
    length = lengths.get(plate.name)
    if length is not None:
        length = np.asarray(length)
        site = around.get(plate.within or "")
        own = length[site] if length.ndim and site is not None else length
        values = values[: int(np.max(own, initial=0))]
    return [unpadded(v, plates[1:], lengths, {**around, plate.name: i}) for i, v in enumerate(values)]
