"""Variables that are drawn as a whole, `z over t: LinearChain(...)`: which structure, and how long its segments are."""

from __future__ import annotations

from lvspec.ir.dims import Dim
from lvspec.ir.expr import Dist
from lvspec.ir.spec import Variable
from lvspec.ir.structures import STRUCTURES, Structure


def structure_of(variable: Variable) -> Structure | None:
    """The structure that a variable is drawn from as a whole, `z over t: LinearChain(...)`."""
    body = variable.clauses[-1].body if variable.clauses else None
    return STRUCTURES.get(body.family) if isinstance(body, Dist) and body.over else None


def has_segments(variable: Variable) -> bool:
    """Whether the variable is hidden states of segments, which a network may begin anew in: `x[<t in z]`."""
    structure = structure_of(variable)
    return structure is not None and structure.segments and variable.role == "latent"


def longest_segment(variable: Variable) -> Dim:
    """How many sites a segment has at most: the size of the axis L."""
    axes = STRUCTURES[variable.general.dist.family].axes
    name, at = next((n, letters.index("L")) for n, letters in axes if "L" in letters)
    return variable.general.dist.argument(name).type.shape[at]


def window_axis(plate: str, latent: str) -> str:
    """The name of an axis: the sites that a segment of the latent may have from a site of the plate on."""
    return f"{plate} in {latent}"


def window_of(axis: str) -> str | None:
    """The latent whose window the axis is, or None."""
    return axis.partition(" in ")[2] or None
