"""What a model's forward gives, and the weights that depend on the step."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor

STILL = 6  # losses at one step: some loops add up the gradients of a few batches


@dataclass
class Objective:
    """loss: scalar, what is minimised. log_prob (B,) where the plan is exact, else elbo (B,), never weighted, equal to
    reconstruction - sum of kl, the reconstruction being the sum of log_p where several nodes are observed; log_joint (B,), log p(x, z), where latents have point estimates; objective (B,), what is
    maximised, where nothing is observed and there is no bound of anything. extras: terms of the objective and diagnostics by
    name. factors: q of a mean field that was found on the way."""

    loss: Tensor
    log_prob: Tensor | None = None
    elbo: Tensor | None = None
    log_joint: Tensor | None = None
    objective: Tensor | None = None
    reconstruction: Tensor | None = None
    kl: dict[str, Tensor] = field(default_factory=dict)
    log_p: dict[str, Tensor] = field(default_factory=dict)
    extras: dict[str, Tensor] = field(default_factory=dict)
    factors: dict[str, object] = field(default_factory=dict)


def free_bits(kl: Tensor, nats: float, weight: Tensor | None = None) -> Tensor:
    """Σ_i max(nats, mean over the batch of KL_i), a scalar: below `nats` a unit's KL has no gradient (Kingma et al. 2016).

    kl: (B,), one unit, or (B, D), D units. weight: (B,), of the examples."""
    share = torch.ones_like(kl[..., 0] if kl.dim() > 1 else kl) if weight is None else weight
    share = share / share.sum().clamp_min(torch.finfo(kl.dtype).tiny)
    share = share.reshape(-1, *[1] * (kl.dim() - 1))
    mean = torch.where(share == 0, 0.0, kl * share).sum(0)
    return mean.clamp_min(nats).sum()


def paid(weight: Tensor | float, kl: Tensor) -> Tensor:
    """weight · KL; infinite where the KL is, whatever the weight: what is impossible has no bound to be traded."""
    return torch.where(kl.isinf(), kl, weight * kl)


def ask_for_steps(step: Tensor) -> None:
    """Says once that nobody advances the step that a schedule follows: STILL losses with a gradient, and nothing was ever written
    to it. What it holds is not looked at, so that a GPU is not waited for."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled() or step.is_inference() or step._version:
        return
    losses = getattr(step, "losses", 0) + 1
    setattr(step, "losses", losses)  # noqa: B010  # an attribute that tensors do not declare
    if losses == STILL:
        warnings.warn(
            "a schedule follows `model.step`, which nothing advances: after each step of the optimiser, `model.step += 1`",
            stacklevel=3,
        )


def linear(step: Tensor, a: float, b: float, steps: float) -> Tensor:
    """From a at step 0 to b at `steps`, then b."""
    ask_for_steps(step)
    return a + (b - a) * (step.double() / max(steps, 1)).clamp(0.0, 1.0)


def cyclical(step: Tensor, a: float, b: float, period: float) -> Tensor:
    """Again and again: from a to b over the first half of a period, b over the second (Fu et al. 2019)."""
    ask_for_steps(step)
    phase = torch.remainder(step, period).double() / max(period, 1)
    return a + (b - a) * (2 * phase).clamp(0.0, 1.0)
