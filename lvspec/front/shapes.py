"""Functions with a shape rule of their own: concat, split, reshape, flatten, dot, matmul, onehot, ordered, and what reads a stretch."""

from __future__ import annotations

from lvspec.errors import Span
from lvspec.front import supports
from lvspec.front.context import Context
from lvspec.ir import types as T
from lvspec.ir.dims import Dim
from lvspec.ir.expr import Call, Expr, Number, SizeRef
from lvspec.ir.types import Support, Type


def consumed(value: Expr, ctx: Context) -> tuple[str, ...]:
    """The plates left when a stretch has been read: none of it for the whole, one value a site for `[<t]`."""
    reach = value.type.reach
    extra = (reach.plate,) if reach and reach.reach != "whole" else ()
    return ctx.in_order((*value.type.plates, *extra))


def _concat(name: str, args: tuple[Expr, ...], ctx: Context, span: Span) -> Expr | None:
    joined = ctx.join(args, span)
    if joined is None or not all([real_enough(a, ctx, f"`{name}`") for a in args]):
        return None
    heads = {a.type.shape[:-1] for a in args} - {()}
    args = tuple(a if a.type.shape else flattened(a, a.span) for a in args)  # a number: one entry
    if len(heads) > 1:
        ctx.problems.error("shape-mismatch", span, "`concat` joins last axes, and the axes before them differ")
        return None
    length = Dim.of(0)
    for a in args:
        length = length + a.type.shape[-1]
    support = supports.common(tuple(a.type.support for a in args))
    return Call(name, args, type=Type((*next(iter(heads), ()), length), support, *joined), span=span)


def _vectors(name: str, args: tuple[Expr, ...], ctx: Context) -> bool:
    fine = True
    for a in args:
        if not real_enough(a, ctx, f"`{name}`"):
            fine = False
        elif not a.type.shape:
            ctx.problems.error(
                "shape-mismatch",
                a.span,
                f"`{name}` takes vectors, and this is a single number",
                label=supports.show(a.type),
            )
            fine = False
    return fine


def real_enough(value: Expr, ctx: Context, what: str) -> bool:
    """Whether a value may enter arithmetic as real numbers: the number of a category may not."""
    if value.type.support.kind not in ("integer", "structure"):
        return True
    ctx.problems.error(
        "integer-as-real",
        value.span,
        f"{what} takes real values, and this is the number of a category",
        label=supports.show(value.type),
        help="look a vector up with it (`Embedding`, or a parameter indexed by it), or write `onehot(...)`",
    )
    return False


def _split(name: str, args: tuple[Expr, ...], ctx: Context, span: Span) -> Expr | None:
    """The type is that of one part."""
    value = args[0]
    parts = args[1].value if len(args) > 1 and isinstance(args[1], Number) else 2 if len(args) == 1 else None
    if not isinstance(parts, int) or not 1 <= parts <= 1000:
        ctx.problems.error(
            "arguments", span, "`split(a, n)` takes a vector and the number of equal parts, e.g. `split(a, 3)`"
        )
        return None
    part = value.type.shape[-1].divided(parts) if value.type.shape else None
    if part is None:
        ctx.problems.error(
            "shape-mismatch",
            value.span,
            f"this cannot be split into {parts} equal parts",
            label=supports.show(value.type),
            help=f"give it a size that {parts} divides, e.g. `{parts}*D`",
        )
        return None
    kind = value.type.with_(shape=(*value.type.shape[:-1], part), support=supports.entry(value.type.support))
    return Call(name, (value, Number(parts, type=Type(support=T.POSITIVE), span=span)), type=kind, span=span)


def _reshape(name: str, args: tuple[Expr, ...], ctx: Context, span: Span) -> Expr | None:
    value, *sizes = args
    shape = tuple(s.dim for s in sizes if isinstance(s, SizeRef))
    total = Dim.of(1)
    for d in shape:
        total = total * d
    if not value.type.shape or value.type.shape[-1] != total:
        ctx.problems.error(
            "shape-mismatch",
            span,
            f"the last axis must have {total} entries to become [{', '.join(map(str, shape))}]",
            label=supports.show(value.type),
        )
        return None
    kind = value.type.with_(shape=(*value.type.shape[:-1], *shape), support=supports.entry(value.type.support))
    return Call(name, args, type=kind, span=span)


def _flatten(name: str, args: tuple[Expr, ...], ctx: Context, span: Span) -> Expr | None:
    return flattened(args[0], span)


def flattened(value: Expr, span: Span) -> Expr:
    length = Dim.of(1)
    for d in value.type.shape:
        length = length * d
    support = value.type.support if len(value.type.shape) == 1 else supports.entry(value.type.support)
    return Call("flatten", (value,), type=value.type.with_(shape=(length,), support=support), span=span)


def _dot(name: str, args: tuple[Expr, ...], ctx: Context, span: Span) -> Expr | None:
    joined = ctx.join(args, span)
    if joined is None or not _vectors(name, args, ctx):
        return None
    a, b = (x.type.shape for x in args)
    if name == "dot":
        fits, shape = a[-1] == b[-1] and (len(a) == 1 or len(b) == 1), (*a[:-1], *b[:-1])
    else:
        fits, shape = len(a) >= 2 and len(b) == 1 and a[-1] == b[-1], a[:-1]
    if not fits:
        shown = " and ".join(supports.show(x.type) for x in args)
        what = (
            "`dot(a, b)` takes vectors of one length"
            if name == "dot"
            else "`matmul(W, v)` takes a matrix [I, J] and a vector [J]"
        )
        ctx.problems.error("shape-mismatch", span, what, label=shown)
        return None
    support = supports.inner_product(*(x.type.support for x in args))
    return Call(name, args, type=Type(shape, support, *joined), span=span)


def _onehot(name: str, args: tuple[Expr, ...], ctx: Context, span: Span) -> Expr | None:
    (value,) = args
    size = value.type.support.cardinality
    if size is None:
        code = "real-as-index" if not supports.integral(value) else "support-mismatch"
        ctx.problems.error(
            code, value.span, "`onehot` takes an integer below a known size", label=supports.show(value.type)
        )
        return None
    return Call(name, args, type=value.type.with_(shape=(*value.type.shape, size), support=T.SIMPLEX), span=span)


def _ordered(name: str, args: tuple[Expr, ...], ctx: Context, span: Span) -> Expr | None:
    if not _vectors(name, args, ctx):
        return None
    return Call(name, args, type=args[0].type.with_(support=T.INCREASING), span=span)


def _ordered_logits(name: str, args: tuple[Expr, ...], ctx: Context, span: Span) -> Expr | None:
    eta, cutpoints = args
    joined = ctx.join(args, span)
    if joined is None or not real_enough(eta, ctx, f"`{name}`") or not _vectors(name, (cutpoints,), ctx):
        return None
    if not supports.fits(cutpoints, T.INCREASING):
        ctx.problems.error(
            "support-mismatch",
            cutpoints.span,
            f"the cutpoints of `{name}` must be {supports.in_words(T.INCREASING)}",
            label=supports.show(cutpoints.type),
            help="write `ordered(...)` around them",
        )
        return None
    *lead, count = cutpoints.type.shape
    each = Number(0, type=Type(tuple(lead)), span=cutpoints.span)
    shape = ctx.broadcast((eta, each), span, f"the arguments of `{name}`")
    return Call(name, args, type=Type((*shape, count + 1), T.REAL, *joined), span=span) if shape is not None else None


def _clip(name: str, args: tuple[Expr, ...], ctx: Context, span: Span) -> Expr | None:
    """Any integer becomes one below the size."""
    value, size = args
    assert isinstance(size, SizeRef)  # see expressions._clip
    if not supports.integral(value) or value.type.shape:
        shown = supports.show(value.type)
        ctx.problems.error("real-as-index", value.span, "`clip` takes a single integer", label=shown)
        return None
    return Call(name, args, type=value.type.with_(support=Support("integer", size.dim)), span=span)


def _of_stretch(name: str, args: tuple[Expr, ...], ctx: Context, span: Span) -> Expr | None:
    (value,) = args
    if not value.type.reach:
        ctx.problems.error(
            "needs-stretch",
            value.span,
            f"`{name}` reads a stretch of sites, and this is a single value",
            label=supports.show(value.type),
            help=f"give it a whole sequence, `{name}(x)`, or a prefix, `{name}(x[<t])`",
        )
        return None
    if name != "length" and not ctx.declared.plates[value.type.reach.plate].ordered:
        ctx.problems.error(
            "unordered-plate",
            value.span,
            f"`{value.type.reach.plate}` has no order, so no {name} site",
            help="use `sum(...)` or `mean(...)`",
        )
        return None
    kind = (
        Type((), T.COUNT, consumed(value, ctx))
        if name == "length"
        else Type(value.type.shape, value.type.support, consumed(value, ctx))
    )
    return Call(name, args, type=kind, span=span)


SHAPES = {
    "concat": _concat, "split": _split, "reshape": _reshape, "flatten": _flatten, "dot": _dot, "matmul": _dot,
    "onehot": _onehot, "ordered": _ordered, "ordered_logits": _ordered_logits, "clip": _clip, "last": _of_stretch, "first": _of_stretch, "length": _of_stretch,
}  # fmt: skip
