"""log p(value | arguments) of every family, written out from the textbook and summed over the event.

The verifier's own formulas: nothing here is shared with the runtime that it judges.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lvspec.verify.oracle.numbers import NUMBERS

Arguments = dict[str, Tensor]


def log_density(family: str, arguments: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """log p(value) as a scalar; `shape` is the variate's event shape, arguments broadcast to it from the right."""
    return log_densities(family, arguments, value, shape).sum()


def log_densities(family: str, arguments: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same before it is summed: for each independent coordinate."""
    return _DENSITIES[family](arguments, value.to(torch.float64), shape)


def log_probabilities(arguments: Arguments) -> Tensor:
    """log p over the last axis, from `logits` or `probs`."""
    if "logits" in arguments:
        logits = arguments["logits"]
        return logits - torch.logsumexp(logits, -1, keepdim=True)
    probs = arguments["probs"]
    whole = probs.sum(-1, keepdim=True)
    return _log_of_possible(probs / torch.where(whole > 0, whole, 1.0))  # where nothing has a chance, nothing can be


def log_odds_pair(arguments: Arguments) -> tuple[Tensor, Tensor]:
    """(log p(0), log p(1)) of a Bernoulli."""
    if "logits" in arguments:
        logits = arguments["logits"]
        return -_softplus(logits), -_softplus(-logits)
    probs = arguments["probs"]
    return _log_of_possible(1 - probs), _log_of_possible(probs)


def _log_of_possible(p: Tensor) -> Tensor:
    """log p; what is impossible is so for good: it has no gradient."""
    possible = p > 0
    return torch.where(possible, torch.log(torch.where(possible, p, torch.ones_like(p))), -torch.inf)


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def _categorical(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    table = log_probabilities(a)
    outside = table.new_full(
        (*table.shape[:-1], 1), -torch.inf
    )  # what lies beyond an example's own sites has no chance
    table = torch.cat([table, outside], -1)
    place = value.long().expand(shape).clamp_max(table.shape[-1] - 1)
    return table.expand(*shape, table.shape[-1]).gather(-1, place.unsqueeze(-1)).squeeze(-1)


def _one_hot_categorical(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    return log_probabilities(a).expand(shape)[value.bool()]


def _bernoulli(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    zero, one = log_odds_pair(a)
    return torch.where(value.expand(shape) > 0.5, one.expand(shape), zero.expand(shape))


def _times(count: Tensor, log_p: Tensor) -> Tensor:
    """count log p, 0 of nothing, whatever p is."""
    count, log_p = torch.broadcast_tensors(count, log_p)
    return torch.where(count == 0, 0.0, count * torch.where(count == 0, 0.0, log_p))


def _binomial(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    n = a["total_count"].expand(shape)
    zero, one = log_odds_pair(a)
    ways = torch.lgamma(n + 1) - torch.lgamma(value + 1) - torch.lgamma(n - value + 1)
    return ways + _times(value, one) + _times(n - value, zero)


def _multinomial(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """n! Π_k p_k^x_k / x_k!"""
    value, n = value.expand(shape), a["total_count"].expand(shape[:-1])
    each = _times(value, log_probabilities(a).expand(shape)) - torch.lgamma(value + 1)
    return torch.where(value.sum(-1) == n, torch.lgamma(n + 1) + each.sum(-1), -torch.inf)


def _geometric(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    failure, success = log_odds_pair(a)
    return (success + _times(value, failure)).expand(shape)


def _poisson(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    rate, value = a["rate"].expand(shape), value.expand(shape)
    some = torch.where(rate > 0, rate, 1.0)  # at rate 0 there is 0 alone, and no slope
    found = torch.where(rate > 0, value * torch.log(some), torch.where(value > 0, -torch.inf, 0.0))
    return found - rate - torch.lgamma(value + 1)


def _normal(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    loc, scale = a["loc"].expand(shape), a["scale"].expand(shape)
    return -0.5 * ((value - loc) / scale) ** 2 - torch.log(scale) - 0.5 * math.log(2 * math.pi)


def _laplace(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    loc, scale = a["loc"].expand(shape), a["scale"].expand(shape)
    return -(value - loc).abs() / scale - torch.log(2 * scale)


def _log_normal(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    return _normal(a, torch.log(value), shape) - torch.log(value)


def _student_t(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    df, loc, scale = (a[n].expand(shape) for n in ("df", "loc", "scale"))
    y = (value - loc) / scale
    front = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - 0.5 * torch.log(df * math.pi) - torch.log(scale)
    return front - (df + 1) / 2 * torch.log1p(y * y / df)


def _gamma(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    alpha, beta = a["concentration"].expand(shape), a["rate"].expand(shape)
    return alpha * torch.log(beta) - torch.lgamma(alpha) + (alpha - 1) * torch.log(value) - beta * value


def _beta(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    one, zero = a["concentration1"].expand(shape), a["concentration0"].expand(shape)
    normaliser = torch.lgamma(one) + torch.lgamma(zero) - torch.lgamma(one + zero)
    return (one - 1) * torch.log(value) + (zero - 1) * torch.log1p(-value) - normaliser


def _dirichlet(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    alpha = a["concentration"].expand(shape)
    normaliser = torch.lgamma(alpha).sum(-1) - torch.lgamma(alpha.sum(-1))
    return ((alpha - 1) * torch.log(value)).sum(-1) - normaliser


def multivariate_normal_covariance(a: Arguments) -> Tensor:
    """The covariance matrix; of scale_tril only the lower triangle is meant."""
    if "covariance_matrix" in a:
        return a["covariance_matrix"]
    lower = torch.tril(a["scale_tril"])
    return lower @ lower.mT


def _multivariate_normal(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    covariance, gap = multivariate_normal_covariance(a), (value - a["loc"]).expand(shape)
    log_det = torch.linalg.slogdet(2 * math.pi * covariance).logabsdet
    return -0.5 * ((gap * torch.linalg.solve(covariance, gap.unsqueeze(-1)).squeeze(-1)).sum(-1) + log_det)


def normal_inverse_wishart_scale(a: Arguments) -> Tensor:
    """The scale matrix, from `scale` or the lower triangle of `scale_tril`."""
    if "scale" in a:
        return a["scale"]
    lower = torch.tril(a["scale_tril"])
    return lower @ lower.mT


def _normal_inverse_wishart(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """log W(Sigma^-1; df, scale^-1) + (D + 1) log |Sigma^-1| + log N(mu; loc, Sigma / kappa)"""
    mu, sigma, D = value[..., 0], value[..., 1:], shape[-2]
    precision, scale, df = torch.linalg.inv(sigma), normal_inverse_wishart_scale(a), a["df"]
    log_det, log_scale = torch.logdet(precision), torch.logdet(scale)
    gammas = sum(torch.lgamma((df - i) / 2) for i in range(D)) + D * (D - 1) / 4 * math.log(math.pi)
    wishart = 0.5 * (df - D - 1) * log_det - 0.5 * torch.trace(scale @ precision) + 0.5 * df * log_scale
    wishart = wishart - 0.5 * df * D * math.log(2) - gammas
    normal = {"loc": a["loc"], "covariance_matrix": sigma / a["kappa"]}
    return wishart + (D + 1) * log_det + _multivariate_normal(normal, mu, (D,))


def _von_mises_fisher(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """κ cos θ - log ∫ exp(κ cos) over the sphere, by Simpson's rule."""
    loc = a["loc"].expand(shape)
    cosine = (value * loc).sum(-1) / (loc * loc).sum(-1).sqrt()
    return a["concentration"] * cosine - sphere_integral(a["concentration"], shape[-1])


def sphere_integral(kappa: Tensor, size: int) -> Tensor:
    """log ∫ exp(κ cos θ) over the unit sphere of R^size: |S^(size-2)| ∫_0^π sin^(size-2) θ exp(κ cos θ) dθ."""
    theta, weights = simpson()
    log_area = math.log(2) + 0.5 * (size - 1) * math.log(math.pi) - math.lgamma(0.5 * (size - 1))
    log_sin = (size - 2) * torch.log(torch.sin(theta).clamp_min(1e-300)) if size > 2 else 0.0 * theta
    return log_area + torch.logsumexp(kappa[..., None] * torch.cos(theta) + log_sin + torch.log(weights), -1)


def simpson(intervals: int = 2000) -> tuple[Tensor, Tensor]:
    """Nodes in [0, π] and their weights."""
    theta = torch.linspace(0, math.pi, intervals + 1, dtype=torch.float64)
    weights = torch.full_like(theta, 2.0)
    weights[1::2] = 4.0
    weights[0] = weights[-1] = 1.0
    return theta, weights * (math.pi / intervals / 3)


def _normal_mixture(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """log Σ_k w_k exp Σ_d log N."""
    each = {"loc": a["loc"], "scale": a["scale"]}
    table = torch.broadcast_shapes(a["loc"].shape, (*shape[:-1], 1, shape[-1]))
    inside = _normal(each, value[..., None, :], table).sum(-1)
    return torch.logsumexp(log_probabilities({"logits": a["logits"]}) + inside, -1)


def _negative_binomial(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Of x successes before n failures: C(x + n - 1, x) (1 - p)^n p^x."""
    n, x = a["total_count"].expand(shape), value.expand(shape)
    failure, success = log_odds_pair(a)
    ways = torch.lgamma(x + n) - torch.lgamma(n) - torch.lgamma(x + 1)
    return ways + n * failure.expand(shape) + torch.where(x > 0, x * success.expand(shape), torch.zeros_like(x))


def _zero_inflated_poisson(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    gate = a["gate"].expand(shape)
    counted = (1 - gate) * torch.exp(_poisson(a, value, shape))
    chance = torch.where(value.expand(shape) == 0, gate + counted, counted)
    return torch.where(chance > 0, torch.log(torch.where(chance > 0, chance, 1.0)), -torch.inf)


def _hurdle_poisson(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    gate, rate, value = a["gate"].expand(shape), a["rate"].expand(shape), value.expand(shape)
    above = _log_of_possible(1 - gate) + _poisson(a, value, shape) - torch.log(-torch.expm1(-rate))
    return torch.where(value == 0, _log_of_possible(gate), above)


def _zero_inflated_negative_binomial(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    gate, value = a["gate"].expand(shape), value.expand(shape)
    counted = _negative_binomial(a, value, shape)
    at_zero = _log_of_possible(gate + (1 - gate) * torch.exp(torch.where(value == 0, counted, 0.0)))
    return torch.where(value == 0, at_zero, _log_of_possible(1 - gate) + counted)


def _log_upper_tail(z: Tensor) -> Tensor:
    return torch.log(0.5 * torch.erfc(z / math.sqrt(2)))


# log P(x >= t) of a family, its arguments by name
SURVIVAL: dict[str, Callable[..., Tensor]] = {
    "Exponential": lambda t, rate: -rate * t,
    "Weibull": lambda t, scale, concentration: -torch.exp(concentration * torch.log(t / scale)),
    "Normal": lambda t, loc, scale: _log_upper_tail((t - loc) / scale),
    "LogNormal": lambda t, loc, scale: _log_upper_tail((torch.log(t) - loc) / scale),
}


def _censored(base: str) -> Callable[[Arguments, Tensor, tuple[int, ...]], Tensor]:
    def log_densities_up_to(a: Arguments, value: Tensor, shape: tuple[int, ...]) -> Tensor:
        at, value, own = a["at"].expand(shape), value.expand(shape), {n: x for n, x in a.items() if n != "at"}
        return torch.where(value < at, log_densities(base, own, value, shape), SURVIVAL[base](at, **own))

    return log_densities_up_to


def _of_numbers(density: Callable[..., Tensor]) -> Callable[[Arguments, Tensor, tuple[int, ...]], Tensor]:
    return lambda a, value, shape: density(value, **{n: x.expand(shape) for n, x in a.items()})


_DENSITIES: dict[str, Callable[[Arguments, Tensor, tuple[int, ...]], Tensor]] = {
    "Categorical": _categorical,
    "OneHotCategorical": _one_hot_categorical,
    "Bernoulli": _bernoulli,
    "Binomial": _binomial,
    "Multinomial": _multinomial,
    "Geometric": _geometric,
    "Poisson": _poisson,
    "NegativeBinomial": _negative_binomial,
    "ZeroInflatedPoisson": _zero_inflated_poisson,
    "ZeroInflatedNegativeBinomial": _zero_inflated_negative_binomial,
    "HurdlePoisson": _hurdle_poisson,
    "Normal": _normal,
    "Laplace": _laplace,
    "LogNormal": _log_normal,
    "StudentT": _student_t,
    "Gamma": _gamma,
    "Beta": _beta,
    "Dirichlet": _dirichlet,
    "ImproperUniform": lambda a, value, shape: torch.zeros(shape, dtype=torch.float64),
    "MultivariateNormal": _multivariate_normal,
    "NormalInverseWishart": _normal_inverse_wishart,
    "VonMisesFisher": _von_mises_fisher,
    "NormalMixture": _normal_mixture,
    **{name: _of_numbers(family.log_density) for name, family in NUMBERS.items()},
    **{f"Censored{name}": _censored(name) for name in SURVIVAL},
}
