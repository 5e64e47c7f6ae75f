"""Which parameters of a model have a closed-form M step, and where each is read.

    z[t]: Categorical(logits=transition[z[t-1]])        the table `transition`, a row for each state before
    x[t]: Normal(mean[z[t]], softplus(noise))           the tables `mean` and `noise`, one of them behind softplus

A table is a parameter that stands for itself in one clause, chosen by integers: by a plate's own index, by data, and
by at most one latent, since the posterior of one latent says how often each row is used.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.errors import UsageError
from lvspec.ir.expr import Call, Dist, Expr, Here, Index, Lag, Number, ParamRef, PlateIndex, VariableRef
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Clause, Spec, Variable

# family -> its arguments that may be tables, each with the links that it may stand behind ("" is none)
LINKS: dict[str, dict[str, tuple[str, ...]]] = {
    "Categorical": {"logits": ("",), "probs": ("softmax",)},
    "Bernoulli": {"logits": ("",), "probs": ("sigmoid",)},
    "Poisson": {"rate": ("exp", "softplus")},
    "Exponential": {"rate": ("exp", "softplus")},
    "Normal": {"loc": ("",), "scale": ("exp", "softplus")},
}


@dataclass(frozen=True)
class ParameterTable:
    """`link(parameter[indices])`, with `rank` axes left; parameter None: the number `value`."""

    parameter: str | None
    link: str = ""
    indices: tuple[Expr, ...] = ()
    rank: int = 0
    value: float = 0.0


@dataclass(frozen=True)
class ClauseUse:
    """log p(variable | parents) of one clause: the family and its arguments as tables."""

    variable: Variable
    clause: Clause
    family: str
    tables: dict[str, ParameterTable]


@dataclass(frozen=True)
class ClosedForms:
    """Every place where parameters are read, of a model whose M step is in closed form."""

    spec: Spec
    uses: tuple[ClauseUse, ...]


def closed_forms(plan: Plan) -> ClosedForms:
    """UsageError, with the reason, where the E step is not exact or the M step has no closed form."""
    spec = plan.spec
    if not plan.latents:
        raise _refused("nothing is latent: train by gradient")
    if spec.terms:
        raise _refused(f"the term `{spec.terms[0].name}` of the objective is no count: train by gradient")
    for latent in plan.latents:
        if not latent.treated.summed_out:
            raise _refused(
                f"{latent.name} is not summed out exactly ({latent.strategy}), so expected counts are unknown"
            )
    if plan.networks:
        network = plan.networks[0]
        raise _refused(f"the network `{network.name}` ({network.kind}) has no closed-form update: train by gradient")
    uses = [_use(spec, v, c) for v in spec.variables if v.role in ("latent", "observed") for c in v.clauses]
    read = [(t.parameter, u.family) for u in uses for t in u.tables.values() if t.parameter]
    for name in dict.fromkeys(n for n, _ in read):
        families = [f for n, f in read if n == name]
        if len(families) > 1 and set(families) != {"Categorical"}:
            raise _refused(f"{name} is read in {len(families)} places")
    for name, prior in spec.priors.items():
        wanted = {"Categorical": "Dirichlet", "Bernoulli": "Beta"}
        if any(n == name and wanted.get(f) != prior.family for n, f in read):
            raise _refused(f"{prior.family}, the prior of {name}, is not conjugate to it: train by gradient")
    unread = [p.name for p in spec.params if p.name not in {n for n, _ in read} and not p.frozen]
    if unread:
        raise _refused(f"{unread[0]} is not read as the table of a distribution")
    return ClosedForms(spec, tuple(uses))


def _refused(reason: str) -> UsageError:
    return UsageError(f"train.method: EM needs closed-form updates, and {reason}")


def _use(spec: Spec, variable: Variable, clause: Clause) -> ClauseUse:
    body, name = clause.body, variable.name
    if not isinstance(body, Dist) or body.family not in LINKS or body.over or body.through:
        family = body.family if isinstance(body, Dist) else "a choice"
        raise _refused(f"{family}, the distribution of {name}, is not in the table of {', '.join(LINKS)}")
    tables = {a: _table(spec, name, body.family, a, e) for a, e in body.arguments}
    _one_scale(name, tables)
    return ClauseUse(variable, clause, body.family, tables)


def _table(spec: Spec, name: str, family: str, argument: str, expr: Expr) -> ParameterTable:
    links = LINKS[family].get(argument, ())
    link, inside = "", expr
    if isinstance(expr, Call) and expr.function in links and expr.over is None:
        link, inside = expr.function, expr.args[0]
    if isinstance(inside, Number) and not link:
        return ParameterTable(None, value=float(inside.value))
    indices: tuple[Expr, ...] = ()
    if isinstance(inside, Index):
        indices, inside = inside.indices, inside.base
    if not isinstance(inside, ParamRef) or link not in links or not all(map(_plain_index, indices)):
        wanted = " or ".join(f"{k}(a table)" if k else "a table" for k in links) or "a number"
        raise _refused(f"`{argument}` of {name} is neither {wanted} nor a number")
    latents = [i.name for i in indices if isinstance(i, VariableRef) and spec.variable(i.name).role == "latent"]
    if len(latents) > 1:
        raise _refused(f"a row of {inside.name} is chosen by {len(latents)} latents, {' and '.join(latents)}")
    return ParameterTable(inside.name, link, indices, len(inside.type.shape) - len(indices))


def _plain_index(index: Expr) -> bool:
    """A plate's own index, or a variable at this site or an earlier one."""
    if isinstance(index, VariableRef):
        return all(isinstance(s, Here) or isinstance(s, Lag) and s.k > 0 for s in index.at)
    return isinstance(index, PlateIndex)


def _one_scale(name: str, tables: dict[str, ParameterTable]) -> None:
    """A mean that is shared by rows of different scales has no closed form."""
    loc, scale = tables.get("loc"), tables.get("scale")
    if loc and scale and loc.parameter and (not set(scale.indices) <= set(loc.indices) or scale.rank > loc.rank):
        raise _refused(f"the scale of {name} differs over more than its loc")
