"""Random numbers that the model can take: covariances that are some, and observations that have a density.

covariance_matrix=C   C C' + 1          x: Binomial(n, ...)   x below n + 1          x: Uniform(a, b)   x between a and b
x: Multinomial(n, ...)   x adds up to n
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from lvspec.ir import expr as E
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.plan import Plan
from lvspec.ir.reads import bodies
from lvspec.ir.spec import Variable
from lvspec.verify.oracle.evaluate import evaluate
from lvspec.verify.oracle.stretch import number
from lvspec.verify.oracle.world import Instance, World

WIDTH = 0.5  # the least on the diagonal of a root
MATRICES = ("covariance_matrix", "scale")  # arguments that are positive definite, where they are matrices


def make_covariances(plan: Plan, module: nn.Module) -> None:
    """Parameters that are given as covariances become positive definite, and those that are given as their roots no flatter
    than that (a log-density of 1e8 takes the digits of all that is added to it), in place."""
    with torch.no_grad():
        for name in given_as(plan, MATRICES):
            parameter = getattr(module, name)
            parameter.copy_(parameter @ parameter.mT + torch.eye(parameter.shape[-1], dtype=parameter.dtype))
        for name in given_as(plan, ("scale_tril",)):
            diagonal = getattr(module, name).diagonal(dim1=-2, dim2=-1)
            diagonal.add_(torch.where(diagonal < 0, -WIDTH, WIDTH))


def given_as(plan: Plan, arguments: tuple[str, ...]) -> list[str]:
    """The parameters whose matrices stand as they are where one of these arguments is asked for."""
    matrices = {p.name for p in plan.spec.params if len(p.shape) > 1 and p.shape[-1] == p.shape[-2]}
    bodies = [d for v in (*plan.spec.variables, *plan.guide) for c in v.clauses for d in distributions(c.body)]
    given = [e for d in bodies for n, e in d.arguments if n in arguments and len(e.type.shape) > 1]
    named = {(e.base if isinstance(e, E.Index) else e) for e in given}
    return sorted({e.name for e in named if isinstance(e, E.ParamRef)} & matrices)


def distributions(body: object) -> Iterator[E.Dist]:
    """The distributions that a clause's body names."""
    if isinstance(body, E.Choice):
        yield from (*distributions(body.then), *distributions(body.otherwise))
    elif isinstance(body, E.Dist):
        yield body.source


# function -> the argument that has to be above 0, or away from it
ABOVE = {"log": 0, "sqrt": 0, "power": 0, "divide": 1}
_THERE = ("positive", "unit", "integer", "boolean", "simplex", "onehot")  # supports that are left as they are


def above_zero(model: Plan | Instance) -> set[str]:
    """The variables and parameters that a logarithm, a root or a quotient is taken of, let variables looked through."""
    variables = (*model.spec.variables, *model.guide)
    read = [e for v in variables for e in _below_edges(v, variables)]
    return {e.name for e in read if isinstance(e, E.VariableRef | E.ParamRef)}


def never_empty(variables: tuple[Variable, ...]) -> set[str]:
    """The plates whose sums, lengths and the like a logarithm or a quotient is taken of where there may be no site: of 0."""
    found: set[str] = set()
    for v in variables:
        for e in _below_edges(v, variables):
            over = {e.over} if isinstance(e, E.Call) and e.over else set()
            over |= {s.plate for s in e.at if isinstance(s, E.Stretch)} if isinstance(e, E.VariableRef) else set()
            found |= over - set(v.plates)
    return found


def _below_edges(variable: Variable, variables: tuple[Variable, ...]) -> Iterator[E.Expr]:
    """All that logarithms and the like in a variable's clauses are taken of, let variables looked through."""
    lets = {v.name: v for v in variables if v.role == "let"}
    left = [a for c in variable.clauses for b in bodies(c) for e in E.walk(b) if (a := _edge(e)) is not None]
    seen: set[str] = set()
    while left:
        for e in E.walk(left.pop()):
            yield e
            if isinstance(e, E.VariableRef) and e.name in lets and e.name not in seen:
                seen.add(e.name)
                left += [b for c in lets[e.name].clauses for b in bodies(c)]


def _edge(e: E.Expr) -> E.Expr | None:
    """What a function is taken of that has no value everywhere, unless it lies where there is one."""
    if not isinstance(e, E.Call) or e.function not in ABOVE:
        return None
    exponent = e.args[1] if e.function == "power" else None
    whole = isinstance(exponent, E.Number) and isinstance(exponent.value, int) and exponent.value >= 0
    inside = e.args[ABOVE[e.function]]
    return None if whole or inside.type.support.kind in _THERE else inside


def make_positive(plan: Plan, module: nn.Module) -> None:
    """Parameters that a logarithm or the like is taken of get above 0, in place."""
    with torch.no_grad():
        names = above_zero(plan)
        for p in plan.spec.params:
            if p.name in names and getattr(module, p.name).requires_grad:
                getattr(module, p.name).abs_().add_(0.1)


def lift(instance: Instance) -> None:
    """Observed and given values that a logarithm or the like is taken of get above 0, in place."""
    names = above_zero(instance) & set(instance.batch)
    for v in instance.spec.variables if names else ():
        if v.name in names and v.type.support.kind not in _THERE:
            values = instance.batch[v.name]
            values.copy_(values.abs() + 0.1 if values.is_floating_point() else values.clamp(min=1))


def _inside(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return low + (high - low) * torch.sigmoid(x)


def _adding_up(x: Tensor, n: Tensor) -> Tensor:
    """Counts that add up to n: each takes what is left at most, the last one all."""
    below = torch.minimum(x.cumsum(-1), n[..., None].to(x.dtype))
    below[..., -1] = n.to(x.dtype)
    return torch.diff(below, dim=-1, prepend=torch.zeros_like(below[..., :1]))


# family -> the arguments that bound its values, and an arbitrary value moved between them
BETWEEN: dict[str, tuple[tuple[str, ...], Callable[..., Tensor]]] = {
    "Binomial": (("total_count",), lambda x, n: x % (n.to(x.dtype) + 1)),
    "Multinomial": (("total_count",), _adding_up),
    **{f.name: (f.between, _inside) for f in FAMILIES.values() if all(f.between)},
}


def make_possible(instance: Instance) -> None:
    """Observed values get above 0 where they have to be, and between the bounds that their site has, in place, where nothing
    hidden says what they are."""
    lift(instance)
    bounded = [v for v in instance.spec.of_role("observed") if bounds_of(v) and not reads_hidden(instance, v)]
    for row in range(instance.rows() if bounded else 0):
        world = World(instance, row)
        for variable in bounded:
            for at in world.sites(variable.plates):
                move_between(world, variable, at)


def bounds_of(variable: Variable) -> tuple[E.Expr, ...]:
    """The arguments that bound a variable's values."""
    body = variable.general.body
    if not isinstance(body, E.Dist) or body.family not in BETWEEN:
        return ()
    return tuple(e for n, e in body.arguments if n in BETWEEN[body.family][0])


def reads_hidden(instance: Instance, variable: Variable) -> bool:
    """Whether its bounds read what is drawn, computed or bound by `where`: they are left alone then."""
    read = [e for bound in bounds_of(variable) for e in E.walk(bound)]
    known = {v.name for v in instance.spec.variables if v.role == "given"}
    return any(isinstance(e, E.LocalRef) or (isinstance(e, E.VariableRef) and e.name not in known) for e in read)


def move_between(world: World, variable: Variable, at: tuple[int, ...]) -> None:
    names, move = BETWEEN[variable.general.dist.family]
    sites, arguments = dict(zip(variable.plates, at, strict=True)), dict(variable.general.dist.arguments)
    bounds = [number(evaluate(arguments[n], world, sites, {})).detach() for n in names]
    index = at if variable.outside_batch else (world.row, *at)
    values = world.batch[variable.name]
    values[index] = move(values[index], *bounds)
