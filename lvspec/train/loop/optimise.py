"""The optimiser, the learning rate at a step, and the gradient's norm."""

from __future__ import annotations

import math

import torch
from torch import nn

from lvspec.emitted import EmittedModel
from lvspec.train.settings import TrainSettings

PLATEAU_FACTOR = 0.5
PLATEAU_PATIENCE = 2  # validations without improvement before the rate is halved


def make_optimizer(model: EmittedModel, settings: TrainSettings) -> torch.optim.Optimizer:
    parameters: list[torch.Tensor] = [p for p in model.parameters() if p.requires_grad] or [
        torch.zeros((), requires_grad=True)
    ]
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=settings.momentum, weight_decay=decay)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=rate, weight_decay=decay)


def _constant(share: float) -> float:
    return 1.0


def _linear(share: float) -> float:
    return 1.0 - share


def _cosine(share: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * share))


SCHEDULES = {"constant": _constant, "plateau": _constant, "linear": _linear, "cosine": _cosine}


def rate_factor(settings: TrainSettings, step: int, total: int) -> float:
    """What the learning rate is multiplied by at `step` of `total` (steps count from 0)."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    share = min(1.0, (step - settings.warmup) / max(1, total - settings.warmup))
    return SCHEDULES[settings.schedule](share)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def gradient_norm(model: EmittedModel) -> torch.Tensor:
    """The Euclidean norm of all gradients together."""
    return nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])


def clip_gradient(model: EmittedModel, norm: torch.Tensor, limit: float) -> None:
    """Scale the gradient down to `limit` where its norm is larger; 0 is no limit."""
    if limit > 0:
        nn.utils.clip_grads_with_norm_(model.parameters(), limit, norm)
