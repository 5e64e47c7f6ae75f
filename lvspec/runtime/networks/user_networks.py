"""A user's own networks, given what the spec says that they read, and held to it.

reads=site     f(x)[n]      of x[n] alone               x (N, *in)    -> (N, *out)
reads=causal   f(x)[n, t]   of x[n, 0], .., x[n, t]     x (N, T, *in) -> (N, T, *out)
reads=whole    f(x)[n, t]   of x[n, 0], .., x[n, T_n - 1], where t < T_n

What stands beyond a length is no site: a network that reads the whole is told the lengths, or a mask, if its `forward` has a parameter
of that name, and else is given examples of one length at a time. Examples are examples: none reads another. Whether both hold is
tried out, at the first call and then ever more rarely: what must not be read is changed, and what comes out has to stay.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from lvspec.runtime.estimators.bounds import Frozen
from lvspec.runtime.networks.declared import reversal

__all__ = ["user_network"]

CALLS: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()  # how often each network was called


class UserNetworkError(ValueError):
    """A user's network is not what the spec says of it."""


def user_network(
    module: nn.Module | Frozen,
    inputs: tuple[Tensor, ...],
    ranks: tuple[int, ...],
    out: tuple[int, ...],
    reads: str = "site",
    lengths: Tensor | None = None,
) -> Tensor:
    """What a user's own network gives: (*lead, *out) at single sites, (*lead, T, *out) where it reads stretches.

    ranks: how many trailing axes of each input the network sees besides the leading one. reads: site, causal, whole, or
    backwards: causal, from each stretch's end. lengths: how many sites count, broadcastable to the leading axes.
    """
    lead = torch.broadcast_shapes(*(x.shape[: x.dim() - r] for x, r in zip(inputs, ranks, strict=True)))
    sites: tuple[int, ...] = () if reads == "site" else (max(x.shape[-r] for x, r in zip(inputs, ranks, strict=True)),)
    own = [tuple(x.shape[x.dim() - r + len(sites) :]) for x, r in zip(inputs, ranks, strict=True)]
    shape = (prod(lead), *sites, *out)
    if prod((*lead, *sites)) == 0:
        return nothing(module, inputs, (*lead, *sites, *out))
    flat = [
        whole_numbers(x).expand(*lead, *sites, *e).reshape(prod(lead), *sites, *e)
        for x, e in zip(inputs, own, strict=True)
    ]
    counts: Any = None if lengths is None else lengths.expand(lead).reshape(-1)
    if reads == "backwards":
        flat = [turned(x, counts) for x in flat]
    if is_due(parts(module)):
        moving = [bool(sites) and x.shape[-r] == sites[0] for x, r in zip(inputs, ranks, strict=True)]
        hold_to(module, reads, flat, moving, shape)
    found = applied(module, reads, flat, counts, shape)
    return (turned(found, counts) if reads == "backwards" else found).reshape(*lead, *sites, *out)


def parts(module: nn.Module | Frozen) -> nn.Module:
    """The user's network itself."""
    return module.module if isinstance(module, Frozen) else module


def whole_numbers(x: Tensor) -> Tensor:
    """Numbers of symbols and states as tables want them; all else as it is."""
    return x if x.is_floating_point() else x.long()


def turned(x: Tensor, lengths: Tensor) -> Tensor:
    """x (N, T, ...) with the real sites of each stretch in opposite order."""
    places = reversal(lengths, x.shape[1])
    return x[torch.arange(len(x), device=x.device).unsqueeze(-1), places]


def nothing(module: nn.Module | Frozen, inputs: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
    """Zeros of what the network gives; their sum with the parameters keeps the graph and the dtype."""
    numbers = [*parts(module).parameters(), *(x for x in inputs if x.is_floating_point())]
    return sum((0 * x.sum() for x in numbers), torch.zeros((), device=inputs[0].device)).expand(shape)


# ---------------------------------------------------------------- one call
def applied(
    module: nn.Module | Frozen, reads: str, inputs: list[Tensor], lengths: Tensor | None, shape: tuple[int, ...]
) -> Tensor:
    """The network's answer, of the given shape, to inputs (N, ...); of a whole, zeros beyond the lengths."""
    if reads != "whole" or lengths is None:
        return checked(module, module(*inputs), shape)
    if told := tells(parts(module)):
        real = torch.arange(shape[1], device=lengths.device) < lengths.unsqueeze(-1)
        known = {"lengths": lengths, "mask": real}
        found = checked(module, module(*inputs, **{name: known[name] for name in told}), shape)
        return torch.where(real.reshape(*real.shape, *[1] * (found.dim() - 2)), found, 0.0)
    return by_length(module, inputs, lengths, shape)


def tells(module: nn.Module) -> list[str]:
    """How the network asks to be told which sites of each example count: lengths (N,), or a mask (N, T), true where they do."""
    return [name for name in ("lengths", "mask") if name in inspect.signature(module.forward).parameters]


def by_length(module: nn.Module | Frozen, inputs: list[Tensor], lengths: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The answer to a whole, examples of one length at a time, so that none has padding."""
    rows, found = [], []
    for n in lengths.unique().tolist():
        chosen = (lengths == n).nonzero()[:, 0]
        size = (len(chosen), n, *shape[2:])
        given = [x[chosen, :n] for x in inputs]
        answer = checked(module, module(*given), size) if n else nothing(module, inputs, size)
        rows.append(chosen)
        found.append(nn.functional.pad(answer, (0, 0) * (len(shape) - 2) + (0, shape[1] - n)))
    return torch.cat(found)[torch.cat(rows).argsort()]


def checked(module: nn.Module | Frozen, found: object, shape: tuple[int, ...]) -> Tensor:
    """What came back, if it has the shape that the spec says."""
    if not isinstance(found, Tensor) or tuple(found.shape) != shape:
        what = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise UserNetworkError(f"{called(module)} gave {what}; the spec says a tensor of shape {shape}")
    return found


def called(module: nn.Module | Frozen) -> str:
    kind = type(parts(module))
    return f"`{kind.__module__}.{kind.__qualname__}`"


# ---------------------------------------------------------------- held to its word
def is_due(module: nn.Module) -> bool:
    """At the first call, the fourth, the sixteenth, ...: all of them together cost less than a step in a hundred."""
    if torch.compiler.is_compiling():
        return False
    CALLS[module] = CALLS.get(module, 0) + 1
    return CALLS[module].bit_count() == 1 and CALLS[module].bit_length() % 2 == 1


def hold_to(
    module: nn.Module | Frozen, reads: str, inputs: list[Tensor], moving: list[bool], shape: tuple[int, ...]
) -> None:
    """A UserNetworkError where what the network gives for the second of three examples changes with the others, with
    sites that it must not read, or where it is told how many count, with what lies beyond.

    moving: which inputs have values of their own at each site.
    """
    extent = shape[1] if reads != "site" else 1
    # of a stretch the first sites are looked at, and the others changed, as far as they must not be read
    kept = (extent + 1) // 2 if reads != "whole" or tells(parts(module)) else extent
    lengths = torch.tensor([extent, kept, extent], device=inputs[0].device) if reads == "whole" else None
    with without_trace(parts(module), inputs[0].device) as anew, torch.no_grad():
        rows = torch.arange(3, device=inputs[0].device) % shape[0]
        before = [x[rows] for x in inputs]
        others = [elsewhere(x, reads != "site" and m) for x, m in zip(inputs, moving, strict=True)]
        mixed = [torch.stack([o[0], b[1], o[2]]) for o, b in zip(others, before, strict=True)]
        later = [
            torch.stack([b[0], torch.cat([b[1][:kept], o[1][kept:]]) if m else b[1], b[2]])
            for b, o, m in zip(before, others, moving, strict=True)
        ]

        def second(given: list[Tensor], training: bool) -> Tensor:
            """What comes out for the second example, at the first sites."""
            anew(training)
            found = applied(module, reads, given, lengths, (3, *shape[1:]))[1]
            return found if reads == "site" else found[:kept]

        for training in (False, True):
            found = second(before, training)
            if differ(found, second(mixed, training)):
                raise UserNetworkError(f"{called(module)} {mixes(parts(module), training)}")
            if kept < extent and differ(found, second(later, training)):
                raise UserNetworkError(f"{called(module)} {FALSE[reads]}")


FALSE = {
    "causal": "is declared reads=causal, but sees the future: what it gives at a site changes with later sites. Mask what lies "
    "ahead of each site (`is_causal=True`), or declare it reads=whole and give it a whole sequence",
    "backwards": "is declared reads=causal, but sees later sites: what it gives at a site changes with them. Mask what lies ahead of "
    "each site, or declare it reads=whole",
    "whole": "reads padding: what it gives changes with what lies beyond the lengths that it is told. Mask what lies beyond them, "
    "or take neither `lengths` nor `mask`: then examples of one length are given at a time",
}


def mixes(module: nn.Module, training: bool) -> str:
    """That it mixes examples, and what might be the cause."""
    batch_norm = nn.modules.batchnorm._BatchNorm
    found = next(((n, type(m).__name__) for n, m in module.named_modules() if isinstance(m, batch_norm)), None)
    told = f"mixes the examples of a batch{' in training' * training}: what it gives for one changes with the others. "
    if training and found is not None:
        part = f"`{found[0]}` is" if found[0] else "It is"
        return f"{told}{part} a {found[1]}, which averages over them; `LayerNorm` and `GroupNorm` do not"
    return f"{told}Its first axis is that of examples (batch_first=True?)"


@contextmanager
def without_trace(module: nn.Module, device: torch.device) -> Iterator[Callable[[bool], None]]:
    """Tries that leave the network, its buffers and the numbers that torch draws as they were. What is given begins one, in training or
    not: from the same buffers, with the same numbers to be drawn."""
    modes = {part: part.training for part in module.modules()}
    buffers = {buffer: buffer.clone() for buffer in module.buffers()}

    def anew(training: bool) -> None:
        module.train(training)
        torch.manual_seed(0)
        with torch.no_grad():
            for buffer, value in buffers.items():
                if not torch.equal(buffer, value):  # others may be what a graph still needs
                    buffer.copy_(value)

    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield anew
        finally:
            anew(False)
            for part, training in modes.items():
                part.training = training


def elsewhere(x: Tensor, sites: bool) -> Tensor:
    """Three other examples, made of the values that x (N, ...) has elsewhere, real ones a little smaller."""
    axes = 2 if sites else 1
    shape = (3, *x.shape[1:])
    values = x.reshape(-1, *x.shape[axes:])
    torch.manual_seed(1)
    drawn = values[torch.randint(len(values), (prod(shape[:axes]),)).to(x.device)].reshape(shape)
    return drawn * (0.5 + 0.5 * torch.rand(shape).to(x)) if x.is_floating_point() else drawn


def differ(a: Tensor, b: Tensor) -> bool:
    """Whether they do by more than arithmetic in another order."""
    tolerance = torch.finfo(a.dtype).eps ** 0.5 if a.is_floating_point() else 0
    return not torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
