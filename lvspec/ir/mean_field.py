"""Pairs of a conjugate prior and a likelihood, as data: where E_q[log p(child | latent)] is linear in expected statistics.

    theta: Dirichlet(alpha)     z: Categorical(probs=theta)       E log theta
    mu: Normal(m, s)            x: Normal(mu, ...)                E mu, E mu²
    tau: Gamma(a, b)            x: Normal(..., 1 / sqrt(tau))     E log tau, E tau

The full conditional of such a latent is in its prior's family, so q at its optimum is too: its natural parameters are the
prior's plus what the children's expected log-factors say per unit of each statistic.
"""

from __future__ import annotations

from lvspec.ir.expr import Call, Dist, Expr, Index, Number, ParamRef, PlateIndex, VariableRef, walk

# family of the prior -> the statistics that its natural parameters multiply, as words for names in the emitted text
STATISTICS: dict[str, tuple[str, ...]] = {
    "Dirichlet": ("log",),
    "Beta": ("log", "log_not"),
    "Gamma": ("log", "mean"),
    "Normal": ("mean", "square"),
}

# (family of the child, its argument) -> (family of the prior, how the latent stands there)
PAIRS: dict[tuple[str, str], tuple[str, str]] = {
    ("Categorical", "probs"): ("Dirichlet", "itself"),
    ("Bernoulli", "probs"): ("Beta", "itself"),
    ("Poisson", "rate"): ("Gamma", "itself"),
    ("Exponential", "rate"): ("Gamma", "itself"),
    ("Normal", "loc"): ("Normal", "itself"),
    ("Normal", "scale"): ("Gamma", "precision"),
}


def latent_in(family: str, argument: str, expr: Expr) -> VariableRef | None:
    """The variable whose statistics the expected log-density takes, where the argument has the form of a pair."""
    form = PAIRS.get((family, argument), ("", ""))[1]
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


def sum_over(dist: Dist, name: str, plate: str) -> Expr | None:
    """e, of `Normal(sum(e over l), scale)`, where e is a table of the latent's value and l's own number, and nothing else
    reads the latent."""
    loc, scale = dist.argument("loc"), dist.argument("scale")
    if not isinstance(loc, Call) or loc.function != "sum" or loc.over != plate:
        return None
    if reads_of(dist, name) != ["loc"] or any(isinstance(n, VariableRef) for n in walk(scale)):
        return None
    inside = loc.args[0]
    if not isinstance(inside, Index) or not isinstance(inside.base, ParamRef):
        return None
    plain = all(isinstance(i, PlateIndex) or isinstance(i, VariableRef) and i.name == name for i in inside.indices)
    return inside if plain else None
