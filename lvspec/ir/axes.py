"""The axis of a latent whose values are summed, which is told by the latent, its site and how far back it is read.

    "z"      every site of z          "z@1"      its previous site          "z.0"      site 0 of a fixed plate that is written out

Prices and emitted text speak of the same axes.
"""

from __future__ import annotations

SiteNumber = int | str  # of a plate that is written out: its number, or the name of a variable that holds it


class LatentAxis(str):
    """The axis of an enumerated latent: at these sites of unrolled plates, so many sites back. As a text, `z`, `z.0`, `z@1`."""

    latent: str
    sites: tuple[SiteNumber, ...]
    lag: int

    def __new__(cls, latent: str, sites: tuple[SiteNumber, ...] = (), lag: int = 0) -> LatentAxis:
        axis = super().__new__(cls, latent + "".join(f".{i}" for i in sites) + (f"@{lag}" if lag else ""))
        axis.latent, axis.sites, axis.lag = latent, sites, lag
        return axis


def axis_of(latent: str, bound: tuple[SiteNumber, ...] = (), lag: int = 0) -> str:
    return LatentAxis(latent, bound, lag)


def latent_of(axis: str) -> str:
    return axis.latent if isinstance(axis, LatentAxis) else axis


def sites_of(axis: str) -> tuple[SiteNumber, ...]:
    """The sites of unrolled plates at which the latent is."""
    return axis.sites if isinstance(axis, LatentAxis) else ()


def lag_of(axis: str) -> int:
    return axis.lag if isinstance(axis, LatentAxis) else 0


def shift_axis(axis: str, k: int) -> str:
    """The axis of the same latent k sites further back."""
    return LatentAxis(latent_of(axis), sites_of(axis), lag_of(axis) + k)


def at_present(axis: str) -> str:
    """The axis of the same latent at this site."""
    return shift_axis(axis, -lag_of(axis)) if lag_of(axis) else axis
