"""Mean bound or log-likelihood of a data set under a model, nothing random left to chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from lvspec.errors import TrainingError
from lvspec.train.batches import collate, on_device, sorted_order
from lvspec.train.dataset import Dataset
from lvspec.train.settings import TrainSettings
from lvspec.train.trace import Generators, Taken

EVALUATION_SEED = 20_241  # draws of an evaluation are the same each time, so that two epochs can be compared


@dataclass(frozen=True)
class Score:
    """Means per example, in nats. kind: exact | bound | joint | objective. parts: reconstruction, kl.<latent> where the objective
    has them; the terms of an objective that is no bound. each: the value of every example, in the order of `sorted_order`."""

    value: float
    kind: str
    parts: Mapping[str, float]
    examples: int
    each: torch.Tensor | None = None


def prepared(model: nn.Module, batch: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """A batch on the device, with what the module adds from host-side lengths."""
    prepare = getattr(model, "prepare", None)
    return on_device(prepare(batch) if prepare else batch, device)


def held_out(model: nn.Module, batch: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """A prepared batch whose examples need not be those of the training data: free parameters of theirs are fitted."""
    batch = prepared(model, batch, device)
    return model.fit_rows(batch) if hasattr(model, "fit_rows") else batch


def per_example(objective) -> tuple[str, torch.Tensor]:
    """(kind, (B,)): log p(x) where it is exact, the objective where nothing is observed, else the bound, else log p(x, z) of a
    point estimate."""
    for kind, name in (("exact", "log_prob"), ("objective", "objective"), ("bound", "elbo"), ("joint", "log_joint")):
        value = getattr(objective, name, None)
        if value is not None:
            return kind, value
    raise TrainingError("the module's objective has neither log_prob nor elbo")


def parts(objective) -> dict[str, torch.Tensor]:
    """reconstruction and the KL of each latent, (B,) each, where the objective is a bound; else its terms, if it has some."""
    if getattr(objective, "objective", None) is not None:
        return dict(objective.extras)
    found = {}
    if getattr(objective, "elbo", None) is not None and getattr(objective, "reconstruction", None) is not None:
        found["reconstruction"] = objective.reconstruction
    for name, value in (getattr(objective, "log_p", None) or {}).items():
        found[f"reconstruction.{name}"] = value
    for name, value in (getattr(objective, "kl", None) or {}).items():
        found[f"kl.{name}"] = value
    return found


def scored(
    model: nn.Module,
    dataset: Dataset,
    settings: TrainSettings,
    device: torch.device,
    compiled: object = None,
    part: str = "validation",
) -> Iterator[tuple[Taken, object]]:
    """Every batch as a step, with its objective, in evaluation mode and at draws that are the same each time; the random
    generators are left as they were."""
    was_training = model.training
    model.eval()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(EVALUATION_SEED)
        for rows in sorted_order(dataset, settings):
            batch = held_out(model, collate(dataset, rows), device)
            step = Taken(model, compiled, batch, Generators(device), rows, part)
            yield step, model(batch)
    model.train(was_training)


@torch.no_grad()
def score(model: nn.Module, dataset: Dataset, settings: TrainSettings, device: torch.device) -> Score:
    """The mean over all examples; the training run's random generators are left as they were."""
    if not len(dataset):
        raise TrainingError("no example to score")
    totals: dict[str, float] = {}
    kind, each = "exact", []
    for _, objective in scored(model, dataset, settings, device):
        kind, values = per_example(objective)
        each.append(values.double().cpu())
        for name, value in parts(objective).items():
            totals[name] = totals.get(name, 0.0) + value.double().sum().item()
    n = len(dataset)
    parts_of = {name: value / n for name, value in totals.items()}
    return Score(torch.cat(each).sum().item() / n, kind, parts_of, n, torch.cat(each))


@torch.no_grad()
def first_not_finite(
    model: nn.Module, compiled, dataset: Dataset, settings: TrainSettings, device: torch.device, part: str
) -> Taken | None:
    """The first batch of a part of the data with an example that has no finite score."""
    steps = scored(model, dataset, settings, device, compiled, part)
    return next((s for s, objective in steps if not torch.isfinite(per_example(objective)[1]).all()), None)
