"""What the planner decided, as data: per latent a strategy with its reasons, and how they compose."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lvspec.ir.axes import latent_of
from lvspec.ir.bounds import ELBO, Bound
from lvspec.ir.elimination import SumStep
from lvspec.ir.estimators import BASELINES, STRATEGIES, ControlVariate, Strategy, text_of
from lvspec.ir.expr import Expr
from lvspec.ir.joint_gaussian import Level
from lvspec.ir.notation import Notation
from lvspec.ir.spec import FreeBits, Network, Options, Spec, Variable
from lvspec.ir.treatments import TREATMENTS, Treatment


@dataclass(frozen=True)
class Cost:
    """One training step at the nominal sizes. flops: multiply-adds, forward and backward; bytes: what is allocated at once at
    the peak, tensors and the graph of operations; dispatches: operations that are called, each of which costs time however
    small it is; looped: those of them that a loop over sites calls on rows that are ready, without a graph; learned: bytes
    of parameters, their gradients and what the optimizer keeps of them; exponentials: numbers that log-sums run over, and
    what takes as long."""

    flops: float
    bytes: float
    dispatches: float = 0.0
    learned: float = 0.0
    exponentials: float = 0.0
    looped: float = 0.0

    @property
    def seconds(self) -> float:
        """About how long it takes on one core, by rates that were measured (benchmarks/prices.py)."""
        numbers = self.flops / FLOPS_A_SECOND + self.bytes / BYTES_A_SECOND + self.exponentials * EXPONENTIAL_SECONDS
        calls = (self.dispatches - self.looped) * DISPATCH_SECONDS + self.looped * LOOPED_SECONDS
        return numbers + calls + STEP_SECONDS


FLOPS_A_SECOND, BYTES_A_SECOND, EXPONENTIAL_SECONDS = 4e10, 4e9, 8e-9
DISPATCH_SECONDS, LOOPED_SECONDS, STEP_SECONDS = (
    3.5e-6,
    1.7e-6,
    3e-4,
)  # the last one: what a step takes that does nothing


@dataclass(frozen=True)
class LatentPlan:
    """What is done with one latent.

    strategy: the name of a row of ir/estimators.py, which is `row`.
    treatment: the name of a row of ir/treatments.py, which is `treated`.
    exact: no Monte-Carlo error from this latent. biased: only ever on request.
    guide: written | derived | own (the latent's own distribution) | none.
    kl: analytic | sampled (log q - log p at the draw) | zero (q is p) | none (collapsed, integrated); kl_why says why not
        analytic.
    why: in one sentence. declined: (strategy, reason) for each strategy that was not chosen.
    along: the ordered plate along which some factor reads an earlier site of it, or over which it is one structure.
    """

    name: str
    strategy: str
    treatment: str
    exact: bool
    biased: bool
    why: str
    cost: Cost
    declined: tuple[tuple[str, str], ...]
    guide: str = "none"
    kl: str = "none"
    kl_why: str = ""
    options: Options = ()  # of the strategy, defaults included
    along: str | None = None

    def option(self, name: str, default: Any = None) -> Any:
        return dict(self.options).get(name, default)

    @property
    def row(self) -> Strategy:
        """What is known of its strategy."""
        return STRATEGIES[self.strategy]

    @property
    def treated(self) -> Treatment:
        """What is known of its treatment."""
        return TREATMENTS[self.treatment]

    @property
    def variate(self) -> ControlVariate | None:
        """What its draws are held against, where its strategy leaves a choice."""
        return BASELINES.get(str(self.option("baseline")))

    @property
    def averages(self) -> bool:
        """Whether what its draws were worth is averaged over steps."""
        return self.row.control or self.variate is not None and self.variate.averages

    @property
    def relaxed(self) -> bool:
        """Whether what stands for a value of the latent is a point between its values, or moves as one does."""
        return self.row.relaxed

    @property
    def noisy(self) -> bool:
        """Whether its draws are made of base noise that does not depend on q."""
        return self.row.relaxed or self.row.pathwise

    @property
    def text(self) -> str:
        """The strategy as a spec writes it, without what is by default."""
        given = ", ".join(f"{n}={text_of(v)}" for n, v in self.options if v != self.row.options.get(n))
        return f"{self.strategy}({given})" if given else self.strategy

    @property
    def scored(self) -> bool:
        """Whether the gradient passes by the latent's draws: their worth moves q."""
        return self.row.scored


@dataclass(frozen=True)
class Baseline:
    """B(x; ψ), a guess of what a draw is worth from what is observed: a number per example, or per site. value: the
    expression; networks: those that it reads, which no other part of the model does."""

    latent: str
    value: Expr
    networks: tuple[Network, ...]


@dataclass(frozen=True)
class Elimination:
    """Collapsed latents that are summed together, in this order; `chain`: the ordered plate along which
    the sum is a dynamic program (None: plain enumeration)."""

    latents: tuple[str, ...]
    chain: str | None
    order: int  # how many previous sites a site reads (0 without a chain)
    cost: Cost


@dataclass(frozen=True)
class Integration:
    """Latents that are integrated out together in closed form, by the strategy's rule, with the observed variables
    that read them: these have no factors of their own then. choices: the axes of the summed latents that choose its
    coefficients. levels: of joint Gaussians, outermost first; steps: of those that go one by one."""

    latents: tuple[str, ...]
    rule: str
    observed: tuple[str, ...]
    choices: tuple[str, ...] = ()
    levels: tuple[Level, ...] = ()
    steps: tuple[SumStep, ...] = ()

    @property
    def latent(self) -> str:
        """The first of them, of most rules the only one."""
        return self.latents[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Every variable whose factor stands inside the integral."""
        return (*self.latents, *self.observed)

    @property
    def parents(self) -> tuple[str, ...]:
        """The summed latents that choose its coefficients."""
        return tuple(dict.fromkeys(map(latent_of, self.choices)))


@dataclass(frozen=True)
class Summed:
    """An observed variable that is drawn as one structure, whose hidden part is summed by the structure's own
    algorithm. part: the hidden part's name, where the spec gives one."""

    name: str
    family: str
    part: str | None
    algorithm: str
    cost: Cost


@dataclass(frozen=True)
class Plan:
    """A spec with its inference.

    guide: the q-factors in force, written or derived (and the let variables they read).
    networks: the spec's, and those of derived guides.
    objective: "log_marginal" when everything is exact and summed or integrated out, "log_joint" where latents have point
        estimates, else "elbo".
    formula: the objective as a person writes it.
    samples: draws per example, S (1 where a single one is enough; leave-one-out needs two or more).
    sizes: the numbers that the costs were computed with. nominal: those of them that only data know,
        with B for the batch and |t| for plates.
    """

    spec: Spec
    latents: tuple[LatentPlan, ...]
    eliminations: tuple[Elimination, ...]
    guide: tuple[Variable, ...]
    networks: tuple[Network, ...]
    objective: str
    formula: str
    samples: int
    sizes: tuple[tuple[str, int], ...]
    nominal: tuple[str, ...]
    # fixed plates whose sites are written out one by one, because something reads them together
    unrolled: tuple[str, ...] = ()
    drawn_in_weights: tuple[str, ...] = ()  # latents that are summed under their q, and drawn in importance weights
    structures: tuple[Summed, ...] = ()  # observed variables over whole plates
    integrations: tuple[Integration, ...] = ()
    step: Cost = Cost(0.0, 0.0)  # of the whole step: what several latents share is in it once
    bound: Bound = ELBO  # what is optimised where the objective is not exact
    baselines: tuple[Baseline, ...] = ()  # learned control variates
    derived: str = ""  # the guide that nobody wrote, as lines of a spec

    @cached_property
    def notation(self) -> Notation:
        """What its densities are called."""
        return Notation(self.spec, self.guide)

    @cached_property
    def coupled(self) -> bool:
        """Whether all draws of an example stand inside one function of their importance weights."""
        return bool(self.sampled) and self.bound.coupled

    def free_bits(self, name: str) -> FreeBits | None:
        """What of a latent's KL costs nothing."""
        free = dict(self.spec.free_bits)
        return free.get(name, free.get(""))

    @cached_property
    def scored(self) -> tuple[str, ...]:
        """Latents whose draws move q by their worth."""
        return tuple(p.name for p in self.latents if p.scored)

    def baseline(self, name: str) -> Baseline:
        return next(b for b in self.baselines if b.latent == name)

    @cached_property
    def weighed(self) -> LatentPlan | None:
        """The latent whose draws have shares of their own in the average over draws."""
        return next((p for p in self.latents if p.row.shares), None)

    @cached_property
    def refined(self) -> tuple[str, ...]:
        """Latents whose q takes steps up the ELBO from where its guide puts it."""
        return tuple(p.name for p in self.latents if p.option("refine"))

    @cached_property
    def renormalised(self) -> tuple[str, ...]:
        """Latents whose draws are weighed by their own q, over its sum."""
        return tuple(p.name for p in self.latents if p.row.renormalised)

    @cached_property
    def relaxed(self) -> tuple[str, ...]:
        """Latents of which the model sees relaxed draws."""
        return tuple(p.name for p in self.latents if p.relaxed)

    @cached_property
    def shared(self) -> tuple[str, ...]:
        """Latents that stand outside the batch plate: one value for all examples."""
        outside = {v.name for v in self.spec.of_role("latent") if v.outside_batch}
        return tuple(p.name for p in self.latents if p.name in outside)

    @cached_property
    def drawn_once(self) -> tuple[str, ...]:
        """Those of them that are drawn, or have factors of a mean field, to be drawn from for importance weights."""
        return tuple(n for n in self.shared if n in (*self.sampled, *self.mean_field))

    @cached_property
    def enumerated(self) -> tuple[str, ...]:
        """Latents that are summed under their guide."""
        return tuple(p.name for p in self.latents if p.treated.averaged)

    @cached_property
    def labelled(self) -> tuple[str, ...]:
        """Latents that are summed under their guide, all of them one value an example, and given by data: a batch that gives them
        throughout has an objective without a sum."""
        named = {name for name, _ in self.spec.data}
        kept = [self.spec.variable(n) for n in self.enumerated]
        plain = all(v.name in named and not v.plates and not v.type.shape and v.type.support.finite for v in kept)
        return self.enumerated if plain and self.sampled and not self.coupled and not self.refined else ()

    @cached_property
    def summed_beside_draws(self) -> tuple[str, ...]:
        """Latents that are summed out given draws of others, or their points."""
        return tuple(n for n in self.summed if n not in self.drawn_in_weights) if self.sampled or self.points else ()

    @cached_property
    def biased(self) -> bool:
        """Whether the training gradient is, on average, another one than the objective's."""
        return any(p.biased for p in self.latents) or self.coupled and self.bound.biased

    @cached_property
    def absorbed(self) -> frozenset[str]:
        """The variables whose factors stand inside an integral."""
        return frozenset(n for i in self.integrations for n in i.names)

    @cached_property
    def lean(self) -> bool:
        """Whether `infer: memory: lean` asks for chains in little memory."""
        return dict(self.spec.infer).get("memory") == "lean"

    def latent(self, name: str) -> LatentPlan:
        return next(p for p in self.latents if p.name == name)

    @cached_property
    def mean_field(self) -> tuple[str, ...]:
        """Latents whose q stands at its optimum, by expected statistics."""
        return tuple(p.name for p in self.latents if p.treated.optimal and not p.treated.chains)

    @cached_property
    def structured(self) -> tuple[str, ...]:
        """Latents whose chains are factors of their own."""
        return tuple(p.name for p in self.latents if p.treated.chains)

    @cached_property
    def points(self) -> tuple[str, ...]:
        """Latents that are one value, not a distribution."""
        return tuple(p.name for p in self.latents if p.treated.point)

    @cached_property
    def summed(self) -> tuple[str, ...]:
        """Discrete latents that are summed, out or under their guide."""
        return tuple(p.name for p in self.latents if p.treated.summed)

    @cached_property
    def sampled(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.latents if p.treated.drawn)
