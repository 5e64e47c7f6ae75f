"""Conjugate pairs, as data: which likelihood of which prior leaves a posterior of the prior's family.

    theta: Beta(a, b)             x[t]: Bernoulli(probs=theta)
    rate: Gamma(a, b)             x[t]: Poisson(rate=exposure[t] * rate)
    mu: Normal(m, s)              x[t]: Normal(matmul(W, mu) + b, r)
    tau: Gamma(a, b)              x[t]: Normal(m[t], s[t] / sqrt(tau))
    (mu, Sigma): NormalInverseWishart(...)      x[t]: MultivariateNormal(mu, covariance_matrix=Sigma)

Their sums and integrals are in runtime/conjugate/pairs.py and runtime/gaussian/factors.py.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """s, of `s / z`; with `root` of `s / sqrt(z)`, `s * z ** -0.5` and `s * sqrt(1 / z)`."""
    expr = looked_through(spec, clause, expr)
    if not isinstance(expr, Call):
        return None
    first, second = (*expr.args, expr.args[0])[:2]
    if expr.function == "divide" and not reads_variable(spec, name, clause, second):
        above = below_of(root, spec, name, clause, first)
        return None if above is None else times(above, second, "divide")
    if expr.function == "divide" and not reads_variable(spec, name, clause, first):
        below = looked_through(spec, clause, second)
        if root:
            below = below.args[0] if isinstance(below, Call) and below.function == "sqrt" else Number(0)
        return first if _is_latent(below, name) else None
    if expr.function == "multiply":
        apart, within = (second, first) if reads_variable(spec, name, clause, first) else (first, second)
        found = None if reads_variable(spec, name, clause, apart) else below_of(root, spec, name, clause, within)
        return None if found is None else times(found, apart, "multiply")
    if expr.function == "power" and second == Number(-0.5 if root else -1):
        return Number(1) if _is_latent(first, name) else None
    if root and expr.function == "sqrt":
        found = below_of(False, spec, name, clause, first)
        return None if found is None else Call("sqrt", (found,), type=expr.type)
    return None


def times(a: Expr, b: Expr, function: str) -> Expr:
    """a times b, or a over b."""
    return b if a == Number(1) and function == "multiply" else Call(function, (a, b), type=b.type)


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
