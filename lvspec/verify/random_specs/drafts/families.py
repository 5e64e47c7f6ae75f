"""A distribution of a random spec, of any family of the tables: arguments are numbers, free parameters or scores.

A vector of copies has scores as long as itself, or numbers and `[D]` behind; a single number has one-number scores.
"""

from __future__ import annotations

from lvspec.ir.distributions import FAMILIES, Argument, Family
from lvspec.ir.flows import FLOWS
from lvspec.ir.networks import NETWORKS
from lvspec.verify.random_specs.drafts.draft import Draft, Parent
from lvspec.verify.random_specs.drafts.scores import linear, number_score, score

BOUNDED = tuple(n for n, f in FAMILIES.items() if all(f.between))
# numbers that an argument may be, by its support; some without a point
NUMBERS = {
    "real": ("0", "0.5", "-1", "1"),
    "positive": ("1", "2", "0.7", "1.5"),
    "nonnegative": ("1", "2", "0.5"),
    "unit": ("0.3", "0.5"),
    "count": ("4",),
}
# of an argument that has to lie apart from the values, or above a bound
OWN_NUMBERS = {
    **{f"{n}.low": ("-8", "-9.5") for n in BOUNDED},
    **{f"{n}.high": ("8", "9.5") for n in BOUNDED},
    "StudentT.df": ("3", "4.5"),
    "NormalInverseWishart.df": ("4", "5.5"),
}
# a score as an argument; bounded where a large one would leave the range of numbers
WRAPPED = {
    "positive": ("softplus({})", "softplus(tanh({}))", "exp(tanh({}))", "0.5 + square(tanh({}))"),
    "nonnegative": ("softplus({})", "square(tanh({}))"),
    "unit": ("sigmoid({})",),
}
OWN_WRAPPED = {
    "Poisson.rate": ("softplus(tanh({}))", "exp(tanh({}))", "relu({})"),
    "Exponential.rate": ("softplus(tanh({}))", "exp(tanh({}))"),
    "Gamma.concentration": ("softplus(tanh({}))", "0.5 + softplus(tanh({}))"),
    "Gamma.rate": ("softplus(tanh({}))",),
    "Beta.concentration1": ("softplus(tanh({}))", "0.5 + softplus(tanh({}))"),
    "Beta.concentration0": ("softplus(tanh({}))",),
    "LogNormal.loc": ("tanh({})",),
    "LogNormal.scale": ("softplus(tanh({}))",),
    "Dirichlet.concentration": ("softplus(tanh({}))", "0.5 + softplus(tanh({}))"),
    "StudentT.df": ("2 + softplus({})",),
    **{f"{n}.low": ("-8 - softplus({})",) for n in BOUNDED},
    **{f"{n}.high": ("8 + softplus({})",) for n in BOUNDED},
    "NormalInverseWishart.df": ("3 + softplus({})",),
    "VonMisesFisher.concentration": ("1 + softplus(tanh({}))", "softplus({})"),
    "VonMisesFisher.loc": ("0.3 + {}",),  # a loc of 0 has no direction
    "Binomial.total_count": ("4",),
    "ZeroInflatedPoisson.rate": ("softplus(tanh({}))", "exp(tanh({}))", "relu({})"),
    "Weibull.scale": ("softplus(tanh({}))", "exp(tanh({}))"),
    "Weibull.concentration": ("0.5 + softplus(tanh({}))", "exp(tanh({}))"),
}
CLOSED = ("relu({})",)  # what may be 0, so that some values have no probability
BY_NAME = ("logits", "probs", "covariance_matrix", "scale_tril")


def distribution(d: Draft, role: str, family: str, over: list[Parent], plates: tuple[str, ...], size: str) -> str:
    """A distribution of the family at a site. size: of a vector, or how many values a category has; "" of one number."""
    row = FAMILIES[family]
    if family in ("SphericalUniform", "ImproperUniform"):
        return f"{family}({size})"
    further = any(p.text.endswith("-1]") for p in over)  # a first site has a clause of its own, so the others read it
    if not further and d.wants("copies of numbers") and size:
        over = []
        d.wishes |= {f"{family}.{a.name} = number" for a in row.arguments if a.axes == "scalar"}
    if role in ("latent", "observed") and d.wished("{}", [f"{family}.{a.name} = number" for a in row.arguments]):
        over = []  # what parents enter is no number
    d.guiding = role == "guide"
    scored = _first_scored(d, row, bool(over))
    texts: list[str] = []
    copied = bool(size) and row.event == "scalar" and family != "Categorical"
    alike = copied
    for a in _taken(d, row):
        read = over if a.name == scored or {a.name, scored} == {"logits", "probs"} else []
        text, long = _argument(d, row, a, read, plates, size)
        named = a.name in BY_NAME or d.chance(0.15) or any("=" in t.partition("(")[0] for t in texts)
        texts.append(f"{a.name}={text}" if named else text)
        alike = alike and not long
    return f"{family}({', '.join(texts)})" + (f"[{size}]" if alike else "")


def _taken(d: Draft, row: Family) -> list[Argument]:
    """The arguments to write: one of those that stand for each other, and not all that have defaults."""
    found: list[Argument] = []
    for a in row.arguments:
        if a.one_of is None:
            found.append(a)
            continue
        group = [b.name for b in row.arguments if b.one_of == a.one_of and b.axes != "square"] or ["scale_tril"]
        if a.name == group[0] or (a.name == "scale_tril" and group == ["scale_tril"]):
            wished = [n for n in group if f"{row.name}.{n} = number" in d.wishes]
            weights = (3, 1) if len(group) == 2 else (1,)
            chosen = wished[0] if wished else d.rng.choices(group, weights)[0]
            found.append(row.argument(chosen))
    while (
        row.name not in BOUNDED
        and len(found) > 1
        and found[-1].default is not None
        and f"{row.name}.{found[-1].name} = number" not in d.wishes
        and d.chance(0.15)
    ):
        found.pop()
    return found


def _first_scored(d: Draft, row: Family, scored: bool) -> str:
    """The argument that parents enter."""
    names = [a.name for a in row.arguments if a.axes in ("scalar", "vector") and a.name not in ("total_count", "df")]
    if row.name == "NormalMixture":
        return "loc"
    return (
        d.choose(names[0], names[0], names[0], *names) if scored and names[0] not in ("logits", "probs") else names[0]
    )


def _argument(d: Draft, row: Family, a: Argument, over: list[Parent], plates, size: str) -> tuple[str, bool]:
    """(an argument, whether it differs between the copies)."""
    key = f"{row.name}.{a.name}"
    if (  # what parents enter is no number
        a.axes == "scalar"
        and not over
        and not (d.guiding and a.name in row.between)
        and (d.wants(f"{key} = number", 0.25) or a.name == "total_count")
    ):
        return d.choose(*OWN_NUMBERS.get(key, NUMBERS[a.support.kind])), False
    if a.axes == "square":
        return d.param(size, size), True
    if a.axes == "components":
        return d.param(d.size("C", 2, 2)), True
    if a.axes == "table":
        C = d.size("C", 2, 2)
        table = d.param(C, size)
        if over:
            table = f"{table} + {score(d, over, size, plates)}"
        return (f"softplus({table})" if a.support.kind == "positive" else table), True
    if a.axes == "vector":
        text = score(d, over, size, plates)
        if a.name == "probs":
            return f"softmax({text})", True
        return d.choose(*OWN_WRAPPED.get(key, WRAPPED.get(a.support.kind, ("{}",)))).format(text), True
    if d.guiding and row.name in BOUNDED and a.name in row.between:  # inside of what any prior allows
        return {"low": d.choose("-2", "-1.5"), "high": d.choose("2", "3")}[a.name], False
    long = bool(size) and row.event == "scalar" and (bool(over) or d.chance(0.8))
    text = score(d, over, size, plates) if long else number_score(d, over, plates)
    forms = OWN_WRAPPED.get(key, WRAPPED.get(a.support.kind, ("{}",)))
    closed = tuple(f for f in forms if f in CLOSED)
    if closed and not d.guiding and d.wants("rate 0", 0.3):
        forms = closed
    else:  # draws that are compared are fixed: q has to allow any
        forms = tuple(f for f in forms if f not in CLOSED)
    return d.choose(*forms).format(text), long


# ------------------------------------------------------------ flows
def through(d: Draft, role: str, base: str, size: str, over: list[Parent], plates: tuple[str, ...]) -> str:
    """A vector that goes through one flow or two. Flows without an inverse are for guides alone."""
    kinds = [k for k in FLOWS if role == "guide" or FLOWS[k].inverse is not None]
    flows = []
    for _ in range(2 if d.wants("several flows", 0.15) else 1):
        kind = d.pick("{} of a " + role, kinds)
        sizes = [size]
        if "hidden" in NETWORKS[kind].sizes:
            sizes.append(d.size("H", 3, 4))
        context = bool(over) and (d.wants("flow with a context", 0.5))
        if context:
            sizes.append(d.size("E", 2, 3))
        name = d.network(f"{kind}({', '.join([*sizes, *_flow_options(d, kind)])})", "flow")
        flows.append(f"through {name}" + (f"(tanh({score(d, over, 'E', plates)}))" if context else ""))
    return f"{base} {' '.join(flows)}"


def _flow_options(d: Draft, kind: str) -> list[str]:
    values = {"steps": "2", "layers": "1", "bins": "3", "signal": "4", "inverted": None}
    found = []
    for option, default in NETWORKS[kind].options:
        if option == "activation":
            if d.chance(0.3):
                found.append(f"activation={d.choose('tanh', 'softplus', 'elu')}")
        elif option == "inverted":
            if d.wants(f"{kind}(inverted)", 0.0) and kind == "zuko.NSF":
                found.append("inverted=true")
        elif d.wants(f"{kind}({option})", 0.3):
            found.append(f"{option}={values[option]}")
        del default
    return found


def softened(d: Draft, text: str, size: str) -> str:
    return f"{linear(d, size, size)}(tanh({text}))"
