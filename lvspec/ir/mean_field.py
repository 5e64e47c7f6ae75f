"""Pairs of a conjugate prior and a likelihood, as data: where E_q[log p(child | latent)] is linear in expected statistics.

    theta: Dirichlet(alpha)     z: Categorical(probs=theta)       E log theta
    mu: Normal(m, s)            x: Normal(mu, ...)                E mu, E mu²
    tau: Gamma(a, b)            x: Normal(..., 1 / sqrt(tau))     E log tau, E tau
    (mu, Sigma): NormalInverseWishart(...)      x: MultivariateNormal(mu, covariance_matrix=Sigma)      E P mu, E mu' P mu
                                                                  and E P, E log |Sigma|, where P is the inverse of Sigma

The full conditional of such a latent is in its prior's family, so q at its optimum is too: its natural parameters are the
prior's plus what the children's expected log-factors say per unit of each statistic.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.ir.conjugate import mean_and_covariance
from lvspec.ir.dims import Shape
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.expr import Call, Dist, Expr, Index, Number, ParamRef, Part, PlateIndex, VariableRef, walk

# family of the prior -> the statistics that its natural parameters multiply, as words for names in the emitted text
STATISTICS: dict[str, tuple[str, ...]] = {
    "Dirichlet": ("log",),
    "Beta": ("log", "log_not"),
    "Gamma": ("log", "mean"),
    "Normal": ("mean", "square"),
    "NormalInverseWishart": ("weighted", "square", "precision", "log_det"),
}

# (family of the child, its argument) -> (family of the prior, how the latent stands there)
PAIRS: dict[tuple[str, str], tuple[str, str]] = {
    ("Categorical", "probs"): ("Dirichlet", "itself"),
    ("Bernoulli", "probs"): ("Beta", "itself"),
    ("Poisson", "rate"): ("Gamma", "itself"),
    ("Exponential", "rate"): ("Gamma", "itself"),
    ("Normal", "loc"): ("Normal", "itself"),
    ("Normal", "scale"): ("Gamma", "precision"),
    ("MultivariateNormal", "loc"): ("NormalInverseWishart", "part 0"),
    ("MultivariateNormal", "covariance_matrix"): ("NormalInverseWishart", "part 1"),
}
# the statistics that an argument brings, where it brings only some of them
OWN: dict[str, slice] = {"part 0": slice(0, 2), "part 1": slice(2, 4)}


def statistic_shapes(family: str, shape: Shape) -> tuple[Shape, ...]:
    """Of each statistic: the latent's own, entry by entry; of a mean and its covariance [D], [], [D, D] and []."""
    if FAMILIES[family].pair:
        return shape[:1], (), shape[:1] * 2, ()
    return (shape,) * len(STATISTICS[family])


def own_statistics(family: str, argument: str, every: tuple) -> tuple:
    """Those of a latent's statistics that stand for one argument of its child."""
    return every[OWN.get(PAIRS[family, argument][1], slice(None))]


def latent_in(family: str, argument: str, expr: Expr) -> VariableRef | None:
    """The variable whose statistics the expected log-density takes, where the argument has the form of a pair."""
    form = PAIRS.get((family, argument), ("", ""))[1]
    if form in OWN and isinstance(expr, Part) and isinstance(expr.base, VariableRef) and form == f"part {expr.part}":
        return expr.base
    if form == "itself" and isinstance(expr, VariableRef):
        return expr
    return _precision(expr) if form == "precision" else None


def _precision(expr: Expr) -> VariableRef | None:
    """tau, of `1 / sqrt(tau)` and of `tau ** -0.5`."""
    if not isinstance(expr, Call):
        return None
    below = None
    if expr.function == "divide" and isinstance(expr.args[0], Number) and expr.args[0].value == 1:
        root = expr.args[1]
        below = root.args[0] if isinstance(root, Call) and root.function == "sqrt" else None
    elif expr.function == "power" and isinstance(expr.args[1], Number) and expr.args[1].value == -0.5:
        below = expr.args[0]
    return below if isinstance(below, VariableRef) else None


def reads_of(dist: Dist, name: str) -> list[str]:
    """The arguments in which a distribution names a variable, once for each time."""
    return [a for a, e in dist.arguments for node in walk(e) if isinstance(node, VariableRef) and node.name == name]


def pair_reason(dist: Dist, child: str, name: str, prior: str) -> str | None:
    """Why a child's expected log-density is not linear in the latent's statistics, or None."""
    if FAMILIES[prior].pair:
        found = mean_and_covariance(dist)
        together = found is not None and found.name == name
        return None if together else f"loc and covariance_matrix of {child} are not the mean and covariance of {name}"
    arguments = reads_of(dist, name)
    if len(arguments) != 1:
        return f"{child} reads {name} in {len(arguments)} places"
    argument = arguments[0]
    found = latent_in(dist.family, argument, dist.argument(argument))
    if found is None or found.name != name:
        return f"`{argument}` of {child} is not {name} as it is: {dist.family} has no conjugate form for it"
    if PAIRS[dist.family, argument][0] != prior:
        return f"{prior} is not conjugate to `{argument}` of {dist.family}"
    return None


@dataclass(frozen=True)
class AdditiveLikelihood:
    """A likelihood of a sum of tables over independent chains. argument: where the sum stands. part: the runtime's function
    of one chain's marginals and its table; what it gives adds up over chains. expected: of those sums, E log p or, where
    `bounded`, a lower bound of it. rank: event axes of what is observed. kept: numbers that a step holds for each entry of
    the sum, as counted (benchmarks/prices.py). seen: whether part reads what is observed.
    """

    argument: str
    part: str
    expected: str
    bounded: bool
    rank: int
    kept: int
    seen: bool = False


# E log Σ_v exp u_v ≤ log Σ_v Π_l E exp u_lv: Jensen's inequality, and the chains are independent under q
SUMS: dict[str, AdditiveLikelihood] = {
    "Normal": AdditiveLikelihood("loc", "moments", "normal_sum_expected", False, 1, 4),
    "Categorical": AdditiveLikelihood("logits", "symbol_cumulants", "categorical_sum_bound", True, 0, 12, seen=True),
    "Bernoulli": AdditiveLikelihood("logits", "cumulants", "bernoulli_sum_bound", True, 1, 12),
}


def sum_over(dist: Dist, name: str, plate: str) -> Expr | None:
    """e, of `Normal(sum(e over l), scale)`, where e is a table of the latent's value and l's own number, and nothing else
    reads the latent."""
    argument = SUMS[dist.family].argument
    total = dist.find(argument)
    if not isinstance(total, Call) or total.function != "sum" or total.over != plate:
        return None
    others = [e for a, e in dist.arguments if a != argument]
    if reads_of(dist, name) != [argument] or any(isinstance(n, VariableRef) for e in others for n in walk(e)):
        return None
    inside = total.args[0]
    if not isinstance(inside, Index) or not isinstance(inside.base, ParamRef):
        return None
    plain = all(isinstance(i, PlateIndex) or isinstance(i, VariableRef) and i.name == name for i in inside.indices)
    return inside if plain else None
