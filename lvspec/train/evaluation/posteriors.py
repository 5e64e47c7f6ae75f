"""p(z | x) example by example, as plain values: modes and marginals of discrete latents, moments of continuous ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lvspec.emitted import EmittedModel
from lvspec.ir.dims import Dim
from lvspec.ir.expr import Dist
from lvspec.ir.spec import Spec, Variable
from lvspec.ir.structured import has_segments
from lvspec.ir.structures import STRUCTURES
from lvspec.runtime.model.posterior import DrawnPosterior, Point
from lvspec.train.data.batches import collate, sorted_order
from lvspec.train.data.dataset import Dataset
from lvspec.train.data.layout import tree_labels
from lvspec.train.evaluation.structures import ANSWERS
from lvspec.train.scoring.score import EVALUATION_SEED, held_out
from lvspec.train.settings import TrainSettings

SHARED_DRAWS = 1000  # of q of what all examples share, for its moments


@dataclass(frozen=True)
class Latent:
    """What is asked of one latent. states: how many values, None for continuous ones. sites: the ragged plate whose
    sites are its values, as many as the example has. plates: those that it has a value at each site of; ragged: (axis within an
    example, plate).
    structure: what a hidden structure is read as (train/evaluation/structures.py); of: the sequence that it is of.
    tree: what the values are, where they are the labels of a tree's words (train/data/tree_labels.py).
    segments: whether runs of sites share a value."""

    name: str
    states: int | None
    ragged: tuple[tuple[int, str], ...]
    structure: str | None = None
    of: str | None = None
    sites: str | None = None
    tree: str | None = None
    segments: bool = False
    plates: tuple[str, ...] = ()

    @property
    def discrete(self) -> bool:
        return self.states is not None or self.sites is not None


@dataclass(frozen=True)
class Inferred:
    """One example's posterior. row: its place in the data set. mode, marginals (discrete, structures); begins, whether a
    segment of the mode begins at a site; mean, deviation (continuous), by latent, cut to the example's longest lengths (what is
    padding on nested plates: train/data/unpadded.py)."""

    row: int
    mode: dict[str, np.ndarray]
    marginals: dict[str, np.ndarray]
    mean: dict[str, np.ndarray]
    deviation: dict[str, np.ndarray]
    begins: dict[str, np.ndarray] = field(default_factory=dict)

    def probability(self, name: str) -> np.ndarray:
        """p(z_i = mode_i | x), site by site."""
        return np.take_along_axis(self.marginals[name], self.mode[name][..., None], -1)[..., 0]


def latents_of(spec: Spec, sizes: Mapping[str, int]) -> tuple[Latent, ...]:
    """The latents inside the batch plate, in the spec's order, and the hidden structures of sequences."""
    ragged = {p.name for p in spec.plates if p.ragged}
    values = tuple(_value(v, ragged, sizes) for v in spec.variables if v.role == "latent" and not v.outside_batch)
    return (*values, *(s for v in spec.variables if (s := _structure(v)) is not None))


def _value(variable: Variable, ragged: set[str], sizes: Mapping[str, int]) -> Latent:
    axes = tuple((i, plate) for i, plate in enumerate(variable.plates) if plate in ragged)
    support = variable.type.support
    if not support.finite:
        return Latent(variable.name, None, axes, plates=variable.plates)
    sites = next((plate for plate in ragged if support.cardinality == Dim.of(f"|{plate}|")), None)
    states = None if sites else support.values.evaluate(dict(sizes))
    segments, tree = has_segments(variable), tree_labels(variable)
    return Latent(variable.name, states, axes, sites=sites, tree=tree, segments=segments, plates=variable.plates)


def _structure(variable: Variable) -> Latent | None:
    """The hidden part of an observed sequence, `with tree`."""
    body = variable.clauses[-1].body if variable.clauses else None
    if not isinstance(body, Dist) or not body.parts or body.over is None or variable.plates != (body.over,):
        return None
    read_as = STRUCTURES[body.family].trees
    axes = {"spans": (0, 1), "heads": (0,)}.get(read_as or "", ())
    if not read_as:
        return None
    ragged = tuple((i, body.plate) for i in axes)
    return Latent(body.parts[0], None, ragged, read_as, variable.name, plates=tuple(plate for _, plate in ragged))


def posteriors(
    model: EmittedModel,
    dataset: Dataset,
    latents: tuple[Latent, ...],
    settings: TrainSettings,
    device: torch.device,
    marginals: bool = True,
) -> Iterator[Inferred]:
    """Examples in batches of alike length; `row` says which one each is. marginals: whether they are wanted."""
    torch.manual_seed(EVALUATION_SEED)
    for rows in sorted_order(dataset, settings):
        batch = held_out(model, collate(dataset, rows), device)
        with torch.no_grad():
            found = model.posterior(batch)
            asked = [latent for latent in latents if latent.name in found]
            answers = {latent.name: _answers(found[latent.name], latent, marginals) for latent in asked}
        for place, row in enumerate(rows):
            yield _one(int(row), place, answers, latents, dataset)


@torch.no_grad()
def shared_answers(
    model: EmittedModel, compiled, dataset: Dataset, settings: TrainSettings, device: torch.device
) -> dict[str, dict[str, np.ndarray]]:
    """What q says of the latents that all examples share, as training has left it: the point, or the mean and the deviation."""
    names = [v.name for v in compiled.spec.variables if v.role == "latent" and v.outside_batch]
    if not names:
        return {}
    torch.manual_seed(EVALUATION_SEED)
    batch = held_out(model, collate(dataset, sorted_order(dataset, settings)[0]), device)
    found = model.posterior(batch, SHARED_DRAWS) if compiled.plan.sampled else model.posterior(batch)
    return {name: _of_shared(found[name]) for name in names}


def _of_shared(posterior: Any) -> dict[str, np.ndarray]:
    if isinstance(posterior, DrawnPosterior):  # the draws are q's; their weights are those of the batch alone
        answers = {"mean": posterior.values.mean(0), "deviation": posterior.values.std(0)}
    elif isinstance(posterior, Point):
        answers = {"mode": posterior.mode}
    else:
        answers = {"mean": posterior.mean, "deviation": posterior.variance.sqrt()}
    return {kind: value.cpu().numpy() for kind, value in answers.items()}


def _answers(posterior: Any, latent: Latent, marginals: bool) -> dict[str, Tensor]:
    """The tensors (B, sites, ...) that a latent's posterior has."""
    if latent.structure:
        return ANSWERS[latent.structure](posterior, marginals)
    if isinstance(posterior, Point):
        return {"mode": posterior.mode}
    if not latent.discrete:
        deviation = getattr(posterior, "variance", None)
        return {"mean": posterior.mean, **({} if deviation is None else {"deviation": deviation.clamp(min=0).sqrt()})}
    answers = {"mode": posterior.mode}
    if latent.segments:
        answers["begins"] = posterior.begins.mode
    if marginals:
        answers["marginals"] = posterior.marginals
    return answers


def _one(row: int, place: int, answers: dict, latents: tuple[Latent, ...], dataset: Dataset) -> Inferred:
    kept: dict[str, dict[str, np.ndarray]] = {f.name: {} for f in fields(Inferred) if f.name != "row"}
    lengths = dataset.examples[row].lengths
    for latent in latents:
        for kind, value in answers.get(latent.name, {}).items():
            one = value[place].cpu().numpy()
            for axis, plate in latent.ragged:
                if plate in lengths:
                    one = one.take(range(int(np.max(lengths[plate], initial=0))), axis=axis)
            # a sum of shares may be above 1 by a rounding
            kept[kind][latent.name] = one[..., : _choices(latent, lengths)].clip(0, 1) if kind == "marginals" else one
    return Inferred(row, **kept)


def _choices(latent: Latent, lengths: Mapping[str, np.ndarray]) -> int | None:
    """How many values there are in this example, where that differs: sites, or the words and the root."""
    plate = latent.ragged[0][1] if latent.structure == "heads" else latent.sites
    return int(np.max(lengths[plate], initial=0)) + (latent.structure == "heads") if plate else None
