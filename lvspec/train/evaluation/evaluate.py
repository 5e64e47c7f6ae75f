"""The figures of a field for a trained model: likelihood or its bounds, perplexity, bits per dimension, agreement.

Every figure says what it is: exact, importance-sampled (with S), or a bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch

from lvspec.emitted import CompiledSpec, EmittedModel
from lvspec.train.data.batches import batches, sorted_order
from lvspec.train.data.dataset import Dataset
from lvspec.train.data.encoders import Encoder, Numbers, Symbols
from lvspec.train.evaluation.accuracy import labelled
from lvspec.train.evaluation.baselines import BaselineLikelihood, baselines, entries
from lvspec.train.scoring.score import EVALUATION_SEED, at_once, held_out, prepared, score
from lvspec.train.settings import TrainSettings

UNEVEN = 0.1  # share of examples with too small an effective sample size from which on it is said
POINT = (
    "log p(x, z) at the point estimate"  # a density of x and z together: no likelihood of x, and nothing per dimension
)
SAMPLES = 100  # draws of each example, where nobody says how many
EXAMPLES_TIMES_DRAWS = 10_000  # as many are enough for an ELBO


@dataclass(frozen=True)
class Likelihood:
    """Mean log p(x) per example, in nats. how: exact | importance-sampled (S) | bound (ELBO).

    standard_error: of the mean, from the sampling (None: nothing was sampled). effective: mean effective sample size.
    samples: draws for each example. uneven: share of the examples whose effective sample size is below `least(samples)`.
    counted, hidden: the latents whose labels in the data are part of the likelihood, or kept from the model.
    """

    value: float
    how: str
    standard_error: float | None = None
    effective: float | None = None
    samples: int = 0
    uneven: float = 0.0
    counted: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()

    @property
    def wording(self) -> str:
        """What the value is."""
        labels = [(self.counted, "counted"), (self.hidden, "hidden")]
        return self.how + "".join(f", labels of {' and '.join(names)} {done}" for names, done in labels if names)

    @property
    def warning(self) -> str:
        """Where few draws carry most of the weight: the estimate is low, and its standard error with it."""
        if self.uneven <= UNEVEN:
            return ""
        return (
            f"importance weights are uneven: of {self.samples} draws fewer than {least(self.samples):g} count in {self.uneven:.0%} "
            f"of the examples, so that log p(x) is likely higher; more --samples, or a q nearer the posterior (`bound: iwae`)"
        )


LARGEST = 700.0  # nats of which exp is a number


def least(samples: int) -> float:
    """The effective sample size below which an estimate is not trusted: its bias is about -1/2 (1/ESS - 1/S)."""
    return min(10.0, samples / 2)


@dataclass(frozen=True)
class Figures:
    """An evaluation. tokens, dimensions: what perplexity and bits are per; baseline: by variable. parts: of a bound, or, without
    likelihoods, the terms of an objective that is none."""

    examples: int
    likelihoods: tuple[Likelihood, ...]
    parts: Mapping[str, float]
    tokens: int
    dimensions: int
    baseline: Mapping[str, BaselineLikelihood]
    log_scale: float = 0.0

    def perplexity(self, log_likelihood: float) -> float:
        """exp of minus the mean log-likelihood of a token."""
        surprise = -log_likelihood * self.examples / self.tokens
        return math.exp(surprise) if surprise < LARGEST else math.inf

    def bits(self, log_likelihood: float) -> float:
        """Bits per dimension, on the scale of the file (a density changes with its unit)."""
        return (-log_likelihood * self.examples / self.dimensions - self.log_scale) / math.log(2)

    def rows(self) -> list[dict[str, object]]:
        """The figures as plain rows: quantity, value, how, and what goes with it."""
        rows: list[dict[str, object]] = []
        for found in self.likelihoods:
            extra = {k: v for k, v in asdict(found).items() if k in ("standard_error", "effective") and v is not None}
            names = {POINT: "log-density", "bound (ELBO)": "ELBO"}
            name = names.get(found.how, "log-likelihood")
            rows.append(
                {"quantity": name, "unit": "nats per example", "value": found.value, "how": found.wording, **extra}
            )
        for name, value in self.parts.items():
            unit, how = "nats per example", "part of the ELBO"
            if not self.likelihoods:
                unit, how = "per example", "expected under the model"
            rows.append({"quantity": name, "unit": unit, "value": value, "how": how})
        for found in (f for f in self.likelihoods if f.how != POINT and not f.counted):
            rows.extend(self._normalised(found.value, found.wording))
        for name, base in self.baseline.items():
            value = base.log_likelihood / self.examples
            rows.append(
                {
                    "quantity": "log-likelihood",
                    "unit": "nats per example",
                    "value": value,
                    "how": f"{base.name} of {name}",
                }
            )
            if len(self.baseline) == 1:
                rows.extend(self._normalised(value, f"{base.name} of {name}"))
        return rows

    def _normalised(self, value: float, how: str) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        if self.tokens:
            rows.append({"quantity": "perplexity", "unit": "per token", "value": self.perplexity(value), "how": how})
        if self.dimensions:
            rows.append({"quantity": "bits", "unit": "per dimension", "value": self.bits(value), "how": how})
        return rows


def evaluate(
    model: EmittedModel,
    dataset: Dataset,
    encoders: Mapping[str, Encoder],
    settings: TrainSettings,
    device: torch.device,
    training: int,
    samples: int | None = None,
    compiled: CompiledSpec | None = None,
) -> Figures:
    """Exact log-likelihood, or the ELBO with its parts and an importance-sampled log p(x) beside it. samples: draws of each
    example, of both; by default SAMPLES for the latter, fewer for the ELBO of many examples."""
    result, found = _likelihoods(model, dataset, settings, device, samples, compiled)
    if result.kind == "objective":
        return Figures(result.examples, (), result.parts, 0, 0, {})
    tokens, dimensions, log_scale = normalisers(dataset, encoders)
    labels = tuple(n for n in labelled(dataset.layout) if any(n in e.values for e in dataset.examples))
    if labels and any(
        f.modelled for f in dataset.layout.fields
    ):  # a unigram knows no labels: what stands beside it counts none
        _, hidden = _likelihoods(model, dataset.hiding(labels), settings, device, samples, compiled)
        found = [replace(f, counted=labels) for f in found] + [replace(f, hidden=labels) for f in hidden]
    base = baselines(dataset, encoders, training)
    return Figures(result.examples, tuple(found), result.parts, tokens, dimensions, base, log_scale)


def _likelihoods(model, dataset: Dataset, settings: TrainSettings, device, samples: int | None, compiled):
    """The score of the objective, and what can be said of log p: the better figure first."""
    result = score(model, dataset, settings, device, compiled, draws=samples or _enough(dataset))
    samples = SAMPLES if samples is None else samples
    how = {"exact": "exact", "bound": "bound (ELBO)", "joint": POINT}.get(result.kind, "")
    found = [Likelihood(result.value, how, result.standard_error, samples=result.draws)]
    if result.kind == "bound" and not hasattr(model, "importance"):
        found.insert(0, exact(model, dataset, settings, device))
    elif result.kind == "bound" and samples:
        estimate = predicted if hasattr(model, "predictive") else importance_sampled
        found.insert(0, estimate(model, dataset, settings, device, samples))
    return result, found


def _enough(dataset: Dataset) -> int:
    """Draws of each example for an ELBO: SAMPLES, where the examples are few."""
    return min(SAMPLES, max(2, -(-EXAMPLES_TIMES_DRAWS // len(dataset))))


@torch.no_grad()
def exact(model: EmittedModel, dataset: Dataset, settings: TrainSettings, device: torch.device) -> Likelihood:
    """log p(x) of a model that is trained on a bound, but whose latents can all be summed out."""
    total = 0.0
    for batch in batches(dataset, sorted_order(dataset, settings)):
        total += model.log_prob(prepared(model, batch, device)).double().sum().item()
    return Likelihood(total / len(dataset), "exact")


def importance_sampled(model, dataset: Dataset, settings: TrainSettings, device, samples: int) -> Likelihood:
    """log (1/S) sum_s p(x, z_s) / q(z_s | x), z_s ~ q: biased low, so that the perplexity from it is an upper bound."""
    return _weighed(
        lambda batch: model.importance(batch, samples), "importance-sampled", model, dataset, settings, device, samples
    )


def predicted(model, dataset: Dataset, settings: TrainSettings, device, samples: int) -> Likelihood:
    """log E_q(b) p(x | b) of held-out examples, b what all examples share: of each by itself, given what q has learned. Draws of
    b serve a whole batch, so that its examples' errors add up."""
    how, ask = "predicted by q of what examples share", lambda batch: model.predictive(batch, samples)
    return _weighed(ask, how, model, dataset, settings, device, samples, together=True)


@torch.no_grad()
def _weighed(
    ask, how: str, model, dataset: Dataset, settings: TrainSettings, device, samples: int, together: bool = False
):
    """The mean of an estimate by S weighted draws of each example. together: whether the examples of a batch share their error."""
    total, variance, effective, uneven = 0.0, 0.0, 0.0, 0
    few = at_once(settings, samples)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(EVALUATION_SEED)
        for batch in batches(dataset, sorted_order(dataset, few)):
            found = ask(held_out(model, batch, device))
            total += found.log_prob.double().sum().item()
            error = found.standard_error.double()
            variance += (error.sum().square() if together else error.square().sum()).item()
            effective += found.effective_sample_size.double().sum().item()
            uneven += int((found.effective_sample_size < least(samples)).sum())
    n = len(dataset)
    return Likelihood(total / n, f"{how} (S = {samples})", math.sqrt(variance) / n, effective / n, samples, uneven / n)


def normalisers(dataset: Dataset, encoders: Mapping[str, Encoder]) -> tuple[int, int, float]:
    """(tokens, dimensions, log of the density's unit per dimension) where the model explains one variable alone."""
    modelled = [f for f in dataset.layout.fields if f.modelled]
    if len(modelled) != 1:
        return 0, 0, 0.0
    encoder, number = encoders[modelled[0].name], sum(v.size for v in entries(dataset, modelled[0]))
    if isinstance(encoder, Symbols):
        return number, 0, 0.0
    return 0, number, math.log(abs(encoder.scale)) if isinstance(encoder, Numbers) and encoder.kind == "real" else 0.0
