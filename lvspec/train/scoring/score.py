"""Mean bound or log-likelihood of a data set under a model: enough draws, fresh ones each time, and how far the mean is off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from lvspec.emitted import CompiledSpec, EmittedModel
from lvspec.errors import TrainingError
from lvspec.train.data.batches import collate, on_device, sorted_order
from lvspec.train.data.dataset import Dataset
from lvspec.train.scoring.trace import Generators, Taken, drawing
from lvspec.train.settings import TrainSettings

EVALUATION_SEED = 20_241  # what the draws of an evaluation begin with, where nothing else is said
FEW = 256  # draws that a mean over a part of the data is made of at least: examples times draws of each
SHARED = 64  # the same of values that all examples of a batch share
DRAWN_AT_ONCE = 1024  # examples times samples in one call: bounds the memory of an evaluation
PASSES = 4  # in which the draws of an example are taken, so that their spread tells the mean's error


@dataclass(frozen=True)
class Score:
    """Means per example, in nats. kind: exact | bound | joint | objective. parts: reconstruction, kl.<latent> where the objective
    has them; the terms of an objective that is no bound. each: the value of every example, by row. standard_error: of the value,
    from the draws alone (None: nothing was drawn); draws: how many of each example it is a mean of."""

    value: float
    kind: str
    parts: Mapping[str, float]
    examples: int
    each: torch.Tensor | None = None
    standard_error: float | None = None
    draws: int = 1


def prepared(model: EmittedModel, batch: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """A batch on the device, with what the module adds from host-side lengths."""
    prepare = getattr(model, "prepare", None)
    return on_device(prepare(batch) if prepare else batch, device)


def held_out(model: EmittedModel, batch: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
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


def at_once(settings: TrainSettings, samples: int) -> TrainSettings:
    """Batches no larger than what so many draws of each example leave room for."""
    if settings.batch_tokens is not None:
        return replace(settings, batch_tokens=max(1, settings.batch_tokens // samples))
    return replace(settings, batch_size=max(1, min(settings.batch_size, DRAWN_AT_ONCE // samples)))


@dataclass(frozen=True)
class Draws:
    """How the draws of an evaluation are taken. passes: over all data, each with fresh draws; samples: of each example in a pass
    (None: as many as the module takes); own: those that it takes by itself."""

    passes: int
    samples: int | None
    own: int

    @property
    def of_each(self) -> int:
        return self.passes * (self.samples or self.own)


def draws_of(model: EmittedModel, compiled, dataset: Dataset, settings: TrainSettings, wanted: int | None) -> Draws:
    """At least `wanted` draws of each example, by default so many that the mean over the data is one of FEW draws. More draws go
    through one pass where their average has no shares of its own."""
    own = getattr(model, "samples", None)
    if own is None:  # nothing is drawn
        return Draws(1, None, 1)
    several = len(sorted_order(dataset, settings))
    few = -(-FEW // len(dataset))
    if hasattr(model, "shared_draws"):
        few = max(few, -(-SHARED // several))
    wanted = max(2, few if wanted is None else wanted)
    if compiled is None or compiled.plan.weighed is not None:
        return Draws(max(2, -(-wanted // own)), None, own)
    passes = min(PASSES, wanted)
    return Draws(passes, -(-wanted // (passes * own)) * own, own)


def scored(
    model: EmittedModel,
    dataset: Dataset,
    settings: TrainSettings,
    device: torch.device,
    compiled: CompiledSpec | None = None,
    part: str = "validation",
    seed: int = EVALUATION_SEED,
    draws: int | None = None,
) -> Iterator[tuple[Taken, object]]:
    """Every batch as a step, with its objective, in evaluation mode; pass after pass with draws of their own, which depend on the
    seed alone. The random generators are left as they were."""
    was_training, plan = model.training, draws_of(model, compiled, dataset, settings, draws)
    model.eval()
    if plan.samples is not None and plan.samples > plan.own:
        settings = at_once(settings, plan.samples)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), drawing(model, plan.samples):
        torch.manual_seed(seed)
        for rows in sorted_order(dataset, settings) * plan.passes:
            batch = held_out(model, collate(dataset, rows), device)
            step = Taken(model, compiled, batch, Generators(device), rows, part, plan.samples)
            yield step, model(batch)
    model.train(was_training)


@torch.no_grad()
def score(
    model: EmittedModel,
    dataset: Dataset,
    settings: TrainSettings,
    device: torch.device,
    compiled: CompiledSpec | None = None,
    seed: int = EVALUATION_SEED,
    draws: int | None = None,
) -> Score:
    """The mean over all examples and draws; the training run's random generators are left as they were."""
    if not len(dataset):
        raise TrainingError("no example to score")
    plan = draws_of(model, compiled, dataset, settings, draws)
    totals: dict[str, float] = {}
    each = torch.zeros(len(dataset), plan.passes, dtype=torch.float64)
    unit = torch.zeros(len(dataset), dtype=torch.int64)  # the batch of an example
    kind, taken = "exact", torch.zeros(len(dataset), dtype=torch.int64)
    for number, (step, objective) in enumerate(
        scored(model, dataset, settings, device, compiled, seed=seed, draws=draws)
    ):
        kind, values = per_example(objective)
        rows = torch.as_tensor(step.rows)
        each[rows, taken[rows]] = values.double().cpu()
        unit[rows], taken[rows] = number, taken[rows] + 1
        for name, value in parts(objective).items():
            totals[name] = totals.get(name, 0.0) + value.double().sum().item()
    n = len(dataset)
    parts_of = {name: value / (n * plan.passes) for name, value in totals.items()}
    error = standard_error(each, unit if hasattr(model, "shared_draws") else None) if plan.passes > 1 else None
    return Score(each.mean().item(), kind, parts_of, n, each.mean(1), error, plan.of_each)


def standard_error(each: torch.Tensor, unit: torch.Tensor | None) -> float:
    """Of the mean over examples and passes, (N, R), from the spread over passes; unit: what examples share their draws, (N,),
    else each has its own."""
    if unit is not None:
        _, place = unit.unique(return_inverse=True)
        each = torch.zeros(int(place.max()) + 1, each.shape[1], dtype=each.dtype).index_add_(0, place, each)
        examples = len(place)
    else:
        examples = len(each)
    return (each.var(1).sum() / each.shape[1]).sqrt().item() / examples


@torch.no_grad()
def first_not_finite(
    model: EmittedModel,
    compiled,
    dataset: Dataset,
    settings: TrainSettings,
    device: torch.device,
    part: str,
    seed: int = EVALUATION_SEED,
) -> Taken | None:
    """The first batch of a part of the data with an example that has no finite score."""
    steps = scored(model, dataset, settings, device, compiled, part, seed)
    return next((s for s, objective in steps if not torch.isfinite(per_example(objective)[1]).all()), None)
