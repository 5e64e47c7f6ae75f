"""What a batch says of latents: evidence as log-factors, and expectations that respect it."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.batch import batch_rows
from lvspec.runtime.core.semiring import may_look


def with_given(log_q: Tensor, observed: Tensor, value: Tensor) -> Tensor:
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


def is_known(batch: dict, name: str, sites: tuple[int, ...], like: Tensor) -> Tensor:
    """1 where the batch gives a latent, else 0: (B, *sites), with these extents where it gives none at all."""
    if name in batch:
        return batch[f"{name}_observed"].to(like.dtype)
    return like.expand(batch_rows(batch), *sites)


def all_known(batch: dict, *names: str) -> bool:
    """Whether a prepared batch gives latents for all examples; False where looking would wait."""
    told = [batch.get(f"{name}_observed") for name in names]
    return all(x is not None and may_look(x) and bool(x.all()) for x in told)


def label_evidence(batch: dict, name: str, size: int, axes: int, like: Tensor) -> Tensor:
    """What the batch says of a latent's labels, as log-factors (B, sites, K): -inf for labels that are not the given
    ones; zeros (1, ..., K) of as many axes, where it says nothing. axes: those before the labels."""
    found = evidence(batch, like, **{name: size})
    return found[name] if name in found else like.expand(*[1] * axes, size)
