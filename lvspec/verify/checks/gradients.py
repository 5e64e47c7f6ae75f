"""Gradients of a batch, found and expected, where some of its examples may be impossible."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.verify.checks.subject import Subject
from lvspec.verify.report import Check, gradient_error

VALUE, GRADIENT = 1e-9, 1e-8


def gradient_check(
    subject: Subject, about: str, losses: tuple[Tensor, Tensor], rows: tuple[Tensor, list[Tensor]]
) -> Check:
    """The gradient of the loss, found and expected; where some examples are impossible, that of the others' values: of the
    oracle's rows these alone are added, of the module's an impossible one must not spoil the others, nor the loss. A row that
    is no number at all is not one of probability 0: such a loss has no gradient, there or here."""
    possible = [bool(r.isfinite()) for r in rows[1]]
    if all(possible) or any(bool(r.isnan()) for r in rows[1]):
        found, expected = map(subject.gradients, losses)
        return Check(f"gradient of the loss{about}", gradient_error(found, expected), GRADIENT)
    found = subject.gradients(rows[0][torch.tensor(possible)].sum())
    none = torch.zeros((), dtype=torch.float64)
    expected = subject.gradients(sum((r for r, is_so in zip(rows[1], possible, strict=True) if is_so), none))
    error = gradient_error(found, expected)
    if not are_finite(subject.gradients(losses[0])):
        error += torch.inf if any(possible) else torch.nan  # where none is possible, nothing is there to be spoilt
    return Check(f"gradient of what is possible{about}", error, GRADIENT)


def are_finite(gradients: list[Tensor | None]) -> bool:
    """Whether they are made of numbers."""
    return all(bool(g.isfinite().all()) for g in gradients if g is not None)


def scored(subject: Subject) -> list[str]:
    """The latents whose gradient is a score function's."""
    return list(subject.plan.scored)
