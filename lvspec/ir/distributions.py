"""The distributions that a spec can name, as data: arguments, supports, and what is known of each.

Names and argument names are those of torch.distributions.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.ir import types as T
from lvspec.ir.dims import Shape
from lvspec.ir.structures import STRUCTURES
from lvspec.ir.types import Support

SIZED = Support("integer")  # the size is the last axis of the first given argument


@dataclass(frozen=True)
class Argument:
    """name; support that its value must have; event axes that one variate takes of it ("vector": the last axis,
    "square": the last two, "components": one, of which the variate knows nothing, "table": components, each a vector as
    long as the variate, "scalar": none); default number, or None when required;
    one_of: exactly one of the arguments with the same tag is given (probs or logits)."""

    name: str
    support: Support = T.REAL
    axes: str = "scalar"
    default: float | None = None
    one_of: str | None = None


@dataclass(frozen=True)
class Family:
    """variate: support of one value. event: "scalar" | "vector" (as long as its vector argument) | "structure".
    reparameterized: torch gives a pathwise gradient. engine: False where it is parsed and checked
    but no strategy scores it yet. between: the arguments that are the least and the greatest value, where some are."""

    name: str
    arguments: tuple[Argument, ...]
    variate: Support
    event: str = "scalar"
    reparameterized: bool = False
    engine: bool = True
    between: tuple[str, str] = ("", "")

    def argument(self, name: str) -> Argument:
        return next(a for a in self.arguments if a.name == name)

    def find(self, name: str) -> Argument | None:
        return next((a for a in self.arguments if a.name == name), None)


AXES = {"scalar": 0, "vector": 1, "square": 2, "components": 1, "table": 2}
IMPROPER = ("ImproperUniform",)  # densities without a total mass
DRAWN_TOGETHER = ("NormalInverseWishart",)  # one value is a matrix: a mean beside its covariance


def event_axes(family: str) -> int:
    """The axes that one value takes; others of a variable's event are independent copies."""
    if family in DRAWN_TOGETHER:
        return 2
    return 1 if FAMILIES[family].event == "vector" else 0


def argument_rank(family: str, argument: str, rank: int) -> int:
    """The event axes of an argument that differs between all copies of a variable with `rank` event axes."""
    return rank - event_axes(family) + AXES[FAMILIES[family].argument(argument).axes]


def argument_shape(family: str, argument: str, shape: Shape) -> Shape:
    """The shape of an argument that differs between all copies of a variable of event shape `shape`."""
    copies = len(shape) - event_axes(family)
    axes = AXES[FAMILIES[family].argument(argument).axes]
    return (*shape[:copies], *shape[copies : copies + 1] * axes)


_LOC = Argument("loc")
_SCALE = Argument("scale", T.POSITIVE, default=1.0)
_P = "parameter"

FAMILIES: dict[str, Family] = {
    f.name: f
    for f in (
        Family(
            "Categorical",
            (Argument("logits", axes="vector", one_of=_P), Argument("probs", T.NONNEGATIVE, "vector", one_of=_P)),
            SIZED,
        ),
        Family(
            "OneHotCategorical",
            (Argument("logits", axes="vector", one_of=_P), Argument("probs", T.NONNEGATIVE, "vector", one_of=_P)),
            T.ONEHOT,
            "vector",
        ),
        Family("Bernoulli", (Argument("logits", one_of=_P), Argument("probs", T.UNIT, one_of=_P)), T.BOOLEAN),
        Family(
            "Binomial",
            (Argument("total_count", T.COUNT), Argument("logits", one_of=_P), Argument("probs", T.UNIT, one_of=_P)),
            T.COUNT,
            between=("", "total_count"),
        ),
        Family("Geometric", (Argument("logits", one_of=_P), Argument("probs", T.UNIT, one_of=_P)), T.COUNT),
        Family("Poisson", (Argument("rate", T.POSITIVE),), T.COUNT),
        Family(
            "NegativeBinomial",
            (Argument("total_count", T.POSITIVE), Argument("logits", one_of=_P), Argument("probs", T.UNIT, one_of=_P)),
            T.COUNT,
        ),
        Family("ZeroInflatedPoisson", (Argument("gate", T.UNIT), Argument("rate", T.POSITIVE)), T.COUNT),
        Family("Normal", (_LOC, _SCALE), T.REAL, reparameterized=True),
        Family("Laplace", (_LOC, _SCALE), T.REAL, reparameterized=True),
        Family("LogNormal", (_LOC, _SCALE), T.POSITIVE, reparameterized=True),
        Family(
            "StudentT", (Argument("df", T.POSITIVE), Argument("loc", default=0.0), _SCALE), T.REAL, reparameterized=True
        ),
        Family("HalfNormal", (_SCALE,), T.POSITIVE, reparameterized=True),
        Family(
            "Weibull",
            (Argument("scale", T.POSITIVE), Argument("concentration", T.POSITIVE)),
            T.POSITIVE,
            reparameterized=True,
        ),
        Family("Exponential", (Argument("rate", T.POSITIVE),), T.POSITIVE, reparameterized=True),
        Family(
            "Gamma",
            (Argument("concentration", T.POSITIVE), Argument("rate", T.POSITIVE, default=1.0)),
            T.POSITIVE,
            reparameterized=True,
        ),
        Family(
            "Beta",
            (Argument("concentration1", T.POSITIVE), Argument("concentration0", T.POSITIVE)),
            T.UNIT,
            reparameterized=True,
        ),
        Family(
            "Dirichlet", (Argument("concentration", T.POSITIVE, "vector"),), T.SIMPLEX, "vector", reparameterized=True
        ),
        Family(
            "Uniform",
            (Argument("low", default=0.0), Argument("high", default=1.0)),
            T.REAL,
            reparameterized=True,
            between=("low", "high"),
        ),
        # of scale_tril the lower triangle is read
        Family(
            "MultivariateNormal",
            (
                Argument("loc", axes="vector"),
                Argument("covariance_matrix", T.COVARIANCE, "square", one_of=_P),
                Argument("scale_tril", axes="square", one_of=_P),
            ),
            T.REAL,
            "vector",
            reparameterized=True,
        ),
        # a mean and a covariance, drawn together: one value is the matrix [D, 1 + D] of both
        Family(
            "NormalInverseWishart",
            (
                Argument("loc", axes="vector"),
                Argument("kappa", T.POSITIVE),
                Argument("df", T.POSITIVE),
                Argument("scale", T.COVARIANCE, "square", one_of=_P),
                Argument("scale_tril", axes="square", one_of=_P),
            ),
            T.REAL,
            "vector",
        ),
        # on the unit sphere: the direction of loc counts, and 0 is the uniform one
        Family(
            "VonMisesFisher",
            (Argument("loc", axes="vector"), Argument("concentration", T.NONNEGATIVE)),
            T.SPHERE,
            "vector",
            reparameterized=True,
        ),
        # read as a VonMisesFisher of concentration 0
        Family("SphericalUniform", (Argument("dimension", T.COUNT),), T.SPHERE, "vector", engine=False),
        # 1 at every vector: no distribution, so that nothing can be drawn; what a deterministic code has for a prior
        Family("ImproperUniform", (Argument("dimension", T.COUNT),), T.REAL, "vector"),
        # of Gaussians with independent coordinates, which share the component
        Family(
            "NormalMixture",
            (
                Argument("logits", axes="components"),
                Argument("loc", axes="table"),
                Argument("scale", T.POSITIVE, "table"),
            ),
            T.REAL,
            "vector",
            reparameterized=True,
        ),
        # parsed and checked; engines come with later issues
        Family("TruncatedGeometric", (Argument("gamma", T.UNIT), Argument("max", T.COUNT)), T.COUNT, engine=False),
        Family("Delta", (Argument("value"),), T.REAL, engine=False),
        Family("Pointer", (Argument("weights", T.NONNEGATIVE), Argument("values", T.COUNT)), T.COUNT, engine=False),
        # over a plate
        *(
            Family(name, tuple(Argument(argument) for argument, _ in row.axes), T.STRUCTURE, "structure")
            for name, row in STRUCTURES.items()
        ),
    )
}

# what the compiler makes of a distribution that is written otherwise: `Normal(0, 1)[D] through flow`
MADE: dict[str, Family] = {"Flow": Family("Flow", (), T.REAL, "vector", reparameterized=True)}


def family_of(name: str) -> Family:
    """The row of a distribution's family, written or made."""
    return FAMILIES[name] if name in FAMILIES else MADE[name]


# pairs (q, p) whose Kullback-Leibler divergence the runtime has in closed form
ANALYTIC_KL: tuple[tuple[str, str], ...] = (
    ("Normal", "Normal"),
    ("Categorical", "Categorical"),
    ("OneHotCategorical", "OneHotCategorical"),
    ("Bernoulli", "Bernoulli"),
    ("LogNormal", "LogNormal"),
    ("Laplace", "Laplace"),
    ("Gamma", "Gamma"),
    ("Exponential", "Exponential"),
    ("Beta", "Beta"),
    ("Dirichlet", "Dirichlet"),
    ("Poisson", "Poisson"),
    ("VonMisesFisher", "VonMisesFisher"),
)

# the family of a mean-field factor for a latent with this support, where no guide is written
GUIDE_FAMILY: dict[str, str] = {
    "integer": "Categorical",
    "boolean": "Bernoulli",
    "count": "Poisson",
    "real": "Normal",
    "positive": "LogNormal",
    "nonnegative": "LogNormal",
    "unit": "Beta",
    "simplex": "Dirichlet",
    "sphere": "VonMisesFisher",
}

# families of vectors whose divergence is not a sum over coordinates
WHOLE = ("Categorical", "OneHotCategorical", "Dirichlet", "VonMisesFisher")
