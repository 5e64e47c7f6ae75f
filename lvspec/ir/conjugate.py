"""Conjugate pairs, as data: which likelihood of which prior leaves a posterior of the prior's family.

    theta: Beta(a, b)             x[t]: Bernoulli(probs=theta)
    rate: Gamma(a, b)             x[t]: Poisson(rate=exposure[t] * rate)
    mu: Normal(m, s)              x[t]: Normal(matmul(W, mu) + b, r)
    (mu, Sigma): NormalInverseWishart(...)      x[t]: MultivariateNormal(mu, covariance_matrix=Sigma)

Their sums and integrals are in runtime/conjugate.py and runtime/gaussian_factors.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.ir.affine import Affine, Identity, Scaled
from lvspec.ir.expr import Call, Dist, Expr, Number, Part, VariableRef


@dataclass(frozen=True)
class Pair:
    """argument: of the likelihood, where the latent stands. link: how it stands there: "itself", "scaled" (times what
    does not depend on it), "affine", or "parts" (its mean there, its covariance in `covariance_matrix`). statistics: the
    runtime's function of a site; known: arguments that it also takes; sums: what adds sites up.
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
    parts = [dist.argument("loc"), dist.argument("covariance_matrix")]
    if not all(isinstance(e, Part) and e.part == i and e.base == parts[0].base for i, e in enumerate(parts)):
        return None
    return parts[0].base


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
