"""Broadcasting helpers: joining, picking and masking tensors whose leading axes differ."""

from __future__ import annotations

import torch
from torch import Tensor


def concat(*parts: Tensor) -> Tensor:
    """[a; b; ...] along the last axis; leading axes broadcast."""
    lead = torch.broadcast_shapes(*(p.shape[:-1] for p in parts))
    return torch.cat([p.expand(*lead, p.shape[-1]) for p in parts], -1)


def chosen(index: Tensor, size: int) -> Tensor:
    """Which of `size` sites an index names: (..., size)."""
    return index.unsqueeze(-1) == torch.arange(size, device=index.device)


def stack(parts: list[Tensor], dim: int) -> Tensor:
    """The parts as a new axis; they broadcast against each other first."""
    return torch.stack(torch.broadcast_tensors(*parts), dim)


def stack_sites(sites: list[Tensor], dim: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Tensors of `shape`, one a site, along a new axis; an empty one, of the dtype of `like`, where there is no site."""
    return torch.stack(sites, dim) if sites else like.new_zeros((*shape[:dim], 0, *shape[dim:]))


def one_hot(index: Tensor | int, size: int, like: Tensor) -> Tensor:
    """e_index: index (...) int64, or a number -> (..., size) in the dtype of `like`."""
    classes = torch.arange(size, device=like.device)
    return (classes == (index.unsqueeze(-1) if isinstance(index, Tensor) else index)).to(like.dtype)


def pick(base: Tensor, index: Tensor, dim: int) -> Tensor:
    """The entry that `index` names along dim, counted from the end: base (*A, N, *E), index (*A) -> (*A, *E); A broadcasts."""
    event = -dim - 1
    at = base.dim() + dim
    lead = torch.broadcast_shapes(base.shape[:at], index.shape)
    base = base.expand(*lead, *base.shape[at:])
    tail = base.shape[len(lead) + 1 :]
    where = index.expand(lead).reshape(*lead, 1, *[1] * event).expand(*lead, 1, *tail)
    return base.gather(len(lead), where).squeeze(len(lead))


def replace_site(general: Tensor, first: Tensor, dim: int, site: int, sites: int | None = None) -> Tensor:
    """`general` with site number `site` along axis `dim` (counted from the end) taken from `first`; `sites` is how
    many there are, where neither has them."""
    general, first = torch.broadcast_tensors(*_same_rank(general, first, -dim))
    if sites is not None:
        shape = [*general.shape]
        shape[dim] = sites
        general, first = general.expand(shape), first.expand(shape)
    before = general.narrow(dim, 0, min(site, general.shape[dim]))
    return torch.cat([before, _tail(first, dim, site)[0], _tail(general, dim, site)[1]], dim)


def _same_rank(a: Tensor, b: Tensor, least: int) -> tuple[Tensor, Tensor]:
    rank = max(a.dim(), b.dim(), least)
    return a.reshape(*[1] * (rank - a.dim()), *a.shape), b.reshape(*[1] * (rank - b.dim()), *b.shape)


def _tail(x: Tensor, dim: int, site: int) -> tuple[Tensor, Tensor]:
    """Site `site` (empty where there is none) and what follows it."""
    extent = x.shape[dim]
    here, after = min(site, extent), min(site + 1, extent)
    return x.narrow(dim, here, after - here), x.narrow(dim, after, extent - after)


def first_site(x: Tensor, dim: int) -> Tensor:
    """Site 0 along `dim`; zeros where there are no sites at all."""
    return x.narrow(dim, 0, min(1, x.shape[dim])).sum(dim)


def spread(x: Tensor | float, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """x repeated to at least `shape`, without copying; a number takes dtype and device of `like`."""
    x = torch.as_tensor(x, dtype=None if isinstance(x, Tensor) else like.dtype, device=like.device)
    return x.expand(torch.broadcast_shapes(x.shape, shape))


def repeat(samples: int, x: Tensor) -> Tensor:
    """`samples` copies along a new first axis, without copying."""
    return x.expand(samples, *x.shape)


def pin_first(x: Tensor, size: int) -> Tensor:
    """A new last axis of `size` states, all mass on state 0: the state of a site before the first one."""
    rest = torch.full((*x.shape, size - 1), -torch.inf, dtype=x.dtype, device=x.device)
    return torch.cat([x.unsqueeze(-1), rest], -1)


def merge_lead(x: Tensor, lead: tuple[int, ...]) -> Tensor:
    """Leading axes, broadcast to `lead`, as one."""
    return x.expand(*lead, *x.shape[len(lead) :]).flatten(0, len(lead) - 1)
