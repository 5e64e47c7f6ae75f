"""Where a value came from: the inverse of a map whose entries rise.

    z with f(z) = value,    f(z)_d rises with z_d and reads, beside it, entries that come before d in some order

Newton's method first. Between the knots of a spline it can run in a circle; then the entries are found one after the other, each
between two numbers that come closer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]  # (D,) -> (D,)

NEWTON = 60  # rounds; affine steps need as many as there are entries
HALVINGS = 8  # of a step that would lead away
CLOSE = 1e-13
FAR = 40  # bits: entries are looked for between -2^40 and 2^40
POINTS, ROUNDS = 33, 8  # of a search: 32^8 is 10^12


def solve(move: Map, value: Tensor) -> Tensor:
    """The z with move(z) = value. Of a step from there, by the slopes that are there, the numbers are the solution's and so are
    the first derivatives (the implicit function's); of the second step the second ones too, which steps of a refined guide ask
    for."""
    with torch.no_grad():
        z, left, slopes = newton(move, value)
        if unseen(left) or not left < CLOSE:
            z = torch.where(left < CLOSE, z, search(move, value))
            _, slopes = with_slopes(move, z)
    for _ in range(2 if torch.is_grad_enabled() else 1):
        z = z - torch.linalg.solve(slopes, move(z) - value)
    return z


def newton(move: Map, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """z after damped Newton steps, Σ_d |move(z)_d - value_d| as a share of 1 + Σ_d |value_d|, and the slopes at z."""
    z, size = value, 1 + value.abs().sum()
    found, slopes = with_slopes(move, z)
    left = (found - value).abs().sum() / size
    for _ in range(NEWTON):
        if not unseen(left) and left < CLOSE:
            break
        step = torch.linalg.solve(slopes, found - value)
        whole, before = z - step, left
        found, slopes = with_slopes(move, whole)
        left = (found - value).abs().sum() / size
        if not unseen(left) and left < before / 2:
            z = whole
            continue
        tried = torch.stack([z - step / 2**k for k in range(HALVINGS)])
        gaps = (torch.func.vmap(move)(tried) - value).abs().sum(-1)
        z = (tried * torch.nn.functional.one_hot(gaps.argmin(), HALVINGS).to(z.dtype)[:, None]).sum(0)
        found, slopes = with_slopes(move, z)
        left = (found - value).abs().sum() / size
    return z, left, slopes


def with_slopes(move: Map, z: Tensor) -> tuple[Tensor, Tensor]:
    """move(z) (D,) and its Jacobian (D, D), a function of all that the map is one of, unless no gradient is asked for."""
    if torch._C._functorch.peek_interpreter_stack() is not None:  # in a transform only transforms differentiate
        return move(z), torch.func.jacrev(move)(z)
    onwards = torch.is_grad_enabled()
    with torch.enable_grad():
        at = z if z.requires_grad else z.detach().requires_grad_()
        found = move(at)
        gradient = partial(torch.autograd.grad, create_graph=onwards, retain_graph=True, materialize_grads=True)
        slopes = torch.stack([gradient(f, at)[0] for f in found])
    return (found, slopes) if onwards else (found.detach(), slopes)


def unseen(value: Tensor) -> bool:
    """Whether it is found at many points of noise at once, so that nobody can look."""
    return torch._C._functorch.is_batchedtensor(value)


def search(move: Map, value: Tensor) -> Tensor:
    """z to about twelve digits. The order of the entries is not known: after k sweeps the first k of them are right."""
    z = torch.zeros_like(value)
    for _ in value:
        z = torch.stack([_entry(move, value, z, d) for d in range(len(value))])
    return z


def _entry(move: Map, value: Tensor, z: Tensor, d: int) -> Tensor:
    """The t with move(z, but t at d)_d = value_d."""
    here = torch.nn.functional.one_hot(torch.tensor(d), len(value)).to(value.dtype)
    far = 2.0 ** torch.arange(-2, FAR + 1, dtype=value.dtype)
    points = torch.cat([-far.flip(0), torch.zeros(1, dtype=value.dtype), far])
    share = torch.linspace(0, 1, POINTS, dtype=value.dtype)
    for _ in range(ROUNDS + 1):
        found = torch.func.vmap(lambda t: (move(torch.where(here > 0, t, z)) * here).sum())(points)
        below = found <= (value * here).sum()
        low = torch.where(below, points, points.amin()).amax()
        high = torch.where(below, points.amax(), points).amin()
        points = low + (high - low) * share
    return points[POINTS // 2]
