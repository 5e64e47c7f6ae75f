"""Syntax → typed expressions: `transition[z[t-1]]` becomes Index(ParamRef, (VariableRef with Lag,)) of type real[K] per t.

Every expression gets a type; one with a problem gets `UNKNOWN`, so that one mistake is told once.
"""

from __future__ import annotations

from lvspec.front import syntax as S
from lvspec.front.applications import apply_network
from lvspec.front.calls import call, stack_over
from lvspec.front.context import Context, broken, unknown
from lvspec.front.dims import to_dim
from lvspec.front.names import did_you_mean
from lvspec.front.objective import OBJECTIVE, objective_function
from lvspec.front.sites import index_into, reference
from lvspec.front.supports import A_SIZE, of_number, of_param
from lvspec.ir.dims import Dim
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.expr import Expr, LocalRef, Number, ParamRef, PlateIndex, SizeRef
from lvspec.ir.functions import FUNCTIONS
from lvspec.ir.types import Support, Type


def elaborate(node: S.Node, ctx: Context) -> Expr:
    """The typed expression of a piece of syntax."""
    match node:
        case S.Literal(text, value):
            return _number(text, value, node, ctx)
        case S.Name(name):
            return _name(name, node, ctx)
        case S.Negative(operand):
            inner = elaborate(operand, ctx)
            if isinstance(inner, Number) and not unknown(inner):
                return Number(-inner.value, type=Type(support=of_number(-inner.value)), span=node.span)
            return call("negative", (inner,), ctx, node.span)
        case S.Binary(function, left, right):
            return call(function, (elaborate(left, ctx), elaborate(right, ctx)), ctx, node.span)
        case S.Along(body, plate):
            return stack_over(elaborate_along(body, plate, ctx), plate, ctx, node.span)
        case S.Access():
            return _access(node, ctx)
        case S.Application():
            return _application(node, ctx)
        case S.ListNode():
            ctx.problems.error("wrong-kind", node.span, "a list is no value", help="join vectors with `concat(a, b)`")
        case S.Dotted(path):
            ctx.problems.error(
                "unknown-name",
                node.span,
                f"`{path}` is no name of a spec",
                help="a class of your own is declared under `networks:` as `Module(package.Class, in=[...], out=[...])`",
            )
        case S.Relation(_, plate):
            ctx.problems.error("bad-index", node.span, f"a prefix or suffix is one of a variable, e.g. `x[<{plate}]`")
    return broken(node.span)


def elaborate_along(body: S.Node, plate: S.Name, ctx: Context) -> Expr:
    """The body of `body over plate`, with the plate's index bound."""
    if plate.name not in ctx.declared.plates:
        known = did_you_mean(plate.name, ctx.declared.plates, "declare it under `plates:`")
        ctx.problems.error("unknown-name", plate.span, f"`{plate.name}` is no plate", help=known)
        return broken(body.span)
    return elaborate(body, ctx.binding(plate.name))


def _number(text: str, value: int | float, node: S.Node, ctx: Context) -> Expr:
    leading = text.isdigit() and len(text) > 1 and text.startswith("0")
    if leading or len(text) > 32 or abs(value) == float("inf"):
        why = "is octal to some readers and decimal to others" if leading else "is out of range"
        ctx.problems.error("bad-number", node.span, f"`{text[:40]}` {why}")
        return broken(node.span)
    return Number(value, type=Type(support=of_number(value)), span=node.span)


def _name(name: str, node: S.Node, ctx: Context) -> Expr:
    declared = ctx.declared
    if name in ctx.locals:
        return LocalRef(name, type=ctx.locals[name], span=node.span)
    if name in ctx.variables:
        return reference(name, None, ctx, node.span, elaborate)
    if name in declared.params:
        param = declared.params[name]
        return ParamRef(name, type=Type(shape=param.shape, support=of_param(param)), span=node.span)
    if name in declared.sizes:
        return SizeRef(Dim.of(name), type=Type(support=A_SIZE), span=node.span)
    if name in declared.plates:
        if name not in ctx.bound:
            ctx.problems.error(
                "unbound-plate",
                node.span,
                f"`{name}` stands for no site here: the clause has no index `{name}`",
                help=f"write `... over {name}`, or name the variable with `[{name}]`",
            )
            return broken(node.span)
        kind = Type(support=Support("integer", ctx.extent(name)), plates=(name,))
        return PlateIndex(name, type=kind, span=node.span)
    if name not in ctx.wrong:
        ctx.problems.error(*_unknown(name, node, ctx))
    return broken(node.span)


def _unknown(name: str, node: S.Node, ctx: Context) -> tuple:
    if name in ctx.declared.networks:
        return ("wrong-kind", node.span, f"`{name}` is a network", "", f"apply it: `{name}(...)`")
    if name in FUNCTIONS:
        return ("wrong-kind", node.span, f"`{name}` is a function", "", f"apply it: `{name}(...)`")
    if name in FAMILIES:
        return ("distribution-in-let", node.span, f"`{name}` is a distribution, not a value")
    if name in ctx.hidden:
        return (
            "unknown-name",
            node.span,
            f"`{name}` belongs to the guide, which the model cannot read",
            "",
            "move it to `let:` if the model computes it too",
        )
    return (
        "unknown-name",
        node.span,
        f"nothing is called `{name}`",
        "",
        did_you_mean(name, ctx.names(), "declare it under `params:`, `let:` or `given:`"),
    )


def _access(node: S.Access, ctx: Context) -> Expr:
    base = node.base
    if isinstance(base, S.Name) and base.name in ctx.variables and base.name not in ctx.locals:
        return reference(base.name, node.indices, ctx, node.span, elaborate)
    if isinstance(base, S.Name) and base.name in ctx.declared.networks:
        shown = base.name
        ctx.problems.error(
            "wrong-kind", node.span, f"`{shown}[...]` is a network", help=f"apply it: `{shown}[...](...)`"
        )
        return broken(node.span)
    if isinstance(base, S.Application) and isinstance(base.base, S.Name) and base.base.name in FAMILIES:
        return _distribution(base.base, ctx)
    return index_into(elaborate(base, ctx), node.indices, ctx, node.span, elaborate)


def _distribution(base: S.Name, ctx: Context) -> Expr:
    ctx.problems.error(
        "distribution-in-let",
        base.span,
        f"`{base.name}` is a distribution, and here a value is meant",
        help="draw it as a variable of its own under `latent:`",
    )
    return broken(base.span)


def _application(node: S.Application, ctx: Context) -> Expr:
    base, still = _network_of(node.base, ctx)
    indices: tuple[S.Node, ...] = ()
    if isinstance(base, S.Access) and isinstance(base.base, S.Name) and base.base.name in ctx.declared.networks:
        indices, base = base.indices, base.base
    if isinstance(base, S.Access) and isinstance(base.base, S.Name) and base.base.name in ctx.wrong:
        return broken(node.span)
    if not isinstance(base, S.Name):
        ctx.problems.error("wrong-kind", node.base.span, "only networks and functions can be applied")
        return broken(node.span)
    name = base.name
    if name in ctx.wrong:
        return broken(node.span)
    if name in ctx.declared.networks:
        _refuse_keywords(node, name, ctx)
        bank = tuple(elaborate(i, ctx) for i in indices)
        network = ctx.declared.detached(name, ctx.names()) if still else ctx.declared.networks[name]
        return apply_network(network, bank, tuple(elaborate(a, ctx) for a in node.arguments), ctx, node.span)
    if name in OBJECTIVE:
        return objective_function(name, node, ctx, elaborate)
    if name in FUNCTIONS and name != "stack":
        _refuse_keywords(node, name, ctx)
        return _function(name, node, ctx)
    if name in FAMILIES:
        return _distribution(base, ctx)
    if name in ctx.names():
        ctx.problems.error(
            "wrong-kind",
            base.span,
            f"`{name}` is no network and no function",
            help=f"index it with `{name}[...]`, or multiply with `*`",
        )
        return broken(node.span)
    known = (*ctx.declared.networks, *FUNCTIONS)
    ctx.problems.error(
        "unknown-function",
        base.span,
        f"there is no network or function `{name}`",
        help=did_you_mean(name, known, "declare the network under `networks:`"),
    )
    return broken(node.span)


def _network_of(base: S.Node, ctx: Context) -> tuple[S.Node, bool]:
    """What is applied, and whether it is `detach(f)`, `detach(expert[z])` or `detach(expert)[z]` of a network."""
    indices = base.indices if isinstance(base, S.Access) else None
    match base.base if isinstance(base, S.Access) else base:
        case S.Application(S.Name("detach"), (inner,), ()):
            name = inner.base if isinstance(inner, S.Access) else inner
            if isinstance(name, S.Name) and name.name in ctx.declared.networks:
                return (inner if indices is None else S.Access(inner, indices, span=base.span)), True
    return base, False


def _refuse_keywords(node: S.Application, name: str, ctx: Context) -> None:
    for keyword, _ in node.keywords:
        ctx.problems.error("arguments", keyword.span, f"`{name}` takes its arguments by place, not `{keyword.name}=`")


def _function(name: str, node: S.Application, ctx: Context) -> Expr:
    """`sum(e over m)` is one call over m, not the sum of a stack."""
    if len(node.arguments) == 1 and isinstance(node.arguments[0], S.Along):
        along = node.arguments[0]
        if name == "flatten" or FUNCTIONS[name].kind in ("reduce", "normalise"):
            body = elaborate_along(along.body, along.plate, ctx)
            return broken(node.span) if unknown(body) else call(name, (body,), ctx, node.span, over=along.plate)
    if name == "reshape":
        return _reshape(node, ctx)
    if name == "clip":
        return _clip(node, ctx)
    return call(name, tuple(elaborate(a, ctx) for a in node.arguments), ctx, node.span)


def _reshape(node: S.Application, ctx: Context) -> Expr:
    """`reshape(a, I, J)`: the sizes are symbolic, not values."""
    if len(node.arguments) < 2:
        ctx.problems.error(
            "arguments", node.span, "`reshape` takes a value and the sizes of its axes, e.g. `reshape(a, M, K)`"
        )
        return broken(node.span)
    base, *sizes = node.arguments
    dims = [(to_dim(s, ctx.declared.sizes, ctx.problems), s.span) for s in sizes]
    refs = tuple(SizeRef(d, type=Type(support=A_SIZE), span=span) for d, span in dims if d is not None)
    if len(refs) < len(dims):
        return broken(node.span)
    return call("reshape", (elaborate(base, ctx), *refs), ctx, node.span)


def _clip(node: S.Application, ctx: Context) -> Expr:
    """`clip(i, K)`: the size is symbolic, not a value."""
    if len(node.arguments) != 2:
        ctx.problems.error(
            "arguments", node.span, "`clip` takes an integer and a size, e.g. `clip(m - a[t-1] + W, 2*W + 1)`"
        )
        return broken(node.span)
    size = to_dim(node.arguments[1], ctx.declared.sizes, ctx.problems)
    if size is None:
        return broken(node.span)
    below = SizeRef(size, type=Type(support=A_SIZE), span=node.arguments[1].span)
    return call("clip", (elaborate(node.arguments[0], ctx), below), ctx, node.span)
