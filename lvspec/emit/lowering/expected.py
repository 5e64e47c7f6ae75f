"""Expected log-densities: E_q[log p(x | theta)], theta by its expected statistics under a factor of the mean field.

    z[t]: Categorical(probs=theta)          E_q[log theta], an axis for z            nothing is normalised
    x[t]: Categorical(probs=beta[z[t]])     E_q[log beta] at the tokens
    x: Normal(mu[c], 1 / sqrt(tau[c]))      Normal.expected_log_prob(x, E mu, E mu², E log tau, E tau)
    x: MultivariateNormal(mu[c], covariance_matrix=Sigma[c])      MultivariateNormal.expected_log_prob(x, ...)

An argument that is a site of such a latent is lowered once for each statistic, as if the statistic were the value.
"""

from __future__ import annotations

from lvspec.emit.lowering.indexing import indexed
from lvspec.emit.lowering.lower import Lowering
from lvspec.emit.lowering.value import PRODUCT, Value, align, as_tensor
from lvspec.ir.dims import Dim
from lvspec.ir.expr import Dist, Expr
from lvspec.ir.mean_field import latent_in, own_statistics


def expected_density(low: Lowering, dist: object, value: Value) -> Value | None:
    """E_q[log p(value | ...)] over all axes, event axes summed; None where no argument is a latent of the mean field."""
    if not isinstance(dist, Dist) or not low.statistics:
        return None
    found = {a: latent_in(dist.family, a, e) for a, e in dist.arguments}
    if not any(ref is not None and ref.name in low.statistics for ref in found.values()):
        return None
    arguments = [v for a, e in dist.arguments for v in _statistics(low, dist.family, a, e)]
    if dist.family == "Categorical":
        return indexed(low, arguments[0], value)
    if dist.family == "Bernoulli" and value.enumerated is not None:
        axes, rank, (a, b) = low.broadcast(*arguments)
        code = f"{low.scope.use('Bernoulli')}.expected_table({a.code}, {b.code})"
        return indexed(low, Value(code, axes, (Dim.of(2),)), value)
    if dist.family == "MultivariateNormal":  # vectors, numbers and matrices
        values = (value, *arguments)
        axes = low.order.union(*values)
        return Value(_expected(low, dist, [align(v, axes) for v in values]), axes)
    axes, rank, aligned = low.broadcast(value, *arguments)
    code = _expected(low, dist, aligned)
    if rank:
        dims = "-1" if rank == 1 else f"({', '.join(str(-i) for i in range(rank, 0, -1))})"
        code = f"{code}.sum({dims})"
    return Value(code, axes)


def _expected(low: Lowering, dist: Dist, aligned: list[Value]) -> str:
    """`Normal.expected_log_prob(x, ...)`: of a value and its arguments' statistics."""
    return f"{low.scope.use(dist.family)}.expected_log_prob({', '.join(v.code for v in aligned)})"


def _statistics(low: Lowering, family: str, argument: str, expr: Expr) -> list[Value]:
    """What stands for an argument: the statistics of its latent at that site, or those of a known number."""
    ref = latent_in(family, argument, expr)
    if ref is not None and ref.name in low.statistics:
        found = []
        for statistic in own_statistics(family, argument, low.statistics[ref.name]):
            low.known[ref.name] = statistic
            found.append(low.lower(ref))
        del low.known[ref.name]
        return found
    value = low.concrete(low.lower(expr))
    value = low.scope.named(f"{argument}_known", as_tensor(value))
    if argument == "scale":  # log tau and tau
        return [value.with_(code=f"-2 * {value.code}.log()", binds=PRODUCT), value.with_(code=f"{value.code}**-2")]
    return [value, value.with_(code=f"{value.code}**2")]
