"""Conjugate pairs, as data: which likelihood of which prior leaves a posterior of the prior's family.

    theta: Beta(a, b)             x[t]: Bernoulli(probs=theta)
    rate: Gamma(a, b)             x[t]: Poisson(rate=exposure[t] * rate)
    mu: Normal(m, s)              x[t]: Normal(matmul(W, mu) + b, r)
    tau: Gamma(a, b)              x[t]: Normal(m[t], s[t] / sqrt(tau))
    (mu, Sigma): NormalInverseWishart(...)      x[t]: MultivariateNormal(mu, covariance_matrix=Sigma)

Their sums and integrals are in runtime/conjugate/pairs.py and runtime/gaussian/factors.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from lvspec.ir.affine import Affine, Identity, Scaled, affine_in, reads_variable
from lvspec.ir.expr import Call, Dist, Expr, Here, LocalRef, Number, Part, VariableRef
from lvspec.ir.spec import Clause, Spec


@dataclass(frozen=True)
class Pair:
    """argument: of the likelihood, where the latent stands. link: how it stands there: "itself", "scaled" (times what
    does not depend on it), "inverse" or "root" (what does not depend on it, over the latent or its square root), "affine",
    or "parts" (its mean there, its covariance in `covariance_matrix`). statistics: the runtime's function of a site; known:
    arguments that it also takes; sums: what adds sites up.
    """

    prior: str
    likelihood: str
    argument: str
    link: str
    statistics: str = ""
    known: tuple[str, ...] = ()
    sums: str = "site_sums"


ONE = Number(1)
EXPONENTS = {"sqrt": Fraction(1, 2), "square": Fraction(2)}  # functions that are powers
GAUSSIAN = ("Normal", "MultivariateNormal")
PAIRS: tuple[Pair, ...] = (
    Pair("Beta", "Bernoulli", "probs", "itself", "bernoulli_statistics"),
    Pair("Beta", "Binomial", "probs", "itself", "binomial_statistics", ("total_count",)),
    Pair("Beta", "Geometric", "probs", "itself", "geometric_statistics"),
    Pair("Dirichlet", "Categorical", "probs", "itself", "categorical_statistics"),
    Pair("Gamma", "Poisson", "rate", "scaled", "poisson_statistics"),
    Pair("Gamma", "Exponential", "rate", "scaled", "exponential_statistics"),
    Pair("Gamma", "Gamma", "rate", "scaled", "gamma_statistics", ("concentration",)),
    Pair("Gamma", "Normal", "scale", "root", "normal_precision_statistics", ("loc",)),
    Pair("Gamma", "LogNormal", "scale", "root", "log_normal_precision_statistics", ("loc",)),
    Pair("Gamma", "Laplace", "scale", "inverse", "laplace_rate_statistics", ("loc",)),
    Pair(
        "NormalInverseWishart",
        "MultivariateNormal",
        "loc",
        "parts",
        "multivariate_normal_statistics",
        sums="site_scatter",
    ),
    *(Pair(prior, likelihood, "loc", "affine") for prior in GAUSSIAN for likelihood in GAUSSIAN),
)


def pair_of(prior: str, likelihood: str) -> Pair | None:
    return next((p for p in PAIRS if (p.prior, p.likelihood) == (prior, likelihood)), None)


def likelihoods_of(prior: str) -> tuple[str, ...]:
    return tuple(p.likelihood for p in PAIRS if p.prior == prior)


def mean_and_covariance(dist: Dist) -> VariableRef | None:
    """The latent, at its site, whose two parts are the mean and the covariance of a Gaussian; None where they are not."""
    mean, covariance = dist.find("loc"), dist.find("covariance_matrix")
    if not isinstance(mean, Part) or not isinstance(covariance, Part) or not isinstance(mean.base, VariableRef):
        return None
    return mean.base if (mean.part, covariance.part) == (0, 1) and covariance.base == mean.base else None


def factor_in(pair: Pair, spec: Spec, name: str, clause: Clause, expr: Expr) -> Expr | None:
    """What the latent is multiplied with, or stands below, by the pair's link: Number(1) for the latent itself; None, or
    NotAffine, where the argument has another form."""
    if pair.link == "scaled":
        return scale_of(affine_in(spec, name, clause, expr))
    return below_of(pair.link == "root", spec, name, clause, expr)


def below_of(root: bool, spec: Spec, name: str, clause: Clause, expr: Expr) -> Expr | None:
    """s, of `s / z`; with `root` of `s / sqrt(z)`, however it is spelled: `s * z ** -0.5`, `sqrt(s**2 / z)`."""
    found = power_of(spec, name, clause, expr)
    return found[0] if found is not None and found[1] == Fraction(-1, 2 if root else 1) else None


def power_of(spec: Spec, name: str, clause: Clause, expr: Expr) -> tuple[Expr, Fraction] | None:
    """(s, k) of an expression that is s z^k, z the latent, which is positive; None where it has another form."""
    if not reads_variable(spec, name, clause, expr):
        return expr, Fraction(0)
    expr = looked_through(spec, clause, expr)
    if _is_latent(expr, name):
        return ONE, Fraction(1)
    if not isinstance(expr, Call):
        return None
    first, second = (*expr.args, expr.args[0])[:2]
    found = power_of(spec, name, clause, first)
    if found is None:
        return None
    factor, power = found
    exponent = EXPONENTS.get(expr.function)
    if expr.function == "power" and isinstance(second, Number):
        exponent = Fraction(second.value)
    if exponent is not None:
        return factor if factor == ONE else replace(expr, args=(factor, *expr.args[1:])), power * exponent
    if expr.function in ("multiply", "divide") and (other := power_of(spec, name, clause, second)) is not None:
        sign = 1 if expr.function == "multiply" else -1
        return _of_two(expr, factor, other[0]), power + sign * other[1]
    return None


def _of_two(expr: Call, a: Expr, b: Expr) -> Expr:
    """The product or quotient with these two in place of its own."""
    if b == ONE:
        return a
    return b if a == ONE and expr.function == "multiply" else replace(expr, args=(a, b))


def looked_through(spec: Spec, clause: Clause, expr: Expr) -> Expr:
    """What a name of the clause's `where` stands for, or a computed variable at its own site."""
    if isinstance(expr, LocalRef):
        bound = next((b for b in clause.bindings if b.names == (expr.name,)), None)
        return expr if bound is None else looked_through(spec, clause, bound.value)
    if isinstance(expr, VariableRef) and all(isinstance(s, Here) for s in expr.at):
        variable = spec.variable(expr.name)
        if variable.role == "let" and not variable.initial and not variable.general.bindings:
            return looked_through(spec, variable.general, variable.general.value)
    return expr


def _is_latent(expr: Expr, name: str) -> bool:
    return isinstance(expr, VariableRef) and expr.name == name


def scale_of(affine: Affine) -> Expr | None:
    """The factor c of e(z) = c z, entry by entry: Number(1) for z itself, None where e has another form."""
    if affine.offset is not None:
        return None
    factor, matrix = None, affine.matrix
    while isinstance(matrix, Scaled):
        if factor is None:
            factor = Call("divide", (Number(1), matrix.factor)) if matrix.divided else matrix.factor
        else:
            factor = Call("divide" if matrix.divided else "multiply", (factor, matrix.factor))
        matrix = matrix.matrix
    if not isinstance(matrix, Identity):
        return None
    return Number(1) if factor is None else factor
