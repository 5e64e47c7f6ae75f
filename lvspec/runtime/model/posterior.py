"""p(z | x) of latents that were summed out, read off gradients; and of drawn latents, from weighted draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import (
    COUNT,
    LOG,
    MAX,
    SAMPLE,
    BestSemiring,
    FilterSemiring,
    OneChain,
    log_sum_exp,
    tempered,
)
from lvspec.runtime.core.undefined import Undefined
from lvspec.runtime.estimators.importance import effective_size, weight_shares


class ExactPosterior:
    """p(z | x) from log p(x) as a function of a tilt: log sum_z exp(log p(x, z) + sum of tilts at z).

    The gradient with respect to the tilts at 0 is the marginals, the joint mode or a joint draw,
    depending on the semiring. tilts: name -> zeros (B, *sites, K).
    """

    def __init__(self, log_marginal: Callable[[dict[str, Tensor], object], Tensor], tilts: dict[str, Tensor]):
        self.log_marginal = log_marginal
        self.tilts = tilts
        self.answers: dict[str, dict[str, Tensor]] = {}

    def gradients(self, semiring, differentiable: bool = False, times: int = 1) -> list[dict[str, Tensor]]:
        """d log p / d tilt under a semiring, for every latent; `times` backward passes of one forward pass."""
        with torch.enable_grad():
            tilts = {name: tilt.detach().clone().requires_grad_() for name, tilt in self.tilts.items()}
            total = self.log_marginal(tilts, semiring).sum()
            return [tilt_gradient(total, tilts, differentiable, i + 1 < times) for i in range(times)]

    def marginals(self) -> dict[str, Tensor]:
        """p(z_i = k | x), each (B, *sites, K); differentiable when gradients are on."""
        key = f"marginals {torch.is_grad_enabled()}"
        if key not in self.answers:
            self.answers[key] = self.gradients(LOG, differentiable=torch.is_grad_enabled())[0]
        return self.answers[key]

    def mode(self) -> dict[str, Tensor]:
        """argmax_z p(z | x), jointly over all latents; each (B, *sites) int64."""
        if "mode" not in self.answers:
            self.answers["mode"] = {name: g.argmax(-1) for name, g in self.gradients(MAX)[0].items()}
        return self.answers["mode"]

    def sample(self, n: int) -> dict[str, Tensor]:
        """n joint draws of all latents; each (n, B, *sites) int64."""
        # every backward pass draws anew
        draws = [{name: g.argmax(-1) for name, g in d.items()} for d in self.gradients(SAMPLE, times=n)] if n else []
        return {
            name: torch.stack([d[name] for d in draws])
            if draws
            else tilt.new_zeros((0, *tilt.shape[:-1]), dtype=torch.int64)
            for name, tilt in self.tilts.items()
        }

    def filtered(self) -> dict[str, Tensor]:
        """p(z_t = k | x_1 .. x_t) of latents along a chain, p(z = k | x) of others; each (B, *sites, K). Undefined where the sum of
        a chain stands inside another one."""
        if "filtered" not in self.answers:
            self.answers["filtered"] = self.gradients(FilterSemiring())[0]
        return self.answers["filtered"]

    def k_best(self, k: int) -> tuple[Tensor, dict[str, Tensor]]:
        """log p(x, z) of the k most probable z, (k, B) in order, -inf where there are fewer; each (k, B, *sites) int64."""
        with torch.enable_grad():
            tilts = {name: tilt.detach().clone().requires_grad_() for name, tilt in self.tilts.items()}
            scores = self.log_marginal(tilts, OneChain(BestSemiring(k), "k_best"))
            found = [tilt_gradient(score.sum(), tilts, keep=True) for score in scores]
        return scores.detach(), {n: torch.stack([f[n].argmax(-1) for f in found]) for n in tilts}

    def log_count(self) -> Tensor:
        """The log of how many values of z have p(z | x) > 0: (B,)."""
        asked = OneChain(COUNT, "log_count")
        with torch.no_grad():
            total = self.log_marginal(dict(self.tilts), asked)
        return total if asked.value is None else asked.value.masked_fill(total == -torch.inf, -torch.inf)

    def entropy(self) -> Tensor:
        """H[p(z | x)] (B,), of all latents jointly."""
        with torch.enable_grad():
            first = next(iter(self.tilts.values()))
            beta = first.new_ones(first.shape[0]).requires_grad_()
            total = self.log_marginal({k: v.detach() for k, v in self.tilts.items()}, tempered(beta)).sum()
            (slope,) = torch.autograd.grad(total + 0.0 * beta.sum(), beta)  # where no site is, nothing depends on it
        return -slope


def tilt_gradient(total: Tensor, tilts: dict[str, Tensor], differentiable: bool = False, keep: bool = False):
    """d total / d tilt, for every latent."""
    if not total.requires_grad:  # there is no site
        return {name: torch.zeros_like(tilt) for name, tilt in tilts.items()}
    found = torch.autograd.grad(
        total,
        list(tilts.values()),
        create_graph=differentiable,
        retain_graph=differentiable or keep,
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(tilts, found, strict=True))


BEGINS = ".begins"  # behind a latent's name: the tilts (B, T, 2) of whether a segment of it begins at each site


@dataclass(frozen=True)
class LatentPosterior:
    """p(z | x) of one latent. Of several summed latents, mode, sample and entropy are those of the joint posterior."""

    joint: ExactPosterior
    name: str

    @property
    def marginals(self) -> Tensor:
        """p(z_i = k | x): (B, *sites, K)."""
        return self.joint.marginals()[self.name]

    @property
    def mode(self) -> Tensor:
        """This latent's part of the joint mode: (B, *sites) int64."""
        return self.joint.mode()[self.name]

    def sample(self, n: int) -> Tensor:
        """This latent's part of n joint draws: (n, B, *sites) int64."""
        return self.joint.sample(n)[self.name]

    def k_best(self, k: int) -> tuple[Tensor, Tensor]:
        """The k most probable joint values: log p(x, z) (k, B), -inf where there are fewer; this latent's part of each,
        (k, B, *sites) int64. For models whose summed latents are one chain."""
        scores, values = self.joint.k_best(k)
        return scores, values[self.name]

    @property
    def filtered(self) -> Tensor:
        """p(z_t = k | x_1 .. x_t) along a chain: (B, T, ..., K)."""
        return self.joint.filtered()[self.name]

    @property
    def log_count(self) -> Tensor:
        """The log of how many joint values are possible, given what is observed: (B,)."""
        return self.joint.log_count()

    @property
    def begins(self) -> LatentPosterior:
        """Whether a segment begins at each site, of a latent that has segments: the same questions, (B, T, 2) for
        marginals, (B, T) of 0 and 1 for values, in accordance with the states."""
        if self.name + BEGINS not in self.joint.tilts:
            raise Undefined(f"begins: {self.name} has no segments")
        return LatentPosterior(self.joint, self.name + BEGINS)

    @property
    def entropy(self) -> Tensor:
        """Entropy of the joint posterior: (B,)."""
        return self.joint.entropy()


def exact_posterior(
    log_marginal: Callable[[dict[str, Tensor], object], Tensor], tilts: dict[str, Tensor]
) -> dict[str, LatentPosterior]:
    """The posteriors of all summed latents; log_marginal(tilts, semiring) -> (B,)."""
    joint = ExactPosterior(log_marginal, tilts)
    return {name: LatentPosterior(joint, name) for name in tilts if not name.endswith(BEGINS)}


@dataclass(frozen=True)
class Point:
    """A point estimate. mode: (B, ...)."""

    mode: Tensor


@dataclass(frozen=True)
class DrawnPosterior:
    """p(z | x) as weighted draws: values (S, B, ...), weights (S, B), which sum to one over S. Of a latent that all examples share
    there is one value: values (S, ...), weights (S,), and no axis B in any answer. states: how many values an integer latent has,
    None where there is no last one."""

    values: Tensor
    weights: Tensor
    states: int | None = None

    def aligned(self) -> Tensor:
        """The weights, with the values' number of axes."""
        return self.weights.reshape(*self.weights.shape, *[1] * (self.values.dim() - self.weights.dim()))

    @property
    def mean(self) -> Tensor:
        return (self.aligned() * self.values).sum(0)

    @property
    def variance(self) -> Tensor:
        return (self.aligned() * (self.values - self.mean) ** 2).sum(0)

    @property
    def marginals(self) -> Tensor:
        """p(z_i = k | x) for a latent of so many states: (B, *sites, K)."""
        if self.states is None:
            raise Undefined("marginals: only a latent with a last value has a table of their probabilities")
        return (self.aligned().unsqueeze(-1) * torch.nn.functional.one_hot(self.values.long(), self.states)).sum(0)

    def numbered(self, chosen: Tensor) -> Tensor:
        """The draws with these numbers: of each example its own."""
        if self.weights.dim() == 1:
            return self.values[chosen]
        return self.values[chosen, torch.arange(self.weights.shape[1], device=self.weights.device)]

    @property
    def mode(self) -> Tensor:
        """The draw of highest weight: (B, ...)."""
        return self.numbered(self.weights.argmax(0))

    def chosen(self, n: int) -> Tensor:
        """Numbers of n draws with replacement, in proportion to the weights: (n, B)."""
        if self.weights.numel() == 0:
            return torch.zeros((n, *self.weights.shape[1:]), dtype=torch.int64, device=self.weights.device)
        weights = torch.where(
            self.weights.sum(0) > 0, self.weights, 1.0
        )  # what is impossible under all draws: those of q
        return torch.multinomial(weights.t(), n, replacement=True).t()

    def sample(self, n: int) -> Tensor:
        """n draws with replacement, in proportion to the weights: (n, B, ...)."""
        return self.numbered(self.chosen(n))

    @property
    def effective_sample_size(self) -> Tensor:
        """1 / sum of squared weights: (B,), between 1 and S; 0 where no draw has any weight."""
        return effective_size(self.weights)


@dataclass(frozen=True)
class MixedPosterior:
    """p(z_i = k | x) of a latent that is summed out given draws of others: Σ_s w_s p(z_i = k | x, draw s). begins: the same
    of whether a segment begins at a site, of a latent that has segments."""

    marginals: Tensor  # (B, *sites, K)
    begins: MixedPosterior | None = None

    @property
    def mode(self) -> Tensor:
        """The best value of each site by itself: (B, *sites) int64."""
        return self.marginals.argmax(-1)


def summed_posterior(
    log_weights: Callable[[dict[str, Tensor]], tuple[Tensor, dict]], tilts: dict[str, Tensor]
) -> tuple[dict[str, MixedPosterior], Tensor, dict]:
    """Marginals of latents that are summed beside draws: the gradient of log Σ_s w_s(tilt); and the weights, the draws."""
    with torch.enable_grad():
        asks = {name: tilt.detach().clone().requires_grad_() for name, tilt in tilts.items()}
        log_weight, drawn = log_weights(asks)
        found = tilt_gradient(log_sum_exp(log_weight, 0).sum(), asks)
    draws = {name: value.detach() for name, value in drawn.items()}
    borders = {name.removesuffix(BEGINS): MixedPosterior(m) for name, m in found.items() if name.endswith(BEGINS)}
    answers = {n: MixedPosterior(m, borders.get(n)) for n, m in found.items() if not n.endswith(BEGINS)}
    return answers, log_weight.detach(), draws


def weighted_posterior(
    draws: dict[str, Tensor],
    log_weights: Tensor,
    shared: tuple[str, ...] = (),
    states: dict[str, int] | None = None,
) -> dict[str, DrawnPosterior]:
    """Self-normalised posteriors from draws (S, B, ...) of q and log p(x, z) - log q(z), (S, B). With draws (S, ...) that all
    examples share, a draw has one weight, that of the whole batch: log_weights (S, 1). states: of integer
    latents how many values they have."""
    weights, states = weight_shares(log_weights), states or {}
    return {
        name: DrawnPosterior(
            values, weights[:, 0] if name in shared else weights.expand(-1, values.shape[1]), states.get(name)
        )
        for name, values in draws.items()
    }


def of_whole_batch(log_weight: Tensor, draws: dict[str, Tensor], log_ratio: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The log weight of each draw for the batch as a whole, (S, 1): Σ_b log w_b + log p(b) - log q(b), b what all examples share;
    and the draws."""
    return (log_weight.sum(1) + log_ratio)[:, None], draws
