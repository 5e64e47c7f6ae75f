"""Each function of ir/functions.py at one site, by its definition.

elementwise   a stretch goes through item by item, together with values of one site
reduce        over the last axis, over a plate's sites (given stacked), or over the items of a stretch
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from operator import add

import torch
from torch import Tensor

from lvspec.verify.oracle.stretch import StretchValue, Value, number


class NoNumber(Exception):
    """The model has no value at the numbers that were drawn: nothing can be compared there."""


def _numbers(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function, where it has a value; what is no number before is none afterwards."""

    def found(*args: Tensor) -> Tensor:
        value = function(*args)
        if torch._C._functorch.is_batchedtensor(value):  # at many points of noise at once, nobody can look
            return value
        missing = value.isnan()
        if bool(missing.any()) and bool((missing & ~functools.reduce(add, args).isnan()).any()):
            raise NoNumber(f"at the numbers that were drawn the model takes `{name}` of one that it has no value of")
        return value

    return found


ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": _numbers("divide", lambda a, b: a / b),
    "power": _numbers("power", lambda a, b: a**b),
    "negative": lambda a: -a,
    "exp": torch.exp,
    "log": _numbers("log", torch.log),
    "sqrt": _numbers("sqrt", torch.sqrt),
    "square": lambda a: a * a,
    "abs": torch.abs,
    "softplus": lambda a: torch.logaddexp(a, torch.zeros_like(a)),
    "sigmoid": lambda a: 1 / (1 + torch.exp(-a)),
    "tanh": torch.tanh,
    "relu": lambda a: a.clamp(min=0),
    "detach": lambda a: a.detach(),
    "equal": lambda a, b: (a == b).double(),
    "less": lambda a, b: (a < b).double(),
}

# over axis 0 of the stacked values, which is not empty
REDUCE: dict[str, Callable[[Tensor, int], Tensor]] = {
    "sum": lambda a, axis: a.sum(axis),
    "mean": lambda a, axis: a.sum(axis) / a.shape[axis],
    "max": lambda a, axis: a.amax(axis),
    "min": lambda a, axis: a.amin(axis),
    "prod": lambda a, axis: a.prod(axis),
    "logsumexp": lambda a, axis: torch.logsumexp(a, axis),
}

NORMALISE: dict[str, Callable[[Tensor, int], Tensor]] = {
    "softmax": lambda a, axis: torch.exp(a - torch.logsumexp(a, axis, keepdim=True)),
    "log_softmax": lambda a, axis: a - torch.logsumexp(a, axis, keepdim=True),
}


def item_by_item(function: Callable[..., Value], args: tuple[Value, ...]) -> Value:
    """function(*args), for each item of the stretch among the arguments where there is one."""
    shape = next((a for a in args if isinstance(a, StretchValue)), None)
    if shape is None:
        return function(*args)
    columns = [a.items if isinstance(a, StretchValue) else (a,) * len(shape.items) for a in args]
    return StretchValue(
        tuple(function(*row) for row in zip(*columns, strict=True)), shape.plate, shape.reach, shape.start
    )


def stacked(values: list[Value], shape: tuple[int, ...]) -> Tensor:
    """The values of a plate's sites as a new first axis; `shape` is that of one site, for a plate without sites."""
    if not values:
        return torch.zeros((0, *shape), dtype=torch.float64)
    return torch.stack([number(v).expand(shape) for v in values])


OVER_NOTHING = {"prod": 1.0, "logsumexp": torch.finfo(torch.float64).min / 4}  # by convention; log 0 is kept finite


def reduce(name: str, values: Tensor, axis: int) -> Tensor:
    """The reduction along `axis`; over nothing it is what OVER_NOTHING says, else 0."""
    if values.shape[axis] == 0:
        return torch.full_like(values.sum(axis), OVER_NOTHING.get(name, 0.0))
    return REDUCE[name](values, axis)


def concat(*parts: Value) -> Tensor:
    values = [number(p) for p in parts]
    lead = torch.broadcast_shapes(*(v.shape[:-1] for v in values))
    return torch.cat([v.expand(*lead, v.shape[-1]) for v in values], -1)


def dot(a: Value, b: Value) -> Tensor:
    return (number(a) * number(b)).sum(-1)


def matmul(matrix: Value, vector: Value) -> Tensor:
    return (number(matrix) * number(vector).unsqueeze(-2)).sum(-1)


def ordered(free: Value) -> Tensor:
    values = list(number(free).unbind(-1))
    for i in range(1, len(values)):
        values[i] = values[i - 1] + ELEMENTWISE["softplus"](values[i])
    return torch.stack(values, -1)


def ordered_logits(eta: Value, cutpoints: Value) -> Tensor:
    """The logarithm of the logistic distribution's mass between two cutpoints, taken from the tail that they are nearer to."""
    sigmoid, cuts = ELEMENTWISE["sigmoid"], list(number(cutpoints).unbind(-1))
    below = [cut - number(eta) for cut in cuts]
    found = [sigmoid(below[0])]
    for a, b in zip(below, below[1:], strict=False):
        found.append(torch.where(a + b > 0, sigmoid(-a) - sigmoid(-b), sigmoid(b) - sigmoid(a)))
    return torch.log(torch.stack([*found, sigmoid(-below[-1])], -1))


def one_hot(index: Value, size: int) -> Tensor:
    """Axis of `size` at the end; what stands before the first site is all zeros."""
    assert not isinstance(index, StretchValue)
    hot = torch.zeros((*index.shape, size), dtype=torch.float64)
    return hot.scatter(-1, index.long().unsqueeze(-1), 1.0) if isinstance(index, Tensor) else hot
