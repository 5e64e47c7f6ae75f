"""How a value is reached: `z[t]`, `z[t-1]`, `x[<t]`, `x`, `memory[a[t]]`, `W[z]`, `reader(words(x))[t]`."""

from __future__ import annotations

from collections.abc import Callable

from lvspec.errors import Span
from lvspec.front import supports
from lvspec.front import syntax as S
from lvspec.front.context import UNKNOWN, Context, Seen, broken, unknown
from lvspec.front.lengths import as_long_as
from lvspec.front.names import did_you_mean
from lvspec.front.whole_numbers import ends, lies_among
from lvspec.ir.dims import Dim, ragged_plate
from lvspec.ir.expr import Again, At, Expr, Here, Index, Lag, Number, Site, SiteOf, Stretch, VariableRef
from lvspec.ir.types import STRUCTURE, Reach

Elaborate = Callable[[S.Node, Context], Expr]


def reference(name: str, nodes: tuple[S.Node, ...] | None, ctx: Context, span: Span, elaborate: Elaborate) -> Expr:
    """A variable at the sites that its indices name; without indices, all of it."""
    seen = ctx.variables[name]
    if seen.type.support == STRUCTURE:
        ctx.problems.error(
            "wrong-kind",
            span,
            f"`{name}` is a structure that is summed over, not a value",
            help="read the observation that it explains; `model.posterior` answers questions about it",
        )
        return broken(span)
    if nodes is None:
        return _whole(seen, ctx, span)
    if len(nodes) < len(seen.plates):
        shown = f"`{name}[{', '.join(seen.plates)}]`"
        ctx.problems.error(
            "index-missing",
            span,
            f"`{name}` has the indices {shown}, but {len(nodes)} of {len(seen.plates)} are given here",
            help=f"{shown} is one site; `sum({name}[{', '.join(seen.plates)}] over {seen.plates[-1]})` and its like reduce all",
        )
        return broken(span)
    if not seen.plates and not seen.type.shape and not unknown(seen.type):
        ctx.problems.error(
            "too-many-indices", span, f"`{name}` has no index: it is one value for each example", help=f"write `{name}`"
        )
        return broken(span)
    read = [_site(seen, plate, node, ctx, elaborate) for plate, node in zip(seen.plates, nodes, strict=False)]
    sites = tuple(s for s in read if s is not None)
    if len(sites) < len(read) or not _nesting(seen, sites, ctx, span):
        return broken(span)
    found = _at(seen, sites, ctx, span)
    rest = nodes[len(seen.plates) :]
    return index_into(found, rest, ctx, span, elaborate) if rest else found


def _whole(seen: Seen, ctx: Context, span: Span) -> Expr:
    """`x`: ragged plates become a stretch, fixed ones leading event axes."""
    ragged = [p for p in seen.plates if ctx.declared.plates[p].ragged]
    latent = next((p for p in seen.plates if ctx.declared.plates[p].length is not None), None)
    if latent is not None:
        as_long_as(ctx.declared.plates[latent], f"all of `{seen.name}`", ctx, span)
        return broken(span)
    if len(ragged) > 1:
        ctx.problems.error(
            "index-missing", span, f"`{seen.name}` has the indices `[{', '.join(seen.plates)}]`; name them"
        )
        return broken(span)
    leading = tuple(ctx.extent(p) for p in seen.plates if p not in ragged)
    kind = seen.type.with_(plates=(), reach=Reach(ragged[0], "whole") if ragged else None)
    if not unknown(kind):
        kind = kind.with_(shape=(*leading, *kind.shape))
    return VariableRef(seen.name, tuple(Stretch(p, "whole") for p in seen.plates), type=kind, span=span)


def _at(seen: Seen, sites: tuple[Site, ...], ctx: Context, span: Span) -> Expr:
    plates: set[str] = set()
    reaches: set[Reach] = set()
    for site in sites:
        match site:
            case Here(plate) | Lag(plate, _) | Again(_, plate):
                plates.add(plate)
            case Stretch(plate, reach, inside):
                reaches.add(Reach(plate, reach, inside))
            case At(_, index):
                plates.update(index.type.plates)
                reaches.update([index.type.reach] if index.type.reach else [])
    if len(reaches) > 1 or any(r.plate in plates for r in reaches):
        ctx.problems.error(
            "mixed-stretch",
            span,
            "a value is reached along one plate at a time",
            help="reduce one of the stretches first",
        )
        return broken(span)
    kind = seen.type.with_(plates=ctx.in_order(plates), reach=next(iter(reaches), None))
    return VariableRef(seen.name, sites, type=kind, span=span)


def _site(seen: Seen, plate: str, node: S.Node, ctx: Context, elaborate: Elaborate) -> Site | None:
    """The site of `plate` that one index names."""
    match node:
        case S.Relation():
            return _stretch(seen, plate, node, ctx)
        case S.Name(other) if other == plate:
            return Here(plate) if _bound(seen, plate, node.span, ctx) else None
        case S.Binary(("add" | "subtract") as sign, S.Name(other), S.Literal(_, k)) if other == plate and isinstance(
            k, int
        ):
            return _lag(seen, plate, k if sign == "subtract" else -k, node.span, ctx)
        case S.Name(other) if other not in ctx.locals and _copies(other, plate, ctx):
            return Again(plate, other) if _bound(seen, other, node.span, ctx) else None
        case S.Literal(_, k) if isinstance(k, int):
            return _literal(seen, plate, k, node, ctx, elaborate)
        case S.Name(other) if other in ctx.declared.plates and other not in ctx.locals:
            ctx.problems.error(
                "wrong-plate",
                node.span,
                f"`{seen.name}` is indexed by `{plate}`, not by `{other}`",
                help=_of_that_number(seen, plate, other, ctx),
            )
            return None
    if ctx.declared.plates[plate].length is not None:
        as_long_as(ctx.declared.plates[plate], f"`{seen.name}` at a certain site", ctx, node.span)
        return None
    index = elaborate(node, ctx)
    return At(plate, index) if integer_index(index, ctx.extent(plate), ctx, f"plate `{plate}`") else None


def _nesting(seen: Seen, sites: tuple[Site, ...], ctx: Context, span: Span) -> bool:
    """Whether each nested plate is reached at this site of the plate around it: another one has other sites."""
    around = {ctx.declared.plates[p].within: p for p in seen.plates}
    away = next((s.plate for s in sites if s.plate in around and not isinstance(s, Here)), None)
    if away is not None:
        ctx.problems.error(
            "nested-site",
            span,
            f"`{around[away]}` is nested: each site of `{away}` has its own, and another one may have fewer",
            help=f"read `{seen.name}` at `[{away}]`, or compute what is to be passed on as a variable on `{away}`",
        )
    return away is None


def _copies(name: str, plate: str, ctx: Context) -> bool:
    """Whether `name` runs over the sites of `plate` again."""
    return name in ctx.declared.plates and ctx.declared.plates[name].like == plate


def _bound(seen: Seen, plate: str, span: Span, ctx: Context) -> bool:
    if plate in ctx.bound:
        return True
    if ctx.initial and ctx.initial[0] == plate:
        help = f"in the clause for site {ctx.initial[1]}, name the site by its number, e.g. `{seen.name}[{ctx.initial[1]}]`"
    elif ctx.declared.plates[plate].like:
        help = f"write `... over {plate}`"
    elif ctx.declared.plates[plate].ragged:
        help = f"name all of it, `{seen.name}`, or index the variable of this clause with `[{plate}]`"
    else:
        help = f"write `... over {plate}`, or `{seen.name}` for all of it"
    ctx.problems.error("unbound-plate", span, f"the clause speaks of no single site `{plate}`", help=help)
    return False


def _ordered(seen: Seen, plate: str, span: Span, ctx: Context) -> bool:
    kind = ctx.declared.plates[plate]
    if not kind.ordered:
        ctx.problems.error(
            "unordered-plate",
            span,
            f"`{plate}` is a plate of kind {kind.kind}, whose sites have no order",
            help=f"declare it as `{plate}: sequence`",
        )
    return kind.ordered


def _of_that_number(seen: Seen, plate: str, other: str, ctx: Context) -> str:
    """Two plates of known sizes may be meant to have the same sites: then a number names one of them."""
    sizes = [ctx.declared.plates[name].size for name in (plate, other)]
    if None in sizes or sizes[0] != sizes[1]:
        return f"write `{seen.name}[{plate}]`"
    return (
        f"write `{seen.name}[{plate}]`, or `{seen.name}[clip({other}, {sizes[0]})]`: the site that has {other}'s number"
    )


def _stretch(seen: Seen, plate: str, node: S.Relation, ctx: Context) -> Site | None:
    reach, span = node.reach, node.span
    if node.plate != plate:
        ctx.problems.error("wrong-plate", span, f"`{seen.name}` is indexed by `{plate}`, not by `{node.plate}`")
        return None
    if node.inside is not None and node.inside not in ctx.names():
        known = did_you_mean(node.inside, ctx.variables, "name a latent that is drawn from SemiMarkov")
        ctx.problems.error("unknown-name", span, f"nothing is called `{node.inside}`", help=known)
        return None
    if not _bound(seen, plate, span, ctx) or not _ordered(seen, plate, span, ctx):
        return None
    if ctx.declared.plates[plate].length is not None:
        as_long_as(ctx.declared.plates[plate], f"a stretch of `{seen.name}`", ctx, span)
        return None
    if reach in ("after", "from") and not ctx.guide and seen.role != "given":
        ctx.problems.error(
            "future-site",
            span,
            f"the model reads sites of `{seen.name}` that come later",
            help=f"write `[<{plate}]`; what comes later may be read in the guide",
        )
        return None
    return Stretch(plate, reach, node.inside)


FARTHEST = 1000  # sites back or ahead: each of the first ones needs a clause of its own


def _lag(seen: Seen, plate: str, k: int, span: Span, ctx: Context) -> Site | None:
    if not _bound(seen, plate, span, ctx) or not _ordered(seen, plate, span, ctx):
        return None
    if abs(k) > FARTHEST:
        where = f"{abs(k):,} sites {'back' if k > 0 else 'ahead'}"
        ctx.problems.error("index-range", span, f"`{seen.name}` is read {where}; at most {FARTHEST:,} can be")
        return None
    if ctx.declared.plates[plate].length is not None and (k < 0 or not ctx.guide):
        which = "a later site" if k < 0 else "an earlier site, in the model"
        message = f"{which} along `{plate}`, whose length is a variable, has no engine yet"
        ctx.problems.error("latent-length", span, message, help="let the guide read earlier sites, `[i-1]`")
        return None
    if k < 0 and not ctx.guide and seen.role != "given":
        ctx.problems.error(
            "future-site",
            span,
            f"the model reads the site `{plate}+{-k}` of `{seen.name}`, which comes later",
            help="a later site may be read in the guide",
        )
        return None
    return Lag(plate, k) if k else Here(plate)


def _literal(seen: Seen, plate: str, k: int, node: S.Node, ctx: Context, elaborate: Elaborate) -> Site | None:
    """`z[0]`: relative to the site where the clause is one for a first site, else the site of that number."""
    if ctx.initial and ctx.initial[0] == plate:
        back = ctx.initial[1] - k
        if back < 0 and not ctx.guide:
            ctx.problems.error(
                "future-site", node.span, f"the clause for site {ctx.initial[1]} reads the later site {k}"
            )
            return None
        return Lag(plate, back) if back else Here(plate)
    if ctx.declared.plates[plate].length is not None:
        as_long_as(ctx.declared.plates[plate], f"`{seen.name}` at a certain site", ctx, node.span)
        return None
    size = ctx.declared.number(ctx.extent(plate))
    if size is not None and k >= size:
        ctx.problems.error("index-range", node.span, f"plate `{plate}` has the sites 0 to {size - 1}")
        return None
    return At(plate, elaborate(node, ctx))


# ---------------------------------------------------------------- indices into event axes
def a_number_everywhere(value: Expr, ctx: Context) -> bool:
    """Whether an integer has one of its values at every site; what lies before the first one is none of them."""
    if not isinstance(value, VariableRef) or not value.beyond or value.type.support.cardinality is None:
        return True
    size = value.type.support.cardinality
    earlier = any(isinstance(s, Stretch) and s.reach == "before" for s in value.at)
    site = f"; or name one site, `{value.name}[t-1]`, with a clause for the first" if earlier else ""
    ctx.problems.error(
        "begin-symbol",
        value.span,
        f"{'at the first site' if earlier else 'beyond the last site'} this is the begin symbol: no number below {size}",
        label=supports.show(value.type),
        help=f"an `Embedding` has a row for it, and `onehot` gives zeros{site}",
    )
    return False


def integer_index(index: Expr, axis: Dim, ctx: Context, what: str) -> bool:
    """Whether an expression is an integer that may run over `axis`; notes why not."""
    if unknown(index):
        return ctx.guessing  # the axes that are left are known all the same
    if not supports.integral(index) or index.type.shape:
        shown = supports.show(index.type)
        help = "index with a discrete variable; a relaxed or real one is mixed instead: `dot(z, W)`"
        ctx.problems.error("real-as-index", index.span, "an index is a single integer", label=shown, help=help)
        return False
    if not a_number_everywhere(index, ctx):
        return False
    if isinstance(index, Number):
        entries = ctx.declared.number(axis)
        if index.value < 0 or (entries is not None and index.value >= entries):
            ctx.problems.error(
                "index-range",
                index.span,
                f"{what} has the entries 0 to {entries - 1 if entries else '...'}",
                label=str(index.value),
            )
            return False
        return True
    size = index.type.support.cardinality
    known = ends(index)
    if size is None and known is not None and lies_among(known, axis):
        return True
    if size is None and index.type.support.kind in ("integer", "count"):
        lies = "nothing keeps this integer among them"
        if known is not None and not any(map(ragged_plate, known)):
            lies = f"this is one of {known[0]} .. {known[1]}"
        ctx.problems.error(
            "index-range",
            index.span,
            f"{what} has {axis} entries, and {lies}",
            label=supports.show(index.type),
            help=f"`clip(..., {axis})` takes the nearest entry" if ragged_plate(axis) is None else "",
        )
        return False
    if size is not None and size != axis:
        ctx.problems.error(
            "index-size",
            index.span,
            f"{what} has {axis} entries, but the index runs over {size}",
            label=supports.show(index.type),
        )
        return False
    return True


def index_into(base: Expr, nodes: tuple[S.Node, ...], ctx: Context, span: Span, elaborate: Elaborate) -> Expr:
    """`base[i, j]` over the leading event axes; a stretch loses its plate to an index of that plate first."""
    if unknown(base):
        for node in nodes:
            if not isinstance(node, S.Relation):
                elaborate(node, ctx)
        return broken(span)
    reach = base.type.reach
    first = nodes[0].name if nodes and isinstance(nodes[0], S.Name) else ""
    if reach and (first == reach.plate or reach.reach == "whole" and _copies(first, reach.plate, ctx)):
        if first not in ctx.bound:
            ctx.problems.error("unbound-plate", nodes[0].span, f"the clause speaks of no single site `{first}`")
            return broken(span)
        plates = ctx.in_order((*base.type.plates, first))
        base = SiteOf(base, first, type=base.type.with_(reach=None, plates=plates), span=span)
        nodes = nodes[1:]
    if not nodes:
        return base
    if len(nodes) > len(base.type.shape):
        axes = len(base.type.shape)
        ctx.problems.error(
            "too-many-indices",
            span,
            f"this value has {axes} {'axis' if axes == 1 else 'axes'} to index, not {len(nodes)}",
            label=supports.show(base.type),
        )
        return broken(span)
    indices = tuple(elaborate(n, ctx) for n in nodes)
    fine = [integer_index(i, axis, ctx, "the axis") for i, axis in zip(indices, base.type.shape, strict=False)]
    joined = ctx.join((base, *indices), span) if all(fine) else None
    if joined is None:
        return broken(span)
    left = base.type.shape[len(nodes) :]
    support = base.type.support if left else supports.entry(base.type.support)
    kind = UNKNOWN.with_(shape=left, support=support, plates=joined[0], reach=joined[1])
    return Index(base, indices, type=kind, span=span)
