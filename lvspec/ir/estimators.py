"""The strategies by which latents are inferred, as data: one row each, and the control variates of a score term.

A strategy that draws is an estimator of the gradient. A row holds all that is known of it; how it is shown legal is in
plan/strategies/, what it emits in emit/guide/schemes.py. Schema, pictures, `tune`, bounds and docs follow from the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lvspec.ir.options import Key
from lvspec.ir.spec import Schedule
from lvspec.ir.treatments import Treatment


@dataclass(frozen=True)
class ControlVariate:
    """What a draw is held against. samples: draws by default. averages: whether it is a mean over steps. coupled: whether
    it goes with a bound that is one function of all draws' weights. least: the draws that it takes, of which one is held
    against others where they are more. network: whether it is a network of what is observed."""

    meaning: str
    samples: int = 1
    averages: bool = False
    coupled: bool = False
    least: int = 1
    network: bool = False


BASELINES = {
    "leave_one_out": ControlVariate(
        "each of {samples} draws against the others' mean", samples=4, coupled=True, least=2
    ),
    "moving_average": ControlVariate("each draw against the mean of earlier steps", averages=True),
    "learned": ControlVariate(
        "each draw against what a network of the data expects (NVIL)", averages=True, network=True
    ),
    "none": ControlVariate("without a control variate", coupled=True),
}

OPTIONS: tuple[Key, ...] = (
    Key("samples", "integer", None, "draws for each example", least=1, most=10_000),
    Key("baseline", "choice", None, "the control variate of a score term", tuple(BASELINES)),
    Key("balance", "number", None, "what a score term is multiplied by; other than 1 it is biased", above=0),
    Key("sharpness", "number", None, "the power of q that weighs the values drawn", above=0),
    Key("temperature", "schedule", None, "of relaxed draws: a number or `linear(1, 0.1, steps=10000)`", above=0),
    Key(
        "density",
        "choice",
        None,
        "of a relaxed draw: of the value that it stands for, in closed form, or its own",
        ("original", "relaxed"),
    ),
    Key("top", "integer", None, "how many of the most probable values are summed", least=1),
    Key("refine", "integer", None, "steps up the ELBO from where the guide puts q", least=1, most=1000),
    Key("rate", "number", None, "of these steps", above=0),
    Key("chunk", "integer", None, "values that are enumerated together", least=1),
    Key("steps", "integer", None, "rounds of coordinate ascent at most", least=1),
    Key("tolerance", "number", None, "of natural parameters, at which coordinate ascent ends", above=0),
)


@dataclass(frozen=True)
class Apart:
    """What a latent cannot stand beside. other: which strategy (and treatment) of another latent; the message and what would
    help are told of {name} and {other}, which is drawn by {theirs}."""

    other: Callable[[Strategy, Treatment], bool]
    message: str
    help: str
    code: str = "override-refused"


@dataclass(frozen=True)
class Strategy:
    """turn: the planner asks in this order, exact ones first, then unbiased ones. color: of pictures, light enough for dark
    text. options: name → default (None: it depends on the latent, or none is meant). tuned: the calls that `tune` compares, by
    their options. draws: how a draw moves q, None where nothing is drawn:
        pathwise      gradients pass through it
        strata        the same, of each component of a mixture
        score         by what it is worth, times the gradient of log q
        weights       as much as p / q, and no gradient passes through it
        point         the model sees a point between the values, and gradients pass through it
        corner        the same, but the model sees the value that is next to it
        renormalised  q of the values drawn, over its sum, weighs them
    family: of a q whose draws are made together, where the strategy asks for no more. shares: whether its draws have shares of their own in the average over draws. log_q: whether the term is made of log q, not
    of the logits. control: whether its control variate is a network of relaxed draws. multiple: draws come in groups of so many.
    different: whether no two draws of an example are the same value. twice: whether its gradient may be differentiated again.
    bounds: those that take its draws. uncoupled: why a bound of all draws' weights does not. gradients: of a bound, that its
    draws have. apart: what it cannot stand beside. no_kl: why its objective has no KL. spreads: whether other
    latents follow it where they may.
    """

    name: str
    turn: int
    color: str
    meaning: str
    options: Mapping[str, Any] = field(default_factory=dict)
    tuned: tuple[str, ...] = ()
    draws: str | None = None
    family: str = ""
    shares: bool = False
    log_q: bool = True
    control: bool = False
    multiple: int = 1
    different: bool = False
    twice: bool = False
    bounds: tuple[str, ...] = ()
    uncoupled: str = ""
    gradients: tuple[str, ...] = ("pathwise", "sticking_the_landing")
    apart: tuple[Apart, ...] = ()
    no_kl: str = ""
    spreads: bool = False

    @property
    def keys(self) -> tuple[Key, ...]:
        """What a spec may say of it."""
        return tuple(k for k in OPTIONS if k.name in self.options)

    @property
    def calls(self) -> tuple[str, ...]:
        """As `tune` writes them."""
        return tuple(f"{self.name}({options})" if options else self.name for options in self.tuned)

    @property
    def scored(self) -> bool:
        """Whether the gradient passes by the draws: their worth moves q."""
        return self.draws == "score"

    @property
    def pathwise(self) -> bool:
        """Whether the gradient passes through draws of q itself."""
        return self.draws in ("pathwise", "strata")

    @property
    def relaxed(self) -> bool:
        """Whether what the model sees of a draw moves with q, as points between its values do."""
        return self.draws in ("point", "corner")

    @property
    def renormalised(self) -> bool:
        """Whether q of the values drawn, over its sum, weighs them, and moves with q."""
        return self.draws == "renormalised"

    @property
    def draws_values(self) -> bool:
        """Whether it is for latents without a pathwise derivative, finite ones as a rule."""
        return self.scored or self.relaxed or self.renormalised


TEMPERATURE = Schedule("constant", (0.5,))
ALIKE = "all draws weigh the same"
ONE_BY_ONE = "discrete latents are drawn by reinforce"
ELSE_REINFORCE = "let reinforce draw {name}"
SHARES = Apart(
    lambda row, treatment: row.shares,
    "{name} and {other} both weigh the draws of an example",
    "let reinforce draw {other}",
)
PAIRS = Apart(
    lambda row, treatment: row.shares,
    "draws of {name} are pairs that count alike, and those of {other} have shares of their own",
    ELSE_REINFORCE,
)
OWN_WEIGHTS = Apart(
    lambda row, treatment: row.draws is not None,
    "the draws of {name} are weighed by its own p, and {other} is drawn beside it",
    ELSE_REINFORCE,
)
COMPONENTS = Apart(
    lambda row, treatment: row.scored,
    "{other} is drawn by {theirs}, and weights of {name}'s components have gradients of their own",
    "{name}: reparameterization",
)
BESIDE_A_POINT = "{name} is a point estimate, and {other} has a q of its own: no engine yet for both"
POINT_AND_VALUES = Apart(
    lambda row, treatment: treatment.averaged or (treatment.drawn and row.draws_values),
    BESIDE_A_POINT,
    "leave q({other}) out of `guide:`, so that {other} is summed, or give {name} a q that is no point",
    "no-strategy",
)
POINT_AND_DRAWS = Apart(
    lambda row, treatment: not (treatment.marginal or treatment.point or POINT_AND_VALUES.other(row, treatment)),
    BESIDE_A_POINT,
    "write `{other}: Delta(...)`, too",
    "no-strategy",
)

STRATEGIES: dict[str, Strategy] = {
    s.name: s
    for s in (
        Strategy("enumeration", 3, "#a9d6f5", "a sum over every value", {"chunk": None}, tuned=("",)),
        Strategy("dynamic_programming", 1, "#a8e0c8", "a sum over a chain or a structure, site by site"),
        Strategy("linear_gaussian", 2, "#d5e8a0", "a Gaussian chain, integrated by the Kalman filter"),
        Strategy("joint_gaussian", 6, "#f0ee9c", "Gaussians that factors join, integrated together"),
        Strategy("marginals", 4, "#b9c9f2", "an average under the marginals of a CRF guide"),
        Strategy("conjugacy", 5, "#f6ec9c", "an integral by conjugate sufficient statistics"),
        Strategy(
            "mean_field",
            7,
            "#e3d18a",
            "q in the family of its prior, at the optimum of coordinate ascent",
            {"steps": 50, "tolerance": 1e-3},  # they end where natural parameters move by less on average
            spreads=True,  # integrals under expectations of its factors are none
        ),
        Strategy(
            "structured_mean_field",
            8,
            "#d9c37a",
            "q a product of chains, each exact under the others' expectations",
            {"steps": 20, "tolerance": 1e-3},  # they end where log-potentials move by less on average
        ),
        Strategy(
            "reparameterization",
            10,
            "#fbd08f",
            "draws that are functions of noise and of q's parameters",
            {"samples": 1, "refine": None, "rate": 0.1},
            ("", "samples=4"),
            draws="pathwise",
            twice=True,
            bounds=("elbo", "iwae", "renyi"),
            gradients=("pathwise", "sticking_the_landing", "doubly_reparameterized"),
        ),
        Strategy(
            "stratified",
            11,
            "#fbc08f",
            "draws of each component of a mixture, weighed by the component's own weight",
            {"samples": None},  # one of each component
            ("",),
            draws="strata",
            shares=True,
            bounds=("elbo",),
            uncoupled=ALIKE,
            apart=(SHARES, COMPONENTS),
        ),
        Strategy("point_estimate", 9, "#cfd8c8", "one value, the best of log p", apart=(POINT_AND_VALUES, POINT_AND_DRAWS), no_kl=(
            "{name} is a point estimate: the objective log p(x, {name}) has no KL"
        )),
        Strategy(
            "reinforce",
            12,
            "#f4ab93",
            "draws by what each is worth against a control variate",
            {"samples": 4, "baseline": "leave_one_out", "balance": 1.0},
            ("samples=2", "samples=4", "samples=8", "samples=1, baseline=moving_average", "samples=1, baseline=learned"),
            draws="score",
            bounds=("elbo", "iwae", "renyi"),
        ),
        Strategy(
            "wake_sleep",
            17,
            "#eebbb0",
            "draws of q, weighed by how likely the model finds them",
            {"samples": 4},
            draws="weights",
            bounds=("reweighted_wake_sleep",),
        ),
        Strategy(
            "disarm",
            13,
            "#f4ab93",
            # ∇_α E f(b) = E[ (f(b) - f(b'))/2 (b - b') σ(|α|) ], b = 1[u < σ(α)], b' = 1[1 - u < σ(α)]: a pair that agrees
            # says nothing; all sites have opposites in it (Dong, Mnih & Tucker 2020)
            "pairs of opposite draws against each other (DisARM)",
            {"samples": 4},
            ("samples=4",),
            draws="score",
            family="Bernoulli",
            log_q=False,
            multiple=2,
            bounds=("elbo",),
            uncoupled=ONE_BY_ONE,
            apart=(PAIRS,),
        ),
        Strategy(
            "sum_and_sample",
            14,
            "#f4ab93",
            "the most probable values summed, others drawn",
            {"samples": 4, "top": 1},
            ("samples=4",),
            draws="score",
            shares=True,
            bounds=("elbo",),
            uncoupled=ONE_BY_ONE,
            apart=(SHARES,),
        ),
        Strategy(
            "without_replacement",
            15,
            "#f4ab93",
            "different values, each against the rest of the set",
            {"samples": 4},
            ("samples=4",),
            draws="score",
            shares=True,
            different=True,
            bounds=("elbo",),
            uncoupled=ONE_BY_ONE,
            apart=(SHARES,),
        ),
        Strategy(
            "subset",
            20,
            "#f2b8a0",
            "the average over the values drawn, p renormalised among them",
            {"samples": 8, "sharpness": 1.0},
            ("",),
            draws="renormalised",
            shares=True,
            bounds=("elbo",),
            uncoupled=ONE_BY_ONE,
            apart=(SHARES, OWN_WEIGHTS),
        ),
        Strategy(
            "relax",
            16,
            "#f4ab93",
            "draws against a network of relaxed draws, whose own gradient is added back",
            {"samples": 1, "temperature": TEMPERATURE},
            ("samples=1",),
            draws="score",
            log_q=False,
            control=True,
            bounds=("elbo",),
            uncoupled=ONE_BY_ONE,
        ),
        Strategy(
            "gumbel_softmax",
            18,
            "#e3bdd9",
            "a point of the simplex near one of its corners",
            {"samples": 1, "temperature": TEMPERATURE, "density": "original"},
            ("temperature=0.5",),
            draws="point",
            bounds=("elbo",),
            uncoupled=ONE_BY_ONE,
        ),
        Strategy(
            "straight_through",
            19,
            "#e3bdd9",
            "a corner of the simplex, with the gradient of a point near it",
            {"samples": 1, "temperature": TEMPERATURE},
            ("temperature=0.5",),
            draws="corner",
            bounds=("elbo",),
            uncoupled=ONE_BY_ONE,
        ),
    )
}  # fmt: skip
BY_TURN = tuple(sorted(STRATEGIES.values(), key=lambda row: row.turn))
OF_STRUCTURES = STRATEGIES["dynamic_programming"]  # what a structure's own algorithm is


def drawn_under(bound: str) -> tuple[str, ...]:
    """The strategies whose draws a bound takes, in their order."""
    return tuple(row.name for row in BY_TURN if bound in row.bounds)


def text_of(value: object) -> str:
    """An option's value as a spec writes it."""
    if isinstance(value, Schedule):
        return value.text
    return f"{value:g}" if isinstance(value, float) else str(value)
