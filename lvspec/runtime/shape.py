"""Broadcasting helpers: joining, picking and masking tensors whose leading axes differ."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lvspec.runtime.batch import along, masked_max
from lvspec.runtime.semiring import OneChain, TemperedSemiring, may_look, tempered


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
    return ((index.unsqueeze(-1) if isinstance(index, Tensor) else index) == classes).to(like.dtype)


def pick(base: Tensor, index: Tensor, event: int) -> Tensor:
    """base[..., index, event axes]: base (*A, N, *E), index (*A) -> (*A, *E); A broadcasts."""
    at = base.dim() - event - 1
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
    parts = (general.narrow(dim, 0, min(site, general.shape[dim])), *(_tail(x, dim, site) for x in (first, general)))
    return torch.cat([parts[0], parts[1][0], parts[2][1]], dim)


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


def real_sites(x: Tensor, mask: Tensor) -> Tensor:
    """x where the site is real, 0 elsewhere; `mask` is broadcastable to x."""
    if may_look(x):
        product = x * mask  # a fraction of a choice's cost, and it keeps x's layout
        if math.isfinite(float(product.detach().sum())):  # -inf * 0 is what could go wrong
            return product
    return torch.where(mask, x, 0.0)


def one_elsewhere(x: Tensor, mask: Tensor) -> Tensor:
    """x where the site is real, 1 elsewhere, where functions of it have a value and a slope; `mask` is broadcastable to x."""
    return torch.where(mask, x, 1.0)


def where_mass(log_q: Tensor, log_ratio: Tensor) -> Tensor:
    """log q - log p where q has mass, else 0: no expectation under q looks there, and -inf - -inf is no number."""
    return torch.where(log_q == -torch.inf, 0.0, log_ratio)


def given_table(log_q: Tensor, observed: Tensor, value: Tensor) -> Tensor:
    """log q along the last axis, with all mass on the value where it is observed."""
    chosen = torch.arange(log_q.shape[-1], device=log_q.device) == value.unsqueeze(-1)
    return torch.where(observed.unsqueeze(-1), torch.where(chosen, 0.0, -torch.inf).to(log_q.dtype), log_q)


def evidence(batch: dict, like: Tensor, **sizes: int) -> dict[str, Tensor]:
    """Latents that the batch gives: log one-hot of the value where it is observed, 0 where it is not."""
    tilt = {}
    for name, size in sizes.items():
        if name not in batch:
            continue
        value = batch[name]
        observed = batch.get(f"{name}_observed", torch.ones_like(value, dtype=torch.bool))
        allowed = torch.arange(size, device=value.device) == value.unsqueeze(-1)
        forbidden = observed.unsqueeze(-1) & ~allowed
        tilt[name] = torch.zeros(allowed.shape, dtype=like.dtype, device=value.device).masked_fill(
            forbidden, -torch.inf
        )
    return tilt


def asked(tilt: dict[str, Tensor], ask: dict[str, Tensor] | None) -> dict[str, Tensor]:
    """What is known of latents, with what is asked about them added."""
    return (
        {n: tilt.get(n, 0.0) + more for n, more in ask.items()} | {n: t for n, t in tilt.items() if n not in ask}
        if ask
        else tilt
    )


def masked_softmax(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """softmax over the real sites of axis `dim`; 0 at the others, and everywhere where there are none."""
    return torch.where(along(mask, x, dim), masked_log_softmax(x, mask, dim), -torch.inf).exp()


def masked_log_softmax(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """log softmax over the real sites of axis `dim`; 0 at the others."""
    here = along(mask, x, dim)
    return torch.where(here, torch.where(here, x, torch.finfo(x.dtype).min / 4).log_softmax(dim), 0.0)


def masked_logsumexp(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """log Σ exp over the real sites; a very negative finite number where there are none."""
    return torch.where(along(mask, x, dim), x, torch.finfo(x.dtype).min / 4).logsumexp(dim)


def masked_min(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """The least value over the real sites; 0 where there are none."""
    return -masked_max(-x, mask, dim)


def masked_prod(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """The product over the real sites; 1 where there are none."""
    return torch.where(along(mask, x, dim), x, 1.0).prod(dim)


def batch_rows(batch: dict) -> int:
    """How many examples a prepared batch has."""
    return batch["rows"].shape[0]


def spread(x: Tensor | float, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """x repeated to at least `shape`, without copying; a number takes dtype and device of `like`."""
    x = torch.as_tensor(x, dtype=None if isinstance(x, Tensor) else like.dtype, device=like.device)
    return x.expand(torch.broadcast_shapes(x.shape, shape))


def repeat(samples: int, x: Tensor) -> Tensor:
    """`samples` copies along a new first axis, without copying."""
    return x.expand(samples, *x.shape)


def expectation(log_q: Tensor, cost: Tensor, dim: int) -> Tensor:
    """E_q[cost] = Σ q·cost along `dim` (counted from the end), 0 where q is 0 whatever the cost is there."""
    return average(log_q.exp(), cost, dim)


def is_known(batch: dict, name: str, sites: tuple[int, ...], like: Tensor) -> Tensor:
    """1 where the batch gives a latent, else 0: (B, *sites), with these extents where it gives none at all."""
    if name in batch:
        return batch[f"{name}_observed"].to(like.dtype)
    return like.expand(batch_rows(batch), *sites)


def average(q: Tensor, cost: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """E_q[cost] = Σ q·cost over axes (counted from the end), q as probabilities; 0 where q is 0 whatever the cost is. A cost
    that is infinite says so, and moves no q: the gradients of other examples stay numbers."""
    cost = torch.where(q > 0, cost, 0.0)
    return (torch.where(cost.isinf(), q.detach(), q) * cost).sum(dim)


def label_evidence(batch: dict, name: str, size: int, axes: int, like: Tensor) -> Tensor:
    """What the batch says of a latent's labels, as log-factors (B, sites, K): -inf for labels that are not the given
    ones; zeros (1, ..., K) of as many axes, where it says nothing. axes: those before the labels."""
    found = evidence(batch, like, **{name: size})
    return found[name] if name in found else like.expand(*[1] * axes, size)


def later_sum(x: Tensor, dim: int) -> Tensor:
    """Σ_{t' ≥ t} x_{t'}: what lies downstream of site t along an ordered plate."""
    return x.flip(dim).cumsum(dim).flip(dim)


def bernoulli_table(logits: Tensor) -> Tensor:
    """(log p(0), log p(1)) along a new last axis."""
    return torch.stack([-torch.nn.functional.softplus(logits), -torch.nn.functional.softplus(-logits)], -1)


def pin_first(x: Tensor, size: int) -> Tensor:
    """A new last axis of `size` states, all mass on state 0: the state of a site before the first one."""
    rest = torch.full((*x.shape, size - 1), -torch.inf, dtype=x.dtype, device=x.device)
    return torch.cat([x.unsqueeze(-1), rest], -1)


def merge_lead(x: Tensor, lead: tuple[int, ...]) -> Tensor:
    """Leading axes, broadcast to `lead`, as one."""
    return x.expand(*lead, *x.shape[len(lead) :]).flatten(0, len(lead) - 1)


def merge_semiring(semiring, lead: tuple[int, ...]):
    """The semiring for merged leading axes: a temperature per example is repeated over the others."""
    if isinstance(semiring, OneChain):
        raise semiring.undefined
    if not isinstance(semiring, TemperedSemiring):
        return semiring
    beta = semiring.beta.reshape(-1, *[1] * (len(lead) - 1))
    return tempered(beta.expand(lead).flatten())


def symbol_scores(table: Tensor, x: Tensor) -> Tensor:
    """table[..., x] for every row of the table: table (*E, V), x (*D) -> (*D, *E)."""
    flat = table.reshape(-1, table.shape[-1]).mT  # (V, E)
    return torch.nn.functional.embedding(x, flat).reshape(*x.shape, *table.shape[:-1])


def categorical_shared(logits: Tensor, x: Tensor) -> Tensor:
    """log softmax(logits)[x] where tables differ over the last axis of x: logits (L, *E, V), x (*D, L) -> (*D, L, *E)."""
    table = logits.log_softmax(-1).movedim(-1, 1)  # (L, V, *E)
    return table[torch.arange(x.shape[-1], device=x.device), x]


def normal_table(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """log N(x; loc, scale²) of every site under every state: x (*D, F), loc and scale (*E, F) -> (*D, *E).

    With one scale for all states the square is expanded, so that the product with all states is one matrix
    product. The expansion cancels badly where standardised values are large: there, and wherever looking would
    have to wait for the device or break a compiled graph, the direct form is taken.
    """
    loc, scale = torch.broadcast_tensors(loc, scale)
    states, features = loc.shape[:-1], loc.shape[-1]
    constant = scale.log().sum(-1) + 0.9189385332046727 * features
    centre = loc.detach().reshape(-1, features).mean(0)
    a, m = (x - centre) / scale.reshape(-1, features)[0], ((loc - centre) / scale).reshape(-1, features)
    if not _expands(a, m, scale):
        spread = x.reshape(*x.shape[:-1], *[1] * len(states), features)
        return -0.5 * ((spread - loc) / scale).square().sum(-1) - constant
    square = a.square().sum(-1, keepdim=True) * 0.5 + (m.square().sum(-1) * 0.5 + constant.reshape(-1))
    return (a @ m.mT - square).reshape(*x.shape[:-1], *states)


def _expands(a: Tensor, m: Tensor, scale: Tensor) -> bool:
    """Whether |a|² - 2 a·m + |m|² is safe: one scale for all states, moderate values."""
    if not may_look(a) or not a.numel():
        return False
    if scale.stride()[:-1].count(0) != scale.dim() - 1 and not (scale == scale.reshape(-1, scale.shape[-1])[0]).all():
        return False
    return bool(m.detach().abs().amax() < 100 and a.detach().abs().amax() < 100)


def until_end(x: Tensor, lengths: Tensor, end: int | None) -> Tensor:
    """Lengths cut behind the first end symbol of each row: x (n, T), lengths (n,); or (n, D, T) and (n, D)."""
    if end is None or not x.shape[-1]:
        return lengths
    ended = x == end
    first = torch.where(ended.any(-1), ended.int().argmax(-1) + 1, lengths)
    return torch.minimum(first, lengths)
