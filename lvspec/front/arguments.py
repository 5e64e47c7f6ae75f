"""The arguments of a distribution: named, defaults filled in, each within its support and with the axes it needs."""

from __future__ import annotations

from lvspec.front import supports
from lvspec.front import syntax as S
from lvspec.front.context import Context, unknown
from lvspec.front.expressions import elaborate
from lvspec.front.names import did_you_mean
from lvspec.ir import types as T
from lvspec.ir.distributions import AXES, Argument, Family
from lvspec.ir.expr import Expr, Index, Number, ParamRef
from lvspec.ir.types import Type


def read_arguments(family: Family, node: S.Application, ctx: Context) -> tuple[tuple[str, Expr], ...]:
    given: dict[str, Expr] = {}
    texts: dict[str, str] = {}
    places = tuple(a for a in family.arguments if a.one_of is None)  # logits and probs are always named
    named = [a.name for a in family.arguments if a.one_of]
    if len(node.arguments) > len(places) and not named:
        shown = ", ".join(a.name for a in family.arguments)
        ctx.problems.error(
            "arguments",
            node.arguments[len(places)].span,
            f"`{family.name}` takes {shown}, not {len(node.arguments)} arguments by place",
            help=f"name them: `{family.name}({_usage(family)})`",
        )
    for name, argument in [(a.name, n) for a, n in zip(places, node.arguments, strict=False)] + [
        (k.name, v) for k, v in node.keywords
    ]:
        span = next((k.span for k, v in node.keywords if v is argument), argument.span)
        if family.find(name) is None:
            known = [a.name for a in family.arguments]
            ctx.problems.error(
                "arguments",
                span,
                f"`{family.name}` has no argument `{name}`",
                help=did_you_mean(name, known, f"it takes {', '.join(known)}"),
            )
        elif name in given:
            ctx.problems.error("arguments", span, f"`{name}` is given twice")
        else:
            given[name] = elaborate(argument, ctx)
            texts[name] = _text(argument, ctx)
    _one_of(family, given, node, len(places), ctx)
    filled: list[tuple[str, Expr]] = []
    for wanted in family.arguments:
        if wanted.name in given:
            _check(family, wanted, given[wanted.name], texts[wanted.name], ctx)
            filled.append((wanted.name, given[wanted.name]))
        elif wanted.default is not None:
            number = int(wanted.default) if wanted.default == int(wanted.default) else wanted.default
            filled.append((wanted.name, Number(number, type=Type(support=supports.of_number(number)), span=node.span)))
        elif wanted.one_of is None:
            ctx.problems.error(
                "arguments",
                node.span,
                f"`{family.name}` needs `{wanted.name}`",
                help=f"write `{family.name}({_usage(family)})`",
            )
    return tuple(filled)


def _usage(family: Family) -> str:
    shown = [f"{a.name}=..." for a in family.arguments if a.default is None]
    tags = [a.name for a in family.arguments if a.one_of]
    return ", ".join(s for s in shown if not tags or s.split("=")[0] not in tags[1:])


def _one_of(family: Family, given: dict[str, Expr], node: S.Application, places: int, ctx: Context) -> None:
    names = [a.name for a in family.arguments if a.one_of]
    present = [n for n in names if n in given]
    if names and len(present) != 1:
        found = "both are" if present else "neither is"
        unnamed = node.arguments[places:]
        meant = names[0] if present or not unnamed else _meant(names, elaborate(unnamed[0], ctx))
        ctx.problems.error(
            "parameterization",
            node.span,
            f"`{family.name}` takes exactly one of {' and '.join(f'`{n}`' for n in names)}, and {found} given",
            help=f"write `{family.name}({meant}=...)`",
        )


def _meant(names: list[str], value: Expr) -> str:
    """Which of the arguments a value without a name is: what lies between 0 and 1 is a probability."""
    if unknown(value):
        return names[0]
    if "probs" in names:
        return "probs" if supports.fits(value, T.UNIT) else names[0]
    fitting = [n for n in names if n == "covariance_matrix" and value.type.support == T.COVARIANCE]
    return next(iter(fitting), names[-1])


SHORT = 40  # characters


def _text(node: S.Node, ctx: Context) -> str:
    """A short expression as it would be typed in a proposed mend; another as it stands in a line of the spec."""
    match node:
        case S.Name(name):
            return name
        case S.Literal(text, _):
            return text
        case S.Access(base, indices):
            return f"{_text(base, ctx)}[{', '.join(_text(i, ctx) for i in indices)}]"
        case S.Application(base, arguments, _):
            return f"{_text(base, ctx)}({', '.join(_text(a, ctx) for a in arguments)})"
        case S.Binary("subtract", left, right):
            return f"{_text(left, ctx)}-{_text(right, ctx)}"
    span = node.span
    line = ctx.problems.source.lines[span.line - 1] if span.line == span.end_line else ""
    written = line[span.column - 1 : span.end_column - 1]
    return written if 0 < len(written) <= SHORT else "..."


def _check(family: Family, argument: Argument, value: Expr, text: str, ctx: Context) -> None:
    """Stretch, support and axes of one argument."""
    if unknown(value):
        return
    if value.type.reach and not (family.name == "Pointer" and argument.name == "values"):
        t = value.type.reach.plate
        ctx.problems.error(
            "whole-as-site",
            value.span,
            f"`{argument.name}` of {family.name} is needed at one site, and this is a whole stretch of `{t}`",
            label=supports.show(value.type),
            help=f"index it with `[{t}]`, or reduce it, e.g. with `last(...)`",
        )
        return
    if (
        value.type.support.kind == "integer"
        and value.type.support.size is not None
        and argument.support.kind == "real"
        and family.name != "Delta"
    ):
        ctx.problems.error(
            "integer-as-real",
            value.span,
            f"`{argument.name}` of {family.name} is a real number, and this is the number of a category",
            label=supports.show(value.type),
            help=f"look it up: `{argument.name}=mu[{text}]`",
        )
    elif not supports.fits(value, argument.support):
        mend = supports.mend(argument.support, value, argument.name, text, argument.axes)
        found = "" if isinstance(value, Number) else f", but `{text}` is {supports.in_words(value.type.support)}"
        ctx.problems.error(
            "support-mismatch",
            value.span,
            f"`{argument.name}` of {family.name} must be {supports.in_words(argument.support)}{found}",
            label=supports.show(value.type),
            help=mend,
        )
    _check_start(family, argument, value, text, ctx)
    _warn_of_probabilities(family, argument, value, text, ctx)
    if family.event == "structure":  # axes that must agree with one another: see front/structures.py
        return
    axes = AXES[argument.axes]
    if len(value.type.shape) < axes:
        wanted = {"square": "a matrix", "table": "a matrix, one row a component"}.get(argument.axes, "a vector")
        ctx.problems.error(
            "shape-mismatch",
            value.span,
            f"`{argument.name}` of {family.name} is {wanted}, and this is {'a vector' if value.type.shape else 'a single number'}",
            label=supports.show(value.type),
        )
    elif argument.axes == "square" and value.type.shape[-1] != value.type.shape[-2]:
        ctx.problems.error(
            "shape-mismatch",
            value.span,
            f"`{argument.name}` of {family.name} is a square matrix",
            label=supports.show(value.type),
        )


def _check_start(family: Family, argument: Argument, value: Expr, text: str, ctx: Context) -> None:
    """A root of a covariance that starts as zeros is none, and no gradient leads away from it."""
    base = value.base if isinstance(value, Index) else value
    if argument.name != "scale_tril" or not isinstance(base, ParamRef):
        return
    rule, numbers = ctx.declared.params[base.name].init or ("", ())
    if rule == "zeros" or rule in ("constant", "eye") and numbers == (0.0,):
        ctx.problems.error(
            "support-mismatch",
            value.span,
            f"`scale_tril` of {family.name} has no zeros on its diagonal, and `{text}` begins as zeros",
            help=f"under `params:`, give `{base.name}` another `init`, such as `eye(1)`",
        )


def _warn_of_probabilities(family: Family, argument: Argument, value: Expr, text: str, ctx: Context) -> None:
    """softmax(softmax(w)) is a distribution, too, but seldom the one that is meant."""
    if argument.name == "logits" and value.type.support.kind in ("unit", "simplex") and not isinstance(value, Number):
        ctx.problems.warning(
            "probabilities-as-logits",
            value.span,
            f"`logits` of {family.name} are made probabilities, and `{text}` is one already",
            label=supports.show(value.type),
            help=f"write `probs={text}`, if it is meant as it stands",
        )
