"""What only a term of the objective can say: `log_prob(value, Distribution(...))`, `expected(e)`, `known(y)`."""

from __future__ import annotations

from collections.abc import Callable

from lvspec.errors import Span
from lvspec.front import supports
from lvspec.front import syntax as S
from lvspec.front.context import Context, broken, unknown
from lvspec.front.shapes import real_enough
from lvspec.ir.expr import Call, Dist, Expr, LogProb, VariableRef
from lvspec.ir.types import BOOLEAN, Type

OBJECTIVE = ("log_prob", "expected", "known")
USAGE = {
    "log_prob": "write a value and a distribution, `log_prob(y, Categorical(logits=score(h)))`",
    "expected": "write `expected(e)`: e averaged over the latents that are summed under their q",
    "known": "write `known(y)`: 1 where the batch gives the latent y, else 0",
}


def objective_function(name: str, node: S.Application, ctx: Context, elaborate: Callable[..., Expr]) -> Expr:
    """One of OBJECTIVE, applied."""
    if ctx.density is None:
        ctx.problems.error(
            "wrong-kind", node.span, f"`{name}` belongs to `objective:`", help="write it in a term of the objective"
        )
        return broken(node.span)
    if node.keywords or len(node.arguments) != (2 if name == "log_prob" else 1):
        ctx.problems.error("arguments", node.span, f"these are not the arguments of `{name}`", help=USAGE[name])
        return broken(node.span)
    value = elaborate(node.arguments[0], ctx)
    if unknown(value):
        return broken(node.span)
    if name == "log_prob":
        dist = ctx.density(S.RightSide(node.arguments[1], span=node.arguments[1].span), ctx)
        return broken(node.span) if dist is None or unknown(dist.type) else _log_prob(value, dist, node.span, ctx)
    if name == "known":
        if not isinstance(value, VariableRef) or ctx.variables[value.name].role != "latent":
            ctx.problems.error("arguments", node.arguments[0].span, "`known` asks about a latent", help=USAGE[name])
            return broken(node.span)
        if not value.type.support.finite or ctx.variables[value.name].outside_batch:
            ctx.problems.error(
                "not-given",
                node.arguments[0].span,
                f"{value.name} is a latent whose values no batch can give: it is known nowhere",
                help="leave it out; `known(y)` is for latents with finitely many values",
            )
            return broken(node.span)
        return Call(name, (value,), type=Type((), BOOLEAN, value.type.plates), span=node.span)
    if not real_enough(value, ctx, f"`{name}`"):  # an average of numbers of categories is none
        return broken(node.span)
    return Call(name, (value,), type=value.type, span=node.span)


def _log_prob(value: Expr, dist: Dist, span: Span, ctx: Context) -> Expr:
    if dist.type.shape != value.type.shape or not _within(value.type.support, dist.type.support):
        ctx.problems.error(
            "support-mismatch",
            value.span,
            f"`{dist.family}` draws {supports.show(dist.type)}, and this is something else",
            label=supports.show(value.type),
            help="give a value that the distribution can draw",
        )
        return broken(span)
    joined = ctx.join((value, *dist.children()), span)
    if joined is None:
        return broken(span)
    return LogProb(value, dist, type=Type((), plates=joined[0]), span=span)


def _within(found, wanted) -> bool:
    """Whether values of one support lie in another one."""
    return found == wanted or (wanted.kind == "real" and found.kind in ("positive", "unit", "nonnegative"))
