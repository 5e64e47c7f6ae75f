"""The distributions that a spec can name, as data: arguments, supports, and what is known of each.

Names and argument names are those of torch.distributions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
class RelaxedFunctions:
    """The runtime's functions of relaxed draws (runtime/estimators/relaxed.py). coordinates: what densities are about. simplex: whether
    a draw is a point of one, not a number."""

    noise: str
    draw: str
    point: str
    corner: str
    log_prob: str
    coordinates: str
    simplex: bool


OF_VALUES = RelaxedFunctions(
    "categorical_relaxed_noise", "categorical_relaxed", "categorical_point", "categorical_corner",
    "categorical_relaxed_log_prob", "log z", True,
)  # fmt: skip
OF_TRUTH = RelaxedFunctions(
    "bernoulli_relaxed_noise", "bernoulli_relaxed", "bernoulli_point", "bernoulli_corner",
    "bernoulli_relaxed_log_prob", "logit z", False,
)  # fmt: skip


@dataclass(frozen=True)
class Family:
    """variate: support of one value. event: "scalar" | "vector" (as long as its vector argument) | "structure".
    reparameterized: torch gives a pathwise gradient. engine: False where it is parsed and checked
    but no strategy scores it yet. between: the arguments that are the least and the greatest value, where some are.
    kl: the divergence from another of the family that the runtime has in closed form: of "each" entry, of the "whole" vector, or
    "none". improper: a density without a total mass. pair: one value is a matrix, a mean beside its covariance.
    relaxed: how draws of it are relaxed, where they may be. censored: of values that are known up to a bound alone, the last argument. observed: of observed values alone."""

    name: str
    arguments: tuple[Argument, ...]
    variate: Support
    event: str = "scalar"
    reparameterized: bool = False
    engine: bool = True
    between: tuple[str, str] = ("", "")
    kl: str = "none"
    improper: bool = False
    pair: bool = False
    relaxed: RelaxedFunctions | None = None
    censored: bool = False
    observed: bool = False

    def argument(self, name: str) -> Argument:
        return next(a for a in self.arguments if a.name == name)

    def find(self, name: str) -> Argument | None:
        return next((a for a in self.arguments if a.name == name), None)


AXES = {"scalar": 0, "vector": 1, "square": 2, "components": 1, "table": 2}


def event_axes(family: str) -> int:
    """The axes that one value takes; others of a variable's event are independent copies."""
    row = FAMILIES[family]
    return 2 if row.pair else 1 if row.event == "vector" else 0


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
            kl="whole",
            relaxed=OF_VALUES,
        ),
        Family(
            "OneHotCategorical",
            (Argument("logits", axes="vector", one_of=_P), Argument("probs", T.NONNEGATIVE, "vector", one_of=_P)),
            T.ONEHOT,
            "vector",
            kl="whole",
            relaxed=OF_VALUES,
        ),
        Family(
            "Bernoulli",
            (Argument("logits", one_of=_P), Argument("probs", T.UNIT, one_of=_P)),
            T.BOOLEAN,
            kl="each",
            relaxed=OF_TRUTH,
        ),
        Family(
            "Binomial",
            (Argument("total_count", T.COUNT), Argument("logits", one_of=_P), Argument("probs", T.UNIT, one_of=_P)),
            T.COUNT,
            between=("", "total_count"),
        ),
        # counts that add up to total_count
        Family(
            "Multinomial",
            (
                Argument("total_count", T.COUNT),
                Argument("logits", axes="vector", one_of=_P),
                Argument("probs", T.NONNEGATIVE, "vector", one_of=_P),
            ),
            T.COUNT,
            "vector",
            observed=True,
        ),
        Family("Geometric", (Argument("logits", one_of=_P), Argument("probs", T.UNIT, one_of=_P)), T.COUNT),
        Family("Poisson", (Argument("rate", T.NONNEGATIVE),), T.COUNT, kl="each"),
        Family(
            "NegativeBinomial",
            (Argument("total_count", T.POSITIVE), Argument("logits", one_of=_P), Argument("probs", T.UNIT, one_of=_P)),
            T.COUNT,
        ),
        Family("ZeroInflatedPoisson", (Argument("gate", T.UNIT), Argument("rate", T.NONNEGATIVE)), T.COUNT),
        Family(
            "ZeroInflatedNegativeBinomial",
            (
                Argument("gate", T.UNIT),
                Argument("total_count", T.POSITIVE),
                Argument("logits", one_of=_P),
                Argument("probs", T.UNIT, one_of=_P),
            ),
            T.COUNT,
        ),
        Family("HurdlePoisson", (Argument("gate", T.UNIT), Argument("rate", T.POSITIVE)), T.COUNT),
        Family("Normal", (_LOC, _SCALE), T.REAL, reparameterized=True, kl="each"),
        Family("Laplace", (_LOC, _SCALE), T.REAL, reparameterized=True, kl="each"),
        Family("LogNormal", (_LOC, _SCALE), T.POSITIVE, reparameterized=True, kl="each"),
        Family(
            "StudentT", (Argument("df", T.POSITIVE), Argument("loc", default=0.0), _SCALE), T.REAL, reparameterized=True
        ),
        Family("Cauchy", (_LOC, _SCALE), T.REAL, reparameterized=True, kl="each"),
        Family("HalfNormal", (_SCALE,), T.POSITIVE, reparameterized=True),
        Family("HalfCauchy", (_SCALE,), T.POSITIVE, reparameterized=True),
        Family(
            "Weibull",
            (Argument("scale", T.POSITIVE), Argument("concentration", T.POSITIVE)),
            T.POSITIVE,
            reparameterized=True,
        ),
        Family("Exponential", (Argument("rate", T.POSITIVE),), T.POSITIVE, reparameterized=True, kl="each"),
        Family(
            "Gamma",
            (Argument("concentration", T.POSITIVE), Argument("rate", T.POSITIVE, default=1.0)),
            T.POSITIVE,
            reparameterized=True,
            kl="each",
        ),
        Family(
            "Beta",
            (Argument("concentration1", T.POSITIVE), Argument("concentration0", T.POSITIVE)),
            T.UNIT,
            reparameterized=True,
            kl="each",
        ),
        Family(
            "Dirichlet",
            (Argument("concentration", T.POSITIVE, "vector"),),
            T.SIMPLEX,
            "vector",
            reparameterized=True,
            kl="whole",
        ),
        Family(
            "Uniform",
            (Argument("low", default=0.0), Argument("high", default=1.0)),
            T.REAL,
            reparameterized=True,
            between=("low", "high"),
        ),
        Family(
            "TruncatedNormal",
            (_LOC, Argument("scale", T.POSITIVE), Argument("low"), Argument("high")),
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
            pair=True,
        ),
        # on the unit sphere: the direction of loc counts, and 0 is the uniform one
        Family(
            "VonMisesFisher",
            (Argument("loc", axes="vector"), Argument("concentration", T.NONNEGATIVE)),
            T.SPHERE,
            "vector",
            reparameterized=True,
            kl="whole",
        ),
        # read as a VonMisesFisher of concentration 0
        Family("SphericalUniform", (Argument("dimension", T.COUNT),), T.SPHERE, "vector", engine=False),
        # read as a Categorical
        Family(
            "OrderedLogistic",
            (Argument("eta"), Argument("cutpoints", T.INCREASING, "vector")),
            SIZED,
            engine=False,
        ),
        # 1 at every vector: no distribution, so that nothing can be drawn; what a deterministic code has for a prior
        Family("ImproperUniform", (Argument("dimension", T.COUNT),), T.REAL, "vector", improper=True),
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

# `Censored(Weibull(scale, concentration), at=c)`: families whose tail has a formula
FAMILIES |= {
    f"Censored{f.name}": replace(
        f,
        name=f"Censored{f.name}",
        arguments=(*f.arguments, Argument("at", f.variate)),
        reparameterized=False,
        kl="none",
        censored=True,
        observed=True,
    )
    for f in (FAMILIES[name] for name in ("Exponential", "Weibull", "LogNormal", "Normal"))
}

# what the compiler makes of a distribution that is written otherwise: `Normal(0, 1)[D] through flow`
MADE: dict[str, Family] = {"Flow": Family("Flow", (), T.REAL, "vector", reparameterized=True)}


def family_of(name: str) -> Family:
    """The row of a distribution's family, written or made."""
    return FAMILIES[name] if name in FAMILIES else MADE[name]


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
