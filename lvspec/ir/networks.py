"""The networks that a spec can declare, as data: sizes, options, and what each reads and gives.

reads: "site" (one site at a time: stretches go through site by site), "causal" (a stretch, in order:
under x[<t] the output at t has seen sites before t only), "whole" (needs all sites at once), "draw" (a flow: what a
distribution draws goes through it, see ir/flows.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lvspec.ir.spec import Network


ONCE, EACH = "once", "each"  # passes of a flow's network: one, or one for each entry of the vector


@dataclass(frozen=True)
class FlowKind:
    """forward: passes that a draw takes. inverse: those that the density of a given value takes, None where the
    inverse has no closed form: then only what is drawn has a density. numbers: that the map of an entry has."""

    forward: str | None
    inverse: str | None
    numbers: Callable[[Network], int] = lambda network: 2


@dataclass(frozen=True)
class Kind:
    """sizes: names of the positional sizes; "hidden..." stands for any number of them, "context?" for one or none.
    input, output: event shape of one site, over the positional sizes ("integer": an id below sizes[0]);
    `2*` for both directions. options: name → default. tied: the network whose matrices it has, transposed, from the
    last one to the first; an embedding's table as it is. torch: whether its class is torch's own. bank: the class of several at
    once, where there is one. certain: whether it gives the same when it is computed again. gates, kept: of a recurrent cell,
    matrices for one state, and numbers that are kept for one of the output, as counted. flow: how its map is computed."""

    name: str
    sizes: tuple[str, ...]
    reads: str
    input: str
    output: str
    options: tuple[tuple[str, object], ...] = ()
    torch: bool = False
    bank: str = ""
    certain: bool = True
    gates: int = 0
    kept: int = 0
    flow: FlowKind | None = None


_DEPTH = (("layers", 1), ("dropout", 0.0))
_STEPS = (("steps", 1), ("activation", "relu"))
_HIDDEN = ("dim", "hidden", "context?")
_DEEP = (("steps", 1), ("layers", 2), ("activation", "relu"))

NETWORKS: dict[str, Kind] = {
    k.name: k
    for k in (
        Kind(
            "Linear",
            ("in", "out"),
            "site",
            "in",
            "out",
            (("bias", True), ("tied", None)),
            torch=True,
            bank="LinearBank",
        ),
        Kind(
            "MLP",
            ("in", "hidden...", "out"),
            "site",
            "in",
            "out",
            (("activation", "relu"), ("dropout", 0.0), ("bias", True), ("tied", None)),
            bank="MLPBank",
        ),
        Kind("Embedding", ("num", "dim"), "site", "integer", "dim", bank="EmbeddingBank"),
        Kind("Dropout", ("in",), "site", "in", "in", (("p", 0.5),), torch=True, certain=False),
        Kind("LayerNorm", ("in",), "site", "in", "in", torch=True),
        Kind("RNN", ("in", "out"), "causal", "in", "out", _DEPTH, gates=1, kept=2),
        Kind("GRU", ("in", "out"), "causal", "in", "out", _DEPTH, gates=3, kept=10),
        Kind("LSTM", ("in", "out"), "causal", "in", "out", _DEPTH, gates=4, kept=17),
        Kind(
            "DilatedConvolution",
            ("in", "out"),
            "causal",
            "in",
            "out",
            (("layers", 4), ("kernel", 3), ("dropout", 0.0)),
        ),
        Kind("BiGRU", ("in", "out"), "whole", "in", "2*out", _DEPTH, gates=3, kept=10),
        Kind("BiLSTM", ("in", "out"), "whole", "in", "2*out", _DEPTH, gates=4, kept=17),
        Kind("Planar", ("dim", "context?"), "draw", "dim", "dim", (("steps", 1),), flow=FlowKind(ONCE, None)),
        Kind("Radial", ("dim", "context?"), "draw", "dim", "dim", (("steps", 1),), flow=FlowKind(ONCE, None)),
        Kind("Coupling", _HIDDEN, "draw", "dim", "dim", _STEPS, flow=FlowKind(ONCE, ONCE)),
        Kind("InverseAutoregressive", _HIDDEN, "draw", "dim", "dim", _STEPS, flow=FlowKind(ONCE, EACH)),
        Kind("MaskedAutoregressive", _HIDDEN, "draw", "dim", "dim", _STEPS, flow=FlowKind(EACH, ONCE)),
        Kind("zuko.MAF", _HIDDEN, "draw", "dim", "dim", (*_DEEP, ("inverted", True)), flow=FlowKind(ONCE, EACH)),
        Kind(
            "zuko.NSF",
            _HIDDEN,
            "draw",
            "dim",
            "dim",
            (*_DEEP, ("bins", 8), ("inverted", False)),
            flow=FlowKind(ONCE, EACH, lambda network: 3 * int(network.option("bins")) - 1),
        ),
        Kind(
            "zuko.NAF",
            _HIDDEN,
            "draw",
            "dim",
            "dim",
            (*_DEEP, ("signal", 16)),
            flow=FlowKind(ONCE, None, lambda network: int(network.option("signal"))),
        ),
        # a user's own nn.Module: Module(pkg.mod.Class, in=[...], out=[...], reads=site)
        Kind("Module", ("in", "out"), "site", "in", "out", (("reads", "site"),), certain=False),
    )
}

ACTIVATIONS = ("relu", "tanh", "sigmoid", "softplus", "gelu", "elu", "silu")
