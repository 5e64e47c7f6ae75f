"""`Normal(loc, softplus(scale))[D]` → a `Dist` with every argument named, checked and filled in, and the type of one variate."""

from __future__ import annotations

from dataclasses import replace

from lvspec.errors import Span
from lvspec.front import supports
from lvspec.front import syntax as S
from lvspec.front.arguments import AXES, read_arguments
from lvspec.front.context import UNKNOWN, Context, broken, unknown
from lvspec.front.dims import to_extent
from lvspec.front.expressions import elaborate
from lvspec.front.flows import through_flows
from lvspec.front.names import check_name, did_you_mean
from lvspec.front.shapes import SHAPES
from lvspec.front.structures import check_axes, state_size
from lvspec.ir import types as T
from lvspec.ir.dims import Dim, Shape
from lvspec.ir.distributions import FAMILIES, Family
from lvspec.ir.expr import Binding, Call, Choice, Dist, Expr, Number, SizeRef
from lvspec.ir.functions import FUNCTIONS
from lvspec.ir.structures import STRUCTURES
from lvspec.ir.types import Support, Type


def where(value: S.RightSide, ctx: Context) -> tuple[tuple[Binding, ...], Context]:
    """The names that `where` binds, and the clause's surroundings with them."""
    bindings = []
    for bound in value.where:
        for name in bound.names:
            check_name(name.name, name.span, ctx.problems)
            if name.name in ctx.names() or name.name in FUNCTIONS or name.name in FAMILIES:
                ctx.problems.error(
                    "name-clash", name.span, f"`{name.name}` has a meaning already", help="bind another name"
                )
        expr = _bound_value(bound, ctx)
        bindings.append(Binding(tuple(n.name for n in bound.names), expr))
        ctx = ctx.with_(locals={**ctx.locals, **{n.name: expr.type for n in bound.names}})
    return tuple(bindings), ctx


def _bound_value(bound: S.WhereBinding, ctx: Context) -> Expr:
    node, count = bound.value, len(bound.names)
    call = node if isinstance(node, S.Application) and node.base == S.Name("split") else None
    if call and len(call.arguments) == 1 and count > 1:
        parts_wanted = S.Literal(str(count), count, span=node.span)
        node = replace(call, arguments=(*call.arguments, parts_wanted))
    expr = elaborate(node, ctx)
    parts = (
        expr.args[1].value
        if isinstance(expr, Call) and expr.function == "split" and isinstance(expr.args[1], Number)
        else 1
    )
    if parts != count and not unknown(expr):
        ctx.problems.error(
            "split-names",
            bound.names[0].span.to(bound.names[-1].span),
            f"{count} name{'s' * (count != 1)} for {parts} part{'s' * (parts != 1)}",
            help=f"e.g. `{', '.join(n.name for n in bound.names)} = split(..., {count})`"
            if count > 1
            else "name each part",
        )
        return broken(node.span)
    return expr


def distribution(value: S.RightSide, ctx: Context, over: str | None = None) -> Dist | None:
    """The distribution right of a colon (its `where` already bound), or None where there is none (then noted)."""
    node = value.body
    copies: tuple[Dim, ...] = ()
    if isinstance(node, S.Along):
        over, node = node.plate.name, node.body
    if isinstance(node, S.Access) and isinstance(node.base, S.Application):
        dims = [to_extent(i, ctx.declared.sizes, ctx.problems) for i in node.indices]
        copies, node = tuple(d for d in dims if d is not None), node.base
        if len(copies) < len(dims):
            return None
    if isinstance(node, S.Application) and node.base == S.Name("Censored"):
        written = _censored(node, ctx)
        if written is None:
            return None
        node = written
    family = _family(node, ctx)
    if family is None or not isinstance(node, S.Application):
        return None
    arguments = read_arguments(family, node, ctx)
    if family.name == "SphericalUniform":
        family, arguments = FAMILIES["VonMisesFisher"], _uniform_direction(arguments, ctx)
    if family.name == "OrderedLogistic":
        family, arguments = FAMILIES["Categorical"], _between_cutpoints(arguments, ctx, node.span)
    if family.name in STRUCTURES:
        check_axes(family.name, arguments, ctx, over)
    kind = _variate(family, arguments, copies, ctx, node.span)
    if family.improper:
        dim, arguments = _dimension(family.name, arguments, 1, ctx), ()
        kind = Type((*copies, dim), T.REAL) if dim is not None else UNKNOWN
    if value.parts and family.event != "structure":
        ctx.problems.error("misplaced-suffix", value.parts[0].span, f"`{family.name}` has no part to name with `with`")
    parts = tuple(p.name for p in value.parts)
    found = Dist(family.name, arguments, copies, over, parts=parts, type=kind, span=value.span)
    return through_flows(found, value.through, ctx) if value.through else found


def _uniform_direction(arguments: tuple[tuple[str, Expr], ...], ctx: Context) -> tuple[tuple[str, Expr], ...]:
    """`SphericalUniform(D)` as arguments of a von Mises-Fisher of concentration 0, whose direction does not count."""
    dim = _dimension("SphericalUniform", arguments, 2, ctx)
    if dim is None:
        return ()
    size = arguments[0][1]
    first = Number(0, type=Type((), Support("integer", dim)), span=size.span)
    loc = Call("onehot", (first,), type=Type((dim,), T.SIMPLEX), span=size.span)
    return (("loc", loc), ("concentration", Number(0, type=Type(support=T.NONNEGATIVE), span=size.span)))


def _censored(node: S.Application, ctx: Context) -> S.Application | None:
    """`Censored(Weibull(scale, k), at=c)` as `CensoredWeibull(scale, k, at=c)`."""
    given = [*node.arguments[1:], *(v for k, v in node.keywords if k.name == "at")]
    match node.arguments[:1]:
        case (S.Application(S.Name(name)) as inner,) if (
            f"Censored{name}" in FAMILIES and len(given) == 1 and all(k.name == "at" for k, _ in node.keywords)
        ):
            base, at = S.Name(f"Censored{name}", span=inner.base.span), S.Name("at", span=given[0].span)
            return replace(inner, base=base, keywords=(*inner.keywords, (at, given[0])), span=node.span)
    bases = [n.removeprefix("Censored") for n, f in FAMILIES.items() if f.censored]
    about = f"`Censored` takes a distribution, {', '.join(bases[:-1])} or {bases[-1]}, and the bound `at`"
    ctx.problems.error("arguments", node.span, about, help="e.g. `Censored(Weibull(scale, k), at=c)`")
    return None


def _between_cutpoints(
    arguments: tuple[tuple[str, Expr], ...], ctx: Context, span: Span
) -> tuple[tuple[str, Expr], ...]:
    """`OrderedLogistic(eta, cutpoints)` as the logits of a Categorical; none where something is wrong with them, which is noted."""
    values = tuple(e for _, e in arguments)
    sound = len(values) == 2 and values[1].type.shape and supports.fits(values[1], T.INCREASING)
    logits = (
        SHAPES["ordered_logits"]("ordered_logits", values, ctx, span)
        if sound and not any(map(unknown, values))
        else None
    )
    return (("logits", logits),) if logits is not None else ()


def _dimension(family: str, arguments: tuple[tuple[str, Expr], ...], least: int, ctx: Context) -> Dim | None:
    """The size in `ImproperUniform(D)`."""
    if not arguments or unknown(arguments[0][1]):
        return None
    size = arguments[0][1]
    dim = size.dim if isinstance(size, SizeRef) else Dim.of(int(size.value)) if isinstance(size, Number) else None
    if dim is not None and (not isinstance(size, Number) or size.value >= least):
        return dim
    about = f"`dimension` of {family} is a size, {'two' if least == 2 else 'one'} or more"
    ctx.problems.error("arguments", size.span, about, help=f"e.g. `{family}(D)`")
    return None


def _family(node: S.Node, ctx: Context) -> Family | None:
    base = node.base if isinstance(node, S.Application) else node
    if isinstance(base, S.Name) and base.name in FAMILIES:
        if isinstance(node, S.Application):
            return FAMILIES[base.name]
        ctx.problems.error(
            "no-distribution", node.span, f"`{base.name}` has no arguments", help=f"write `{base.name}(...)`"
        )
    elif (
        isinstance(node, S.Application)
        and isinstance(base, S.Name)
        and base.name not in ctx.names()
        and base.name not in FUNCTIONS
    ):
        help = did_you_mean(
            base.name, FAMILIES, f"the distributions are {', '.join(n for n, f in FAMILIES.items() if f.engine)}"
        )
        ctx.problems.error("unknown-distribution", base.span, f"there is no distribution `{base.name}`", help=help)
    else:
        ctx.problems.error(
            "no-distribution",
            node.span,
            "a random variable is drawn from a distribution, and this is a value",
            help="write `Normal(..., ...)` or another distribution, or move the variable to `let:`",
        )
    return None


# ---------------------------------------------------------------- the variate
def _variate(family: Family, arguments: tuple[tuple[str, Expr], ...], copies: Shape, ctx: Context, span: Span) -> Type:
    if any(unknown(e) for _, e in arguments) or not arguments:
        return UNKNOWN
    joined = ctx.join(tuple(e for _, e in arguments if e.type.reach is None), span)
    vectors = [e for n, e in arguments if _variate_axes(family, n) and len(e.type.shape) >= 1]
    if family.event == "structure":
        return _structured(family, dict(arguments), copies)
    batch = _batch_shape(family, arguments, ctx, span)
    if joined is None or batch is None:
        return UNKNOWN
    if family.name == "NormalMixture":
        _normal_mixture(dict(arguments), ctx, span)
    if family.name in _VARIATES:
        shape, support = _VARIATES[family.name](dict(arguments))
        return Type((*copies, *batch, *shape), support)
    last = vectors[0].type.shape[-1] if vectors else None
    if family.variate.kind == "integer":
        return Type((*copies, *batch), Support("integer", last)) if last is not None else UNKNOWN
    if family.event == "vector":
        return Type((*copies, *batch, last), family.variate) if last is not None else UNKNOWN
    _check_between(family, dict(arguments), ctx)
    if copies[-1:] == batch[-1:] != ():
        ctx.problems.warning(
            "copies-of-a-vector",
            span,
            f"`[{copies[-1]}]` makes {copies[-1]} copies of what is a vector of {batch[-1]} numbers already: a matrix",
            help=f"leave `[{copies[-1]}]` out for one vector",
        )
    return Type((*copies, *batch), supports.of_variate(family, dict(arguments)))


def _check_between(family: Family, arguments: dict[str, Expr], ctx: Context) -> None:
    """Notes where no value lies between the least and the greatest."""
    low, high = (arguments.get(name) for name in family.between)
    if low is not None and high is not None and supports.empty(low, high):
        ctx.problems.error(
            "support-mismatch",
            low.span.to(high.span),
            f"nothing lies between `{family.between[0]}` and `{family.between[1]}` of this {family.name}",
            help=f"write the smaller one first, e.g. `{family.name}(0, 1)`",
        )


def _argument_axes(family: Family, name: str) -> int:
    argument = family.find(name)
    return AXES[argument.axes] if argument else 0


def _variate_axes(family: Family, name: str) -> bool:
    """Whether the argument's last axis is that of the variate."""
    argument = family.find(name)
    return argument is not None and argument.axes not in ("scalar", "components")


def _batch_shape(family: Family, arguments: tuple[tuple[str, Expr], ...], ctx: Context, span: Span) -> Shape | None:
    """What is left of the arguments' shapes without the axes that one variate takes, aligned from the right."""
    stripped, last = [], set()
    for name, value in arguments:
        axes = _argument_axes(family, name)
        if family.name == "Pointer":
            continue
        shape = value.type.shape[: len(value.type.shape) - axes] if axes else value.type.shape
        if axes and value.type.shape and family.argument(name).axes != "components":
            last.add(value.type.shape[-1])
        stripped.append(Number(0, type=Type(shape), span=value.span))
    if len(last) > 1:
        ctx.problems.error(
            "shape-mismatch",
            span,
            f"the arguments of {family.name} differ in their last axis: {' and '.join(sorted(map(str, last)))}",
        )
        return None
    return ctx.broadcast(tuple(stripped), span, f"the arguments of {family.name}")


def _structured(family: Family, arguments: dict[str, Expr], copies: Shape) -> Type:
    """One site of a structure: a state of a chain, a token of a yield; trees as wholes."""
    size = state_size(family.name, arguments) if family.name in STRUCTURES else None
    return Type(copies, T.STRUCTURE if size is None else Support("integer", size))


def _pointer(arguments: dict[str, Expr]) -> tuple[Shape, Support]:
    values = arguments["values"].type if "values" in arguments else UNKNOWN
    return (), values.support


def _normal_mixture(arguments: dict[str, Expr], ctx: Context, span: Span) -> None:
    """Notes where the weights are not as many as the components."""
    axes = {"logits": -1, "loc": -2, "scale": -2}  # that of the components, where the argument has one
    shapes = {n: arguments[n].type.shape for n in axes if n in arguments}
    counts = {shapes[n][axes[n]] for n in shapes if len(shapes[n]) >= -axes[n]}
    if len(counts) > 1:
        ctx.problems.error(
            "shape-mismatch",
            span,
            f"the arguments of NormalMixture differ in their number of components: {' and '.join(sorted(map(str, counts)))}",
            help="logits: [K]; loc, scale: [K, D]",
        )


def _delta(arguments: dict[str, Expr]) -> tuple[Shape, Support]:
    value = arguments["value"].type
    return (), T.REAL if value.support in (T.POSITIVE, T.NONNEGATIVE) and not value.shape else value.support


_VARIATES = {"Pointer": _pointer, "Delta": _delta}


# ---------------------------------------------------------------- if, then, else
def choice(node: S.ChoiceNode, ctx: Context) -> Choice | None:
    """A mixture of two distributions over one support."""
    condition = elaborate(node.condition.body, ctx)
    then, otherwise = distribution(node.then, ctx), distribution(node.otherwise, ctx)
    if not unknown(condition) and (
        condition.type.support.kind != "boolean" or condition.type.shape or condition.type.reach
    ):
        ctx.problems.error(
            "choice",
            condition.span,
            "`if` takes a single value that is 0 or 1, such as a Bernoulli variable",
            label=supports.show(condition.type),
        )
    if then is None or otherwise is None:
        return None
    a, b = then.type, otherwise.type
    if unknown(a) or unknown(b):
        return Choice(condition, then, otherwise, UNKNOWN, node.span)
    if a.shape != b.shape or a.support.kind != b.support.kind:
        ctx.problems.error(
            "choice",
            node.otherwise.span,
            f"`then` gives {supports.show(a)} and `else` gives {supports.show(b)}",
            help="both sides are over the same values",
        )
    return Choice(condition, then, otherwise, b, node.span)
