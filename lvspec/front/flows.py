"""`Normal(0, 1)[D] through flow(context)`: which vectors go through which flows, and where a flow needs an inverse."""

from __future__ import annotations

from lvspec.front import supports
from lvspec.front import syntax as S
from lvspec.front.context import Context, unknown
from lvspec.front.expressions import elaborate
from lvspec.front.names import did_you_mean
from lvspec.front.shapes import real_enough
from lvspec.ir.dims import Dim, show_shape
from lvspec.ir.expr import Dist, Expr
from lvspec.ir.flows import FLOWS, without_inverse
from lvspec.ir.networks import NETWORKS
from lvspec.ir.spec import Network

Through = tuple[str, tuple[Expr, ...]]


def through_flows(base: Dist, nodes: tuple[S.Node, ...], ctx: Context) -> Dist:
    """The distribution of what comes out; of the base alone where a flow cannot be read (then noted)."""
    kind = base.type
    if base.over is not None or not unknown(kind) and kind.support.kind != "real":
        about, label = "a flow transforms a vector of real numbers", supports.show(kind)
        ctx.problems.error("misplaced-suffix", nodes[0].span, about, label=label)
        return base
    if not unknown(kind) and not kind.shape:
        about = "a flow transforms a vector, and this is a single number"
        help = f"write `{base.family}(...)[1]` for a vector of one"
        ctx.problems.error("shape-mismatch", nodes[0].span, about, label=supports.show(kind), help=help)
        return base
    read = [_flow(node, base, ctx) for node in nodes]
    found = tuple(f for f in read if f is not None)
    if len(found) < len(read):
        return base
    return Dist("Flow", (), through=found, type=kind, span=base.span, base=base)


def _flow(node: S.Node, base: Dist, ctx: Context) -> Through | None:
    called = node.base if isinstance(node, S.Application) else node
    name = called.name if isinstance(called, S.Name) else "?"
    network = ctx.declared.networks.get(name)
    if name in ctx.wrong:
        return None
    if network is None or network.kind not in FLOWS:
        _tell_no_flow(node, name, network, base, ctx)
        return None
    dim, shape = network.arguments[0], base.type.shape
    if not unknown(base.type) and shape[-1] != dim:
        about = f"the flow `{name}` transforms {show_shape((dim,))}, and what is drawn is {show_shape(shape)}"
        rest = "".join(f", {a}" for a in network.arguments[1:])
        help = f"declare it as `{name}: {network.kind}({shape[-1]}{rest})`"
        ctx.problems.error("shape-mismatch", node.span, about, label=supports.show(base.type), help=help)
        return None
    return _with_context(node, network, ctx)


def _tell_no_flow(node: S.Node, name: str, network: Network | None, base: Dist, ctx: Context) -> None:
    size = base.type.shape[-1] if base.type.shape else "D"
    declare = f"declare one under `networks:`, e.g. `flow: Planar({size}, steps=8)`"
    if network is not None:
        about = f"`{name}` is a network ({network.kind}), and no flow"
        ctx.problems.error("wrong-kind", node.span, about, help=f"the flows are {', '.join(FLOWS)}")
        return
    flows = [n.name for n in ctx.declared.networks.values() if n.kind in FLOWS]
    ctx.problems.error(
        "unknown-function", node.span, f"there is no flow `{name}`", help=did_you_mean(name, flows, declare)
    )


def _with_context(node: S.Node, network: Network, ctx: Context) -> Through | None:
    """The flow with the vector that it depends on, where it is declared with the size of one."""
    nodes = node.arguments if isinstance(node, S.Application) else ()
    wanted = context_size(network)
    if len(nodes) != (wanted is not None):
        how = f"a context of {wanted} numbers" if wanted is not None else "no context"
        sizes = ", ".join(map(str, network.arguments))
        help = f"write `{network.name}(h)`" if wanted is not None else f"declare it as `{network.kind}({sizes}, C)`"
        ctx.problems.error("arguments", node.span, f"the flow `{network.name}` takes {how}", help=help)
        return None
    args = tuple(elaborate(n, ctx) for n in nodes)
    for value in args:
        if unknown(value) or not real_enough(value, ctx, f"the flow `{network.name}`"):
            return None
        if value.type.reach:
            t = value.type.reach.plate
            about = f"the context of `{network.name}` is needed at one site, and this is a whole stretch of `{t}`"
            help = f"index it with `[{t}]`, or reduce it, e.g. with `last(...)`"
            ctx.problems.error("whole-as-site", value.span, about, label=supports.show(value.type), help=help)
            return None
        if value.type.shape != (wanted,):
            about = f"the flow `{network.name}` takes a context [{wanted}]"
            ctx.problems.error("shape-mismatch", value.span, about, label=supports.show(value.type))
            return None
    return network.name, args


def context_size(network: Network) -> Dim | None:
    """The size of the context of a flow, or None where it takes none."""
    sizes = NETWORKS[network.kind].sizes
    return network.arguments[-1] if len(network.arguments) == len(sizes) else None


def check_inverse(role: str, dist: Dist, ctx: Context) -> None:
    """The density of a value that did not come out of the flow asks for its inverse: of all that the model draws."""
    network = without_inverse(dist, ctx.declared.networks) if role in ("latent", "observed") else None
    if network is None:
        return
    whose = "an observed value" if role == "observed" else "a latent that q draws"
    about = f"the density of {whose} needs the inverse of `{network.name}`, and {network.kind} has none in closed form"
    size = network.arguments[0]
    help = f"declare it as `{network.name}: Coupling({size}, H)` or `MaskedAutoregressive({size}, H)`"
    ctx.problems.error("no-inverse", dist.span, about, help=help)
