"""Linear layers of vectors side by side, `concat(h[t], memory[m])`, that are applied to each where it is; sums of products of
factors that lie on unlike axes, `sum(a[t, m] * v[m] over m)`, which are one contraction."""

from __future__ import annotations

from lvspec.ir.expr import Apply, Call, Expr
from lvspec.ir.products import factors_of, grouped


def parts_apart(pricer, node: Expr) -> tuple[Expr, ...]:
    """What stands side by side before a linear layer, where the parts vary over unlike axes."""
    if not isinstance(node, Apply):
        return ()
    network, read = pricer.networks[node.network], node.args[0]
    if network.kind not in ("Linear", "MLP") or network.bank or network.option("tied") or network.option("detached"):
        return ()
    if not isinstance(read, Call) or read.function != "concat" or len(read.type.shape) > 1:
        return ()
    return read.args if len({frozenset(pricer.axes(part)) for part in read.args}) > 1 else ()


def pair_apart(pricer, head: Apply) -> tuple[Expr, ...]:
    """Two vectors that a layer under a softmax reads, each with axes that the other lacks: their logits are made alone."""
    parts = parts_apart(pricer, head)
    axes = [frozenset(pricer.axes(part)) for part in parts]
    return parts if len(parts) == 2 and axes[0] - axes[1] and axes[1] - axes[0] else ()


def less_of_parts(pricer, node: Apply, parts: tuple[Expr, ...]) -> float:
    """How many multiply-adds more the first layer takes of each part than of all at each site: fewer, but for the sums."""
    out = pricer.networks[node.network].arguments[1].evaluate(pricer.model.sizes)
    rows = pricer.extent(pricer.axes(node))
    saved = sum((rows - pricer.extent(pricer.axes(p))) * pricer.events(p.type.shape) for p in parts)
    return out * (rows * (len(parts) - 1) - saved)


def factors_apart(pricer, node: Expr) -> tuple[Expr, ...]:
    """The factors of a sum of products along a plate, where no tensor of all entries is made: their product is one contraction."""
    if not isinstance(node, Call) or node.function != "sum" or node.over is None or node.over in pricer.unrolled:
        return ()
    factors = factors_of(node.args[0])
    spans = [frozenset((*pricer.axes(f), *f.type.shape)) for f in factors]
    return tuple(factors) if len(grouped(spans)) > 1 else ()
