"""Networks applied to typed values: `writer(words(x[<t]))` reads the prefix and gives one vector a site."""

from __future__ import annotations

from lvspec.errors import Span
from lvspec.front import supports
from lvspec.front.context import Context, broken, show_reach, unknown
from lvspec.front.shapes import real_enough
from lvspec.front.sites import integer_index
from lvspec.ir.dims import Dim, Shape, show_shape
from lvspec.ir.expr import Apply, Expr
from lvspec.ir.networks import NETWORKS, input_shapes, output_shape
from lvspec.ir.spec import Network
from lvspec.ir.types import REAL, Reach, Type


def reads(network: Network) -> str:
    """site, causal or whole."""
    return str(network.option("reads", NETWORKS[network.kind].reads))


def apply_network(network: Network, bank: tuple[Expr, ...], args: tuple[Expr, ...], ctx: Context, span: Span) -> Expr:
    """`network[bank](args)` with its type."""
    if reads(network) == "draw":
        about = f"`{network.name}` is a flow ({network.kind}): what a distribution draws goes through it"
        ctx.problems.error("wrong-kind", span, about, help=f"write `Normal(...) through {network.name}`")
        return broken(span)
    wanted = input_shapes(network)
    if len(args) != len(wanted):
        ctx.problems.error(
            "arguments",
            span,
            f"the network `{network.name}` takes {len(wanted)} argument{'s' * (len(wanted) != 1)}, not {len(args)}",
            help="join vectors with `concat(a, b)`" if len(args) > len(wanted) else "",
        )
        return broken(span)
    banked = _bank(network, bank, ctx, span)
    heads = [_input(network, a, shape, ctx) for a, shape in zip(args, wanted, strict=False)]
    # what comes out is known although what goes in is not: there a recursion through a prefix ends
    if not banked or any(h is None for h in heads) or (any(map(unknown, args)) and not ctx.guessing):
        return broken(span)
    placed = _reach(network, args, ctx, span)
    if placed is None:
        return broken(span)
    plates, reach = placed
    plates = ctx.in_order((*plates, *(p for b in bank for p in b.type.plates)))
    head = next((h for h in heads if h), ())
    kind = Type((*head, *output_shape(network)), REAL, plates, reach)
    return Apply(network.name, bank, args, type=kind, span=span)


def _bank(network: Network, bank: tuple[Expr, ...], ctx: Context, span: Span) -> bool:
    if len(bank) != len(network.bank):
        declared = f"`{network.name}` is declared as {'one network' if not network.bank else 'a bank ' + show_shape(network.bank)}"
        ctx.problems.error(
            "index-missing" if len(bank) < len(network.bank) else "too-many-indices",
            span,
            f"{declared}, and {len(bank)} {'index is' if len(bank) == 1 else 'indices are'} given",
            help=f"choose one of the bank, e.g. `{network.name}[z](...)`" if len(bank) < len(network.bank) else "",
        )
        return False
    return all(
        [integer_index(i, axis, ctx, f"the bank `{network.name}`") for i, axis in zip(bank, network.bank, strict=False)]
    )


def _input(network: Network, value: Expr, wanted: Shape, ctx: Context) -> Shape | None:
    """The axes before those that the network takes (an image as rows, a stack), or None where the input does not fit."""
    if unknown(value):
        return ()
    if NETWORKS[network.kind].input == "integer":
        return _ids(network, value, wanted[0], ctx)
    if network.kind != "Module" and not real_enough(value, ctx, f"the network `{network.name}`"):
        return None
    shape = value.type.shape
    head = shape[: len(shape) - len(wanted)]
    if len(shape) < len(wanted) or shape[len(head) :] != wanted:
        ctx.problems.error(
            "shape-mismatch",
            value.span,
            f"the network `{network.name}` takes {show_shape(wanted) or 'a number'}, but is given {show_shape(shape) or 'a single number'}",
            label=supports.show(value.type),
            help=_declare(network, wanted, shape),
        )
        return None
    if head and (reads(network) != "site" or network.kind == "Module"):
        ctx.problems.error(
            "shape-mismatch",
            value.span,
            f"the network `{network.name}` takes {show_shape(wanted)} at each site",
            label=supports.show(value.type),
        )
        return None
    return head


def _declare(network: Network, wanted: Shape, found: Shape) -> str:
    if len(wanted) != 1 or len(found) != 1 or network.kind == "Module":
        return ""
    rest = "".join(f", {a}" for a in network.arguments[1:])
    return f"declare it as `{network.name}: {network.kind}({found[0]}{rest})`"


def _ids(network: Network, value: Expr, size: Dim, ctx: Context) -> Shape | None:
    support = value.type.support
    if not supports.integral(value):
        ctx.problems.error(
            "real-as-index",
            value.span,
            f"`{network.name}` looks integers up, and this is real",
            label=supports.show(value.type),
            help="use `Linear` for a real vector",
        )
        return None
    if support.cardinality is not None and support.cardinality != size:
        ctx.problems.error(
            "index-size",
            value.span,
            f"`{network.name}` has {size} entries, but is asked for one of {support.cardinality}",
            label=supports.show(value.type),
        )
        return None
    return value.type.shape


def _in_order(network: Network) -> str:
    """What reads in order as this one reads in both."""
    own = network.kind.removeprefix("Bi")
    return own if own in NETWORKS and NETWORKS[own].reads == "causal" else "LSTM"


def _reach(
    network: Network, args: tuple[Expr, ...], ctx: Context, span: Span
) -> tuple[tuple[str, ...], Reach | None] | None:
    """Plates and stretch of what comes out."""
    joined = ctx.join(args, span)
    if joined is None or reads(network) == "site":
        return joined
    plates, reach = joined
    first = next((a for a in args if a.type.reach), args[0])
    if not reach:
        ctx.problems.error(
            "needs-stretch",
            first.span,
            f"`{network.name}` ({network.kind}) reads a stretch of sites in order, and this is a single one",
            label=supports.show(first.type),
            help="give it a whole sequence, e.g. `x`, or a prefix, e.g. `x[<t]`",
        )
        return None
    if not ctx.declared.plates[reach.plate].ordered:
        ctx.problems.error(
            "unordered-plate",
            first.span,
            f"`{network.name}` ({network.kind}) reads sites in order, and `{reach.plate}` has none",
            help="use `sum(...)` or `mean(...)` of the sites, or declare the plate as `sequence`",
        )
        return None
    if reads(network) == "whole" and reach.reach != "whole":
        ctx.problems.error(
            "sees-the-future",
            span,
            f"`{network.name}` ({network.kind}) needs all sites at once, but is given `{show_reach(reach)}`: it would see beyond it",
            help=f"use a network that reads in order, e.g. `{_in_order(network)}`",
        )
        return None
    return (plates, reach) if reach.reach == "whole" else (ctx.in_order((*plates, reach.plate)), None)
