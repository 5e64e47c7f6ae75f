"""Semi-amortized inference: parameters of q after some steps up the bound from where an encoder puts them.

    λ_0 = encoder(x), λ_(k+1) = λ_k + rate ∇_λ bound(λ_k; x)            positive parameters by their logarithm
The bound at λ_K is what is trained, and its gradient passes through all steps: to the encoder, and to the model once more by
the way that λ_K depends on it. Kim, Wiseman, Miller, Sontag & Rush 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lvspec.runtime.core.batch import BadBatch

__all__ = ["refine"]

QParameters = dict[str, tuple[Tensor, ...]]  # of each latent's q, (B, sites, event) each


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Recurrent networks without cuDNN, and attention without its fused kernels: neither has second derivatives."""
    with torch.backends.cudnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
        yield


def refine(
    step: Callable[[QParameters, dict], Any],
    start: QParameters,
    positive: dict[str, tuple[bool, ...]],
    draws: dict,
    steps: int,
    rate: float,
) -> QParameters:
    """λ_K. step(parameters, draws): the objective of a batch, whose loss is the mean over examples; each climbs its own bound.

    draws: base noise of every step, `z.steps` (K, S, B, ...), where it is fixed; BadBatch where it is not of K of them. An example
    that is impossible under a step's draws has no way up there and stays where it is. Without gradients around it, the steps are
    taken all the same, and nothing is kept of them.
    """
    fixed = {n: d for n, d in draws.items() if n.endswith(".steps")}
    for n, d in fixed.items():
        if not isinstance(d, Tensor) or not d.dim() or len(d) != steps:
            found = f"shape {tuple(d.shape)}" if isinstance(d, Tensor) else type(d).__name__
            raise BadBatch(f"`draws` has {found} for `{n}`, expected (steps, S, B, ...) with {steps} steps")
    names = [(n, i) for n, values in start.items() for i in range(len(values))]
    kept = torch.is_grad_enabled()

    def parameters(free: list[Tensor]) -> QParameters:
        found: dict[str, list[Tensor]] = {n: [] for n in start}
        for (n, i), v in zip(names, free, strict=True):
            found[n].append(v.exp() if positive[n][i] else v)
        return {n: tuple(values) for n, values in found.items()}

    with torch.enable_grad(), twice_differentiable() if kept else nullcontext():
        free = [start[n][i].log() if positive[n][i] else start[n][i] for n, i in names]
        for k in range(steps):
            free = [v if kept and v.requires_grad else v.detach().requires_grad_() for v in free]
            objective = step(parameters(free), {n.removesuffix(".steps"): d[k] for n, d in fixed.items()})
            total = -objective.loss * objective.elbo.shape[0]
            slopes = torch.autograd.grad(total, free, create_graph=kept, allow_unused=True, materialize_grads=True)
            stays = [~objective.elbo.isfinite().reshape(-1, *[1] * (v.dim() - 1)) for v in free]
            steps_up = (rate * slope.masked_fill(mask, 0) for slope, mask in zip(slopes, stays, strict=True))
            free = [v + up for v, up in zip(free, steps_up, strict=True)]
        last = parameters(free)
    return last if kept else {n: tuple(v.detach() for v in values) for n, values in last.items()}
