"""What a strategy answers about a latent, and what it is asked with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lvspec.ir.bounds import ELBO, Bound
from lvspec.ir.estimators import STRATEGIES, drawn_under
from lvspec.ir.plan import Cost, Integration
from lvspec.ir.spec import Options
from lvspec.ir.treatments import TREATMENTS, Treatment
from lvspec.plan.components import Component
from lvspec.plan.model import Model
from lvspec.plan.prices.price import Pricer, priced


@dataclass(frozen=True)
class Claim:
    """The strategy is legal here. treatment, exact, options: see ir/plan.py; integration: what is integrated with the
    latent; samples: the draws that it takes. pay: what a step pays for it; cost: that alone, where it decides what is
    legal (`alone` gives that of draws, which many strategies would make and one does). kl_why: why its KL is that of the draw,
    where the strategy says so."""

    treatment: str
    exact: bool
    why: str
    pay: Callable[[Pricer], None]
    cost: Cost | None = None
    biased: bool = False
    integration: Integration | None = None
    samples: int = 1
    options: Options = ()
    kl_why: str = ""

    @property
    def treated(self) -> Treatment:
        """What is known of its treatment."""
        return TREATMENTS[self.treatment]

    def alone(self, model: Model) -> Cost:
        return self.cost or priced(Pricer(model, set(), self.samples), self.pay)


@dataclass(frozen=True)
class Declined:
    """The condition that failed, in words that a person can act on: what would mend it comes behind `: write `."""

    reason: str

    @property
    def mend(self) -> str:
        _, _, mend = self.reason.partition(": write ")
        return f"write {mend}" if mend else ""


@dataclass(frozen=True)
class View:
    """model: the facts. collapsible: components of latents that may be log-summed together, by latent.
    barred: why a finite latent is in none of them. asked: draws that the spec asks for, if it does. bound: what is
    optimised where something is drawn. found: what strategies say of several latents at once."""

    model: Model
    collapsible: dict[str, Component]
    barred: dict[str, str]
    asked: int | None
    bound: Bound = ELBO
    found: dict[str, dict[str, Claim | Declined]] = field(default_factory=dict)

    def shared(self, strategy: str, find: Callable[[], dict[str, Claim | Declined]]) -> dict[str, Claim | Declined]:
        """A strategy's answers about all latents, found once."""
        if strategy not in self.found:
            self.found[strategy] = find()
        return self.found[strategy]

    def options(self, latent: str, strategy: str) -> dict[str, Any]:
        """What the spec says of a strategy for a latent."""
        override = self.model.overrides.get(latent)
        return dict(override.options) if override is not None and override.strategy == strategy else {}

    def option(self, latent: str, strategy: str, name: str):
        """An option of a strategy for a latent, or its default."""
        return self.options(latent, strategy).get(name, STRATEGIES[strategy].options[name])

    def draws(self, strategy: str) -> int:
        """How many draws a strategy makes: what the spec asks for, or its own number."""
        return self.asked or STRATEGIES[strategy].options["samples"]


def under(bound: Bound, strategy: str, answer: Claim | Declined) -> Claim | Declined:
    """A strategy's answer, or why the bound rules it out: the rows of ir/estimators.py."""
    if isinstance(answer, Declined) or answer.treated.marginal:
        return answer
    row = STRATEGIES[strategy]
    if row.draws and bound.name not in row.bounds:
        return Declined(f"the bound is {bound.name}, which takes draws by {' or '.join(drawn_under(bound.name))}")
    if bound.coupled and row.uncoupled:
        return Declined(f"under {bound.name} ({bound.gradient} gradient) {row.uncoupled}")
    if bound.coupled and not answer.treated.drawn:
        return Declined(
            f"under {bound.name} ({bound.gradient} gradient) all draws stand in one function of their weights: "
            "what is averaged under q would have no term of its own"
        )
    return answer


def of_latent_length(view: View, latent, answer: Claim | Declined) -> Claim | Declined:
    """On a plate whose length is a variable, a latent has a factor q: what counts of it differs from draw to draw."""
    plate = next((p for p in latent.plates if view.model.spec.plate(p).length), None)
    if plate is None or isinstance(answer, Declined):
        return answer
    if not answer.treated.guided:
        return Declined(f"the length of {plate} is a variable: {latent.name} is drawn, or averaged under its guide")
    length = view.model.spec.plate(plate).length
    guide = view.model.guide_reads.get(length, ()) if length else ()
    if any(r.name == latent.name for r in guide):
        return Declined(f"q({length}) reads {latent.name}, sites included that do not count: draw {length} first")
    return answer
