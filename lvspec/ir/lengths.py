"""Plates whose length is a variable: `i: {length: l + 1, max: M}` has M sites, of which those below l + 1 count.

    sum(e over i)        Σ_i [i < l + 1] e_i
    softmax(e over i)    of e_i - 10^9 [i >= l + 1]
    log p(z[i])          [i < l + 1] log p(z_i), and so is a divergence of z
What is computed at the other sites is read by nothing.
"""

from __future__ import annotations

from dataclasses import replace

from lvspec.ir.expr import Call, Expr, Number, PlateIndex, VariableRef
from lvspec.ir.spec import Plate
from lvspec.ir.types import BOOLEAN, COUNT, Type

NEVER = 1e9  # what a score lacks at a site that does not count: its exp is zero in any precision


def number_of_sites(plate: Plate) -> Expr:
    """How many sites of the plate count, as an expression."""
    options = dict(plate.options)
    length: Expr = VariableRef(str(options["length"]), (), type=Type((), COUNT))
    more = options.get("more", 0)
    return Call("add", (length, Number(int(more))), type=Type((), COUNT)) if more else length


def counting(plate: Plate) -> Expr:
    """1 at the sites that count, else 0."""
    here = PlateIndex(plate.name, type=Type((), COUNT, (plate.name,)))
    return Call("less", (here, number_of_sites(plate)), type=Type((), BOOLEAN, (plate.name,)))


def reduced(function: str, value: Expr, plate: Plate) -> Expr | None:
    """What a reduction along the plate, or a normalisation, runs over; None where it has no meaning there."""
    here = counting(plate)
    if function in ("sum", "mean"):
        return _call("multiply", here, value, value)
    if function == "prod":
        less = _call("subtract", value, Number(1), value)
        return _call("add", Number(1), _call("multiply", here, less, value), value)
    if function in ("max", "logsumexp", "softmax", "log_softmax", "min"):
        beyond = _call("multiply", Number(NEVER), _call("subtract", Number(1), here, here), here)
        return _call("add" if function == "min" else "subtract", value, beyond, value)
    return None


def of_sites(reduced: Call, plate: Plate) -> Expr:
    """A reduction along the plate as it is where fewer sites count than there are: 0 of none."""
    if plate.length is None or reduced.function not in ("mean", "max", "min"):
        return reduced
    length, none = number_of_sites(plate), Call("less", (number_of_sites(plate), Number(1)), type=Type((), BOOLEAN))
    maybe_none = not dict(plate.options).get("more", 0)
    if reduced.function == "mean":
        total = replace(reduced, function="sum")
        return _call("divide", total, _call("add", length, none, length) if maybe_none else length, reduced)
    return _call("multiply", reduced, _call("subtract", Number(1), none, none), reduced) if maybe_none else reduced


def _call(function: str, a: Expr, b: Expr, like: Expr) -> Call:
    return Call(function, (a, b), type=like.type, span=like.span)
