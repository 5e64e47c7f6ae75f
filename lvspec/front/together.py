"""Variables that are drawn together: from here on they are one latent, and its parts.

    before   (mu[k], Sigma[k]): NormalInverseWishart(...)      mu [D] and Sigma [D, D], with one clause each
    after    mu_Sigma[k]: NormalInverseWishart(...)            [D, 1 + D]: the mean, then the columns of the covariance
    before   x: MultivariateNormal(mu[c], covariance_matrix=Sigma[c])
    after    x: MultivariateNormal(Part(mu_Sigma[c], 0), covariance_matrix=Part(mu_Sigma[c], 1))

All that follows knows one random variable, which is what it is: no part has a prior, a factor or a strategy of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from lvspec.front.context import Declarations, unknown
from lvspec.front.problems import Problems
from lvspec.front.settings import Settings
from lvspec.front.story import StoryClause, StoryEntry
from lvspec.ir.dims import Dim
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.expr import At, Binding, Choice, Dist, Expr, Here, Lag, Part, Stretch, VariableRef
from lvspec.ir.spec import Clause, Variable

(PAIR,) = (f.name for f in FAMILIES.values() if f.pair)  # the family of two values: a mean and a covariance
NODES = (Expr, Dist, Choice, Binding, Clause, Variable, Here, Lag, Stretch, At)
USAGE = f"write `(mu, Sigma): {PAIR}(...)`, under `latent:`"


@dataclass(frozen=True)
class DrawnTogether:
    """names: of the parts, in order; one: of the latent that draws them."""

    names: tuple[str, ...]
    one: str


def check_together(
    variables: dict[str, Variable],
    factors: Iterable[Variable],
    stated: dict[str, StoryEntry],
    declared: Declarations,
    problems: Problems,
) -> None:
    """Notes what is drawn together and cannot be, and a pair's distribution that one name is to hold."""
    for variable in variables.values():
        for clause in stated[variable.name].clauses:
            _check_clause(variable, clause, variables, problems)
    groups = _groups(stated)
    taken = {*variables, *declared.sizes, *declared.plates, *declared.params, *declared.networks}
    for group in groups:
        if group.one in taken:
            span = stated[group.names[0]].span
            problems.error("name-clash", span, f"`{group.one}` names what is drawn together here, and something else")
    parts = {n for g in groups for n in g.names}
    for factor in factors:
        if factor.role == "guide" and (factor.name in parts or _family(factor.general) == PAIR):
            problems.error(
                "drawn-together",
                factor.span,
                f"`{factor.name}` is drawn together with another value, and a guide for such has no engine yet",
                help="leave it out: where its likelihood is conjugate, its factor is found in closed form",
            )


def _check_clause(variable: Variable, clause: StoryClause, variables: dict[str, Variable], problems: Problems) -> None:
    family, names = _family(variable.general), clause.together
    if family is None:  # no distribution could be read, which has been told
        return
    if not names:
        if family == PAIR:
            about = f"{PAIR} draws a mean and a covariance, and `{variable.name}` is one name"
            problems.error("drawn-together", clause.span, about, help=USAGE)
        return
    if variable.name != names[0] or any(n not in variables for n in names):
        return
    listed = " and ".join(f"`{n}`" for n in names)
    if family != PAIR:
        about = f"{listed} are drawn together, and {family} draws one value"
        problems.error("drawn-together", clause.span, about, help="write a line for each")
    elif len(names) != 2 or variable.role != "latent":
        wrong = f"{len(names)} names" if len(names) != 2 else variable.role
        about = f"{PAIR} draws a latent mean and its covariance, and {listed} are {wrong}"
        problems.error("drawn-together", clause.span, about, help=USAGE)
    elif len({variables[n].plates for n in names}) > 1:
        about = f"{listed} are drawn together, and have other indices"
        problems.error("drawn-together", clause.span, about, help="give both the same indices")
    elif not unknown(variable.type) and len(variable.type.shape) > 1:
        about = f"{PAIR} draws one mean, and `{variable.name}` is an array of {len(variable.type.shape)} axes"
        problems.error("drawn-together", clause.span, about, help=f"declare a plate: `{names[0]}[k]`")


def _family(clause: Clause) -> str | None:
    return clause.body.family if isinstance(clause.body, Dist) else None


def _groups(stated: dict[str, StoryEntry]) -> tuple[DrawnTogether, ...]:
    every = [c.together for t in stated.values() for c in t.clauses if c.together]
    return tuple(DrawnTogether(names, "_".join(names)) for names in dict.fromkeys(every))


# ---------------------------------------------------------------- one latent for several names
Variables = tuple[Variable, ...]


def join_together(
    variables: Variables, factors: Variables, terms: Variables, settings: Settings, stated: dict[str, StoryEntry]
) -> tuple[Variables, Variables, Variables, Settings]:
    """The same model with one latent for each group; everything that reads a part reads a part of that latent."""
    groups = _groups(stated)
    if not groups:
        return variables, factors, terms, settings
    part_of = {n: (g, i) for g in groups for i, n in enumerate(g.names)}
    kept = [v for v in variables if v.name not in part_of or part_of[v.name][1] == 0]
    joined = tuple(_joined(_rewritten(v, part_of), part_of) for v in kept)
    named = {n: g.one for n, (g, _) in part_of.items()}
    overrides = {named.get(o.name, o.name): o for o in settings.overrides}
    weights = {named.get(n, n): w for n, w in settings.kl_weight}
    free = {named.get(n, n): f for n, f in settings.free_bits}
    settings = replace(
        settings,
        overrides=tuple(replace(o, name=n) for n, o in overrides.items()),
        kl_weight=tuple(weights.items()),
        free_bits=tuple(free.items()),
    )
    return joined, _rewritten(factors, part_of), _rewritten(terms, part_of), settings


def _joined(variable: Variable, part_of: dict[str, tuple[DrawnTogether, int]]) -> Variable:
    if variable.name not in part_of:
        return variable
    group = part_of[variable.name][0]
    kind = _whole(variable.type)
    clauses = tuple(replace(c, body=replace(c.dist, type=kind)) for c in variable.clauses)
    return replace(variable, name=group.one, parts=group.names, type=kind, clauses=clauses)


def _whole(mean):
    """The type of a mean and its covariance as one matrix."""
    return mean.with_(shape=(*mean.shape, mean.shape[-1] + Dim.of(1)))


def _rewritten(node, part_of: dict[str, tuple[DrawnTogether, int]]):
    """The same tree, with parts of a latent for the names that are drawn together."""
    if type(node) is tuple:
        return tuple(_rewritten(n, part_of) for n in node)
    if not isinstance(node, NODES):
        return node
    inside = {f.name: _rewritten(getattr(node, f.name), part_of) for f in fields(node)}
    new: Any = replace(node, **inside)
    if not isinstance(node, VariableRef) or node.name not in part_of:
        return new
    group, i = part_of[node.name]
    mean = node.type if i == 0 else node.type.with_(shape=node.type.shape[:-1])
    whole = replace(new, name=group.one, type=_whole(mean))
    return Part(node.name, whole, i, type=node.type, span=node.span)
