"""When a number stops being one: which term or parameter was the first."""

from __future__ import annotations

import torch
from torch import nn

from lvspec.train.score import parts, per_example


def blame(model: nn.Module, objective, step: int) -> str:
    """One sentence for a non-finite loss or gradient at a step."""
    found = _parameter(model, "parameter") or _term(objective) or _gradient(model)
    return f"step {step}: {found or 'the loss is not finite'}"


def _term(objective) -> str:
    kind, value = per_example(objective)
    for name, term in (
        *parts(objective).items(),
        ({"exact": "log p(x)", "bound": "the ELBO", "objective": "the objective"}.get(kind, "log p(x, z)"), value),
    ):
        bad = ~torch.isfinite(term)
        if bad.any():
            row = int(bad.nonzero()[0, 0])
            return f"{name} is {term[row].item()} at row {row} of the batch"
    return "" if torch.isfinite(objective.loss) else f"the loss is {objective.loss.item()}"


def _parameter(model: nn.Module, what: str) -> str:
    bad = next((n for n, p in model.named_parameters() if not torch.isfinite(p).all()), None)
    return f"{what} {bad} is not finite" if bad else ""


def _gradient(model: nn.Module) -> str:
    graded = ((n, p.grad) for n, p in model.named_parameters() if p.grad is not None)
    bad = next((n for n, g in graded if not torch.isfinite(g).all()), None)
    return f"the gradient of {bad} is not finite" if bad else ""
