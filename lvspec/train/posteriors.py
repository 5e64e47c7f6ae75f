"""p(z | x) example by example, as plain values: modes and marginals of discrete latents, moments of continuous ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lvspec.ir.spec import Spec
from lvspec.train.batches import collate, sorted_order
from lvspec.train.dataset import Dataset
from lvspec.train.score import EVALUATION_SEED, prepared
from lvspec.train.settings import TrainSettings


@dataclass(frozen=True)
class Latent:
    """What is asked of one latent. states: how many values, None for continuous ones. ragged: (axis within an example, plate)."""

    name: str
    states: int | None
    ragged: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Inferred:
    """One example's posterior. row: its place in the data set. mode, marginals (discrete); mean, deviation (continuous),
    by latent, cut to the example's lengths."""

    row: int
    mode: dict[str, np.ndarray]
    marginals: dict[str, np.ndarray]
    mean: dict[str, np.ndarray]
    deviation: dict[str, np.ndarray]

    def probability(self, name: str) -> np.ndarray:
        """p(z_i = mode_i | x), site by site."""
        return np.take_along_axis(self.marginals[name], self.mode[name][..., None], -1)[..., 0]


def latents_of(spec: Spec, sizes: Mapping[str, int]) -> tuple[Latent, ...]:
    """The latents inside the batch plate, in the spec's order."""
    ragged = {p.name for p in spec.plates if p.ragged}
    return tuple(
        Latent(
            v.name,
            v.type.support.cardinality.evaluate(dict(sizes)) if v.type.support.finite else None,
            tuple((i, plate) for i, plate in enumerate(v.plates) if plate in ragged),
        )
        for v in spec.variables
        if v.role == "latent" and not v.outside_batch
    )


def posteriors(
    model: nn.Module, dataset: Dataset, latents: tuple[Latent, ...], settings: TrainSettings, device: torch.device
) -> Iterator[Inferred]:
    """Examples in batches of alike length; `row` says which one each is."""
    torch.manual_seed(EVALUATION_SEED)
    for rows in sorted_order(dataset, settings):
        batch = prepared(model, collate(dataset, rows), device)
        with torch.no_grad():
            found = model.posterior(batch)
            answers = {latent.name: _answers(found[latent.name], latent) for latent in latents if latent.name in found}
        for place, row in enumerate(rows):
            yield _one(int(row), place, answers, latents, dataset)


def _answers(posterior: object, latent: Latent) -> dict[str, Tensor]:
    """The tensors (B, sites, ...) that a latent's posterior has."""
    if latent.states is None:
        deviation = getattr(posterior, "variance", None)
        return {"mean": posterior.mean, **({} if deviation is None else {"deviation": deviation.clamp(min=0).sqrt()})}
    marginals = posterior.marginals
    return {"mode": posterior.mode, "marginals": marginals(latent.states) if callable(marginals) else marginals}


def _one(row: int, place: int, answers: dict, latents: tuple[Latent, ...], dataset: Dataset) -> Inferred:
    kept: dict[str, dict[str, np.ndarray]] = {"mode": {}, "marginals": {}, "mean": {}, "deviation": {}}
    lengths = dataset.examples[row].lengths
    for latent in latents:
        for kind, value in answers.get(latent.name, {}).items():
            one = value[place].cpu().numpy()
            for axis, plate in latent.ragged:
                if plate in lengths:
                    one = one.take(range(int(np.max(lengths[plate], initial=0))), axis=axis)
            kept[kind][latent.name] = one
    return Inferred(row, **kept)
