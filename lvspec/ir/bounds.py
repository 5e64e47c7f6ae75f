"""Lower bounds of log p(x) as data: a function F of the log importance weights of S draws, and how its gradient is had.

    log w_s = log p(x, z_s) - log q(z_s | x),  z_s ~ q

    elbo                     1/S Σ log w_s
    iwae                     log 1/S Σ w_s                          Burda, Grosse & Salakhutdinov 2016
    renyi(alpha)             1/(1 - α) log 1/S Σ w_s^(1 - α)        Li & Turner 2016; α = 0 is iwae, α -> 1 the elbo
    reweighted_wake_sleep    iwae for the model; q follows the weighted draws: Σ w̃_s ∇ log q(z_s | x)
                                                                    Bornschein & Bengio 2015; Le et al. 2019

Gradients of what is reparameterized: pathwise, through log w as it stands; sticking_the_landing, without the
gradient that log q has from q's own parameters (Roeder, Wu & Duvenaud 2017); doubly_reparameterized, that gradient
reparameterized once more (Tucker et al. 2019; for renyi by the same argument).
"""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.ir.estimators import OPTIONS as OF_STRATEGIES
from lvspec.ir.options import Key


@dataclass(frozen=True)
class GradientPath:
    """How the gradient of a bound moves q. detached: log q stands without the gradient of its own parameters; again: what
    passes by a draw is weighed once more."""

    detached: bool = False
    again: bool = False


@dataclass(frozen=True)
class Bound:
    """What `infer: bound:` asks for. samples: None is the default. alpha: of renyi."""

    name: str = "elbo"
    samples: int | None = None
    alpha: float = 0.0
    gradient: str = "pathwise"

    @property
    def form(self) -> BoundForm:
        return BOUNDS[self.name]

    @property
    def text(self) -> str:
        """As a spec writes it."""
        values = {"samples": self.samples, "alpha": self.alpha, "gradient": self.gradient}
        given = [f"{n}={v}" for n, v in values.items() if n in self.form.options and v is not None]
        return f"{self.name}({', '.join(given)})"

    @property
    def path(self) -> GradientPath:
        return PATHS[self.gradient]

    @property
    def coupled(self) -> bool:
        """Whether the bound is one function of all draws' weights, so that no term has a closed form of its own."""
        return self.form.coupled or self.path.detached

    @property
    def biased(self) -> bool:
        """Whether its gradient, on average, is another one than the bound's."""
        return self.gradient in self.form.biased


@dataclass(frozen=True)
class BoundForm:
    """options: what its call takes. samples: draws by default. gradients: legal ones. biased: those of them that are
    not the bound's gradient on average. function: of the runtime, of the weights' logarithms. formula: of the weights w_s, with
    {rest} = 1 - alpha. follows: whether q does not move by the bound but follows the draws, by their shares of the weight.
    Whose draws it takes, the rows of ir/estimators.py say."""

    options: tuple[str, ...]
    samples: int | None
    coupled: bool
    gradients: tuple[str, ...]
    biased: tuple[str, ...]
    meaning: str
    function: str
    formula: str
    follows: bool = False

    @property
    def ordered(self) -> bool:
        """Whether it has an order, alpha."""
        return "alpha" in self.options

    @property
    def keys(self) -> tuple[Key, ...]:
        """What a spec may say of it."""
        return tuple(k for k in (*OF_STRATEGIES, *OPTIONS) if k.name in self.options)


ELBO = Bound()
PATHS = {
    "pathwise": GradientPath(),
    "sticking_the_landing": GradientPath(detached=True),
    "doubly_reparameterized": GradientPath(detached=True, again=True),
}
OPTIONS = (
    Key("alpha", "number", None, "the order of a Rényi bound; 0 is iwae, towards 1 the elbo", least=0, most=0.999),
    Key("gradient", "choice", None, "how a reparameterized draw moves q", tuple(PATHS)),
)
BOUNDS = {
    "elbo": BoundForm(
        ("samples", "gradient"),
        None,
        False,
        ("pathwise", "sticking_the_landing"),
        (),
        "the evidence lower bound",
        "elbo_bound",
        "1/S Σ_s log w_s",
    ),
    "iwae": BoundForm(
        ("samples", "gradient"),
        5,
        True,
        tuple(PATHS),
        ("sticking_the_landing",),
        "the importance-weighted bound",
        "iwae",
        "log 1/S Σ_s w_s",
    ),
    "renyi": BoundForm(
        ("samples", "alpha", "gradient"),
        5,
        True,
        tuple(PATHS),
        ("sticking_the_landing",),
        "a variational Rényi bound",
        "renyi",
        "1/{rest:g} log 1/S Σ_s w_s^{rest:g}",
    ),
    "reweighted_wake_sleep": BoundForm(
        ("samples",),
        5,
        True,
        ("pathwise",),
        (),
        "the importance-weighted bound for the model, weighted draws for q",
        "iwae",
        "log 1/S Σ_s w_s",
        follows=True,
    ),
}
