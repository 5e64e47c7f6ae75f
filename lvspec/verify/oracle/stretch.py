"""Values that an expression can have besides a tensor: a stretch of a plate, and what stands before its first site."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from torch import Tensor

from lvspec.ir.types import Support


@dataclass(frozen=True)
class Begin:
    """The value of a variable before its first site (and after its last): the begin symbol, or zeros for real values."""

    support: Support
    shape: tuple[int, ...]


@dataclass(frozen=True)
class StretchValue:
    """What is read along a stretch, in the plate's order, beginning at site `start`.

    Under x[<t] site j reads x[j-1], so that item 0 is `Begin`; under x[>t] it reads x[j+1].
    """

    items: tuple[Value, ...]
    plate: str
    reach: str
    start: int


Value = Tensor | Begin | StretchValue


def tensor(value: Value) -> Tensor:
    """A value that is neither a stretch nor what stands before a first site."""
    assert isinstance(value, Tensor)
    return value


def stretch_of(value: Value) -> StretchValue:
    assert isinstance(value, StretchValue)
    return value


def number(value: Value) -> Tensor:
    """A value as a tensor to compute with; the begin symbol of a real variable is zeros."""
    if isinstance(value, Begin):
        return torch.zeros(value.shape, dtype=torch.float64)
    if isinstance(value, StretchValue):
        raise TypeError("a stretch of a plate stands where one site is needed")
    return value if value.is_floating_point() else value.to(torch.float64)


def every_value(cardinality: int, shape: tuple[int, ...]) -> list[object]:
    """All tensors of numbers below `cardinality`: numbers, or tuples of tuples, hashable and readable by torch.tensor."""
    if not shape:
        return list(range(cardinality))
    return [_nested(flat, shape) for flat in product(range(cardinality), repeat=prod(shape))]


def _nested(flat: tuple[int, ...], shape: tuple[int, ...]) -> object:
    if len(shape) == 1:
        return flat
    step = len(flat) // shape[0]
    return tuple(_nested(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0]))
