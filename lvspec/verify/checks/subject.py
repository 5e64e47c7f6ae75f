"""What is verified: an emitted module at small sizes with random numbers, and the oracle's view of the same numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from lvspec.emitted import EmittedModel
from lvspec.ir.flows import FLOWS
from lvspec.ir.plan import Plan
from lvspec.ir.reads import Reader
from lvspec.ir.spec import FreeBits, Schedule, Spec
from lvspec.verify.oracle.cells import possible_draws
from lvspec.verify.oracle.draw import random_batch, random_draws, randomize
from lvspec.verify.oracle.enumerate import ExampleBound, Posterior, elbo, log_marginals, posterior, terms_of
from lvspec.verify.oracle.memory import Shelf
from lvspec.verify.oracle.possible import make_covariances, make_positive, make_possible
from lvspec.verify.oracle.priors import log_prior
from lvspec.verify.oracle.refine import Refinement
from lvspec.verify.oracle.relaxed import Relaxation
from lvspec.verify.oracle.schemes import TOGETHER
from lvspec.verify.oracle.world import Instance, TooMany
from lvspec.verify.shrink import longest

DATASET = 7  # examples in the data set, where something is global
SETTLED = 10**9  # a step at which every linear schedule has arrived


@dataclass(frozen=True)
class Subject:
    """model: the emitted class at `sizes`, in float64 and evaluation mode. draws: for its sampled latents."""

    plan: Plan
    sizes: dict[str, int]
    model: EmittedModel
    batch: dict[str, Tensor]
    draws: dict[str, Tensor]
    length: int
    step: int = SETTLED
    training: bool = True  # whether weights of the loss follow their schedules; networks stay as in evaluation
    until: float = math.inf  # of processor time: what is begun then is left out
    shelf: Shelf = field(default_factory=Shelf)  # what the oracle has computed

    @staticmethod
    def of(plan: Plan, module_class: type[EmittedModel], seed: int, rows: int | None = None) -> Subject:
        """Random parameters, a ragged batch and noise, all from one seed."""
        rows = (4 if sum(p.ragged for p in plan.spec.plates) > 1 else 3) if rows is None else rows
        sizes, model = sizes_of(plan), module_of(plan, module_class, seed)
        generator = torch.Generator().manual_seed(seed)
        randomize(model, generator, gently={n.name for n in plan.networks if n.kind in FLOWS})
        make_positive(plan, model)
        make_covariances(plan, model)
        length = longest(plan.spec, sizes)
        batch = random_batch(plan.spec, sizes, rows, length, generator)
        if any(p.per_example for p in plan.spec.params):
            batch["index"] = torch.randperm(DATASET, generator=generator)[:rows]
        weights = dict(model.named_parameters())
        make_possible(Instance.of(plan, sizes, weights, batch))
        draws = random_draws(plan, Instance.of(plan, sizes, {}, batch), rows, length, generator)
        return Subject(plan, sizes, model, batch, draws, length, telling_step(plan)).with_possible_draws(seed)

    def on(self, batch: dict[str, Tensor], seed: int) -> Subject:
        """The same about another batch, with draws that q can make there."""
        found = replace(self, batch=batch)
        return found if self._same_q(batch) else found.with_possible_draws(seed)

    def _same_q(self, batch: Mapping[str, Tensor]) -> bool:
        """Whether q reads nothing in which a batch differs, so that it can make the same draws there."""
        columns = {n for n in {**self.batch, **batch} if batch.get(n) is not self.batch.get(n)} - {"weight"}
        differ = {n.removesuffix("_observed") for n in columns}
        reader = Reader(self.spec, self.plan.guide)
        read = {n for v in self.plan.guide for n in (v.name, *(r.name for r in reader.of_variable(v)))}
        plates = {p.name for p in self.spec.plates}
        return not (differ & (read | plates) or (differ and self.plan.refined))  # steps of q look at the model

    def with_possible_draws(self, seed: int) -> Subject:
        """Values that q cannot draw are drawn again."""
        names = named_values(self.plan)
        found = replace(self, draws={n: d.clone() if n in names else d for n, d in self.draws.items()})
        possible_draws(found.instance(), names, self.plan.samples, torch.Generator().manual_seed(seed))
        return found

    def settled(self) -> Subject:
        """The same in evaluation, all schedules done."""
        return replace(self, step=SETTLED, training=False)

    def where(self, other: Subject) -> Subject:
        """The same at another's step of training; where it is there already, with the answers that it knows."""
        there = (self.step, self.training) == (other.step, other.training)
        return self if there else replace(self, step=other.step, training=other.training)

    @property
    def spec(self) -> Spec:
        return self.plan.spec

    @property
    def rows(self) -> int:
        return Instance.of(self.plan, self.sizes, {}, self.batch).rows()

    @property
    def weights(self) -> dict[str, Tensor]:
        """The parameters of model and guide: what a learned control variate has of its own is in neither."""
        apart = tuple(f"{n.name}." for b in self.plan.baselines for n in b.networks)
        return {n: w for n, w in self.model.named_parameters() if not n.startswith(apart)}

    @property
    def analytic(self) -> frozenset[str]:
        return frozenset(p.name for p in self.plan.latents if p.kl == "analytic")

    def instance(
        self, batch: Mapping[str, Tensor] | None = None, draws: Mapping[str, Tensor] | None = None
    ) -> Instance:
        """The oracle's view."""
        batch = self.batch if batch is None else batch
        found = Instance.of(self.plan, self.sizes, self.weights, batch, self.draws if draws is None else draws)
        users = {n.name: getattr(self.model, n.name) for n in self.plan.networks if n.path}
        found = replace(found, dataset_size=DATASET, relaxed=relaxations(self.plan, self.step), modules=users)
        found = replace(found, shelf=self.shelf)
        return replace(found, refinement=self.refinement(found)) if self.plan.refined else found

    def refinement(self, instance: Instance) -> Refinement:
        """The steps of refined factors: up the training objective of one example."""

        def objective(at: Instance, row: int) -> Tensor:
            return self.weighted(elbo(at, row, self.plan.samples, self.analytic))

        first = self.plan.latent(self.plan.refined[0])
        return Refinement(self.plan.refined, first.option("refine"), first.option("rate"), objective, instance)

    def come_to_step(self) -> None:
        """The module at the step of training that is asked about."""
        self.model.training = self.training
        if hasattr(self.model, "step"):
            self.model.step.fill_(self.step)

    def objective(self, batch: Mapping[str, Tensor] | None = None, draws: Mapping[str, Tensor] | None = None):
        """The emitted module's answer, at fixed draws where it has any."""
        return self.answer if batch is None and draws is None else self._answer(batch, draws)

    @cached_property
    @torch.enable_grad()
    def answer(self):
        """The module's about its own batch, at its own draws."""
        return self._answer(None, None)

    def _answer(self, batch: Mapping[str, Tensor] | None, draws: Mapping[str, Tensor] | None):
        self.come_to_step()
        batch = dict(self.batch if batch is None else batch)
        draws = self.fitting(batch, self.draws if draws is None else draws)
        return self.model(batch, draws=draws) if draws else self.model(batch)

    def fitting(self, batch: Mapping[str, Tensor], draws: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Draws with as many sites as the module gives a plate where the lengths alone say how many."""
        found = dict(draws)
        for latent in (v for v in self.spec.of_role("latent") if v.name in draws):
            own = [p for p in self.spec.plates if p.name in latent.plates]
            for axis, plate in enumerate(own, start=1 if latent.outside_batch else 2):
                there = any(plate.name in v.plates and v.name in batch for v in self.spec.variables)
                if plate.ragged and not there and batch.get(plate.name) is not None and batch[plate.name].numel():
                    found[latent.name] = found[latent.name].narrow(axis, 0, int(batch[plate.name].max()))
        return found

    def gradients(self, value: Tensor) -> list[Tensor | None]:
        """d value / d parameters, in the order of the module's parameters."""
        moving = [w for w in self.weights.values() if w.requires_grad]
        if not value.requires_grad or not moving:
            return [None for _ in self.weights]
        found = iter(torch.autograd.grad(value, moving, allow_unused=True, retain_graph=True))
        return [next(found) if w.requires_grad else None for w in self.weights.values()]

    def flat(self, gradients: list[Tensor | None]) -> Tensor:
        """All coordinates in one row; absent gradients are zeros."""
        pairs = zip(gradients, self.weights.values(), strict=True)
        return torch.cat([(torch.zeros_like(w) if g is None else g).reshape(-1) for g, w in pairs])

    @cached_property
    def bounds(self) -> list[ExampleBound]:
        """The oracle's ELBO of every example."""
        instance = self.instance()
        return [elbo(instance, row, self.plan.samples, self.analytic) for row in range(instance.rows())]

    @cached_property
    @torch.enable_grad()
    def posteriors(self) -> list[Posterior]:
        """p(z | x) of every example, by all of its joint assignments."""
        instance = self.instance()
        return [posterior(instance, row) for row in range(instance.rows())]

    @cached_property
    @torch.enable_grad()
    def log_marginals(self) -> list[Tensor]:
        """log p(x) of every example."""
        try:
            return [found.log_marginal for found in self.posteriors]
        except TooMany:
            return log_marginals(self.instance())

    @cached_property
    @torch.enable_grad()
    def terms(self) -> list[dict[str, Tensor]]:
        """The terms of the objective of every example, where log p is exact."""
        instance = self.instance()
        return [terms_of(instance, row) for row in range(instance.rows())]

    @cached_property
    @torch.enable_grad()
    def prior(self) -> Tensor:
        """An example's part of log p(parameters)."""
        return log_prior(self.spec, self.weights) / DATASET

    def weighted(self, bound: ExampleBound) -> Tensor:
        """The training objective of one example: reconstruction − Σ β KL + Σ terms + log p(parameters) / N."""
        value = bound.elbo
        for name, kl in bound.kl.items():
            lacks = 1 - self.kl_weight(name)
            value = value + lacks * kl if lacks else value  # also where the KL is infinite
        for name, bits in self.free(bound).items():
            units = bound.each[name] if bits.unit == "dimension" else bound.kl[name][None]
            paid = torch.where(units > bits.nats, units, torch.full_like(units, bits.nats)).sum()
            value = value + self.kl_weight(name) * (bound.kl[name] - paid)
        value = torch.where(bound.elbo == -torch.inf, bound.elbo, value)  # and not -inf + inf
        return value + sum(bound.terms.values()) + self.prior

    def mean_loss(self, values: list[Tensor], weight: Tensor | None) -> Tensor:
        """−Σ w v / Σ w over the examples, and minus their part of log p(parameters)."""
        stacked = torch.stack(values)
        if weight is None:
            return -stacked.mean() - self.prior
        mean = (
            torch.where(weight == 0, 0.0, weight * stacked).sum() / weight.sum()
        )  # what weighs nothing may be impossible
        return -mean - self.prior

    def kl_weight(self, name: str) -> float:
        """β of one latent, by the schedules' definition."""
        schedules = dict(self.spec.kl_weight)
        schedule: Schedule | None = schedules.get(name, schedules.get(""))
        if schedule is None:
            return 1.0
        return at_step(schedule, self.step) if self.training else schedule.values[:2][-1]

    def free(self, bound: ExampleBound) -> dict[str, FreeBits]:
        """Which latents' KL is free in part."""
        known = {n: self.plan.free_bits(n) for n in bound.kl if n in self.plan.sampled}
        return {n: bits for n, bits in known.items() if bits is not None}

    def loss(self, bounds: list[ExampleBound], weight: Tensor | None) -> Tensor:
        """The training loss of a batch; free bits are of the batch's mean KL."""
        shares = torch.ones(len(bounds), dtype=torch.float64) if weight is None else weight
        shares = shares / shares.sum()

        def mean(values: list[Tensor]) -> Tensor:
            return torch.tensordot(shares, torch.stack(values), 1)

        none = torch.zeros((), dtype=torch.float64)  # of what the batch gives in an example
        names = dict.fromkeys(n for b in bounds for n in b.kl)
        kl = {n: mean([b.kl.get(n, none) for b in bounds]) for n in names}
        each = {n: mean([b.each[n] for b in bounds]) for n in bounds[0].each}
        terms = {n: mean([b.terms[n] for b in bounds]) for n in bounds[0].terms}
        return -self.weighted(ExampleBound(mean([b.elbo for b in bounds]), kl, each, terms))


def sizes_of(plan: Plan) -> dict[str, int]:
    """The sizes of a plan's module."""
    return {s.name: dict(plan.sizes)[s.name] for s in plan.spec.sizes}


def module_of(plan: Plan, module_class: type[EmittedModel], seed: int) -> EmittedModel:
    """The module as it begins, in float64."""
    shared = {"dataset_size": DATASET} if plan.spec.counts_examples else {}
    with torch.random.fork_rng():  # of parameters that do not move, the first numbers stay
        torch.manual_seed(seed)
        return module_class(**sizes_of(plan), **shared).to(torch.float64).eval()


def named_values(plan: Plan) -> list[str]:
    """The latents whose draws are values of a finite support, each drawn by itself."""
    drawn = [plan.latent(n) for n in plan.sampled]
    return [
        p.name
        for p in drawn
        if not p.noisy and p.strategy not in TOGETHER and plan.spec.variable(p.name).type.support.finite
    ]


def relaxations(plan: Plan, step: int) -> dict[str, Relaxation]:
    """How the draws of relaxed latents are made at a step."""
    plans = [plan.latent(n) for n in plan.relaxed]
    return {p.name: Relaxation(at_step(p.option("temperature"), step), p.row.draws == "corner") for p in plans}


def telling_step(plan: Plan) -> int:
    """A step at which KL weights are neither 0 nor 1."""
    temperatures = [plan.latent(n).option("temperature") for n in plan.relaxed]
    schedules = [s for s in (*dict(plan.spec.kl_weight).values(), *temperatures) if s.kind != "constant"]
    if not schedules:
        return SETTLED
    half = {"linear": 2, "cyclical": 4}[schedules[0].kind]  # 0.5 is exact in every precision
    return max(int(schedules[0].values[2]) // half, 1)


def at_step(schedule: Schedule, step: int) -> float:
    """A schedule's number at a step."""
    if schedule.kind == "constant":
        return schedule.values[0]
    start, end, steps = schedule.values
    if schedule.kind == "linear":
        return start + (end - start) * min(step / steps, 1.0)
    return start + (end - start) * min(2 * (step % steps) / steps, 1.0)
