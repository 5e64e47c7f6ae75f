"""The networks that a spec can declare, as data: sizes, options, and what each reads and gives.

reads: "site" (one site at a time: stretches go through site by site), "causal" (a stretch, in order:
under x[<t] the output at t has seen sites before t only), "whole" (needs all sites at once), "draw" (a flow: what a
distribution draws goes through it, see ir/flows.py).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """sizes: names of the positional sizes; "hidden..." stands for any number of them, "context?" for one or none.
    input, output: event shape of one site, over the positional sizes ("integer": an id below sizes[0]);
    `2*` for both directions. options: name → default. tied: the network whose matrices it has, transposed, from the
    last one to the first; an embedding's table as it is."""

    name: str
    sizes: tuple[str, ...]
    reads: str
    input: str
    output: str
    options: tuple[tuple[str, object], ...] = ()


_STEPS = (("steps", 1), ("activation", "relu"))
_DEEP = (("steps", 1), ("layers", 2), ("activation", "relu"))

NETWORKS: dict[str, Kind] = {
    k.name: k
    for k in (
        Kind("Linear", ("in", "out"), "site", "in", "out", (("bias", True), ("tied", None))),
        Kind(
            "MLP",
            ("in", "hidden...", "out"),
            "site",
            "in",
            "out",
            (("activation", "relu"), ("dropout", 0.0), ("bias", True), ("tied", None)),
        ),
        Kind("Embedding", ("num", "dim"), "site", "integer", "dim"),
        Kind("Dropout", ("in",), "site", "in", "in", (("p", 0.5),)),
        Kind("LayerNorm", ("in",), "site", "in", "in"),
        Kind("RNN", ("in", "out"), "causal", "in", "out", (("layers", 1), ("dropout", 0.0))),
        Kind("GRU", ("in", "out"), "causal", "in", "out", (("layers", 1), ("dropout", 0.0))),
        Kind("LSTM", ("in", "out"), "causal", "in", "out", (("layers", 1), ("dropout", 0.0))),
        Kind(
            "DilatedConvolution",
            ("in", "out"),
            "causal",
            "in",
            "out",
            (("layers", 4), ("kernel", 3), ("dropout", 0.0)),
        ),
        Kind("BiGRU", ("in", "out"), "whole", "in", "2*out", (("layers", 1), ("dropout", 0.0))),
        Kind("BiLSTM", ("in", "out"), "whole", "in", "2*out", (("layers", 1), ("dropout", 0.0))),
        Kind("Planar", ("dim", "context?"), "draw", "dim", "dim", (("steps", 1),)),
        Kind("Radial", ("dim", "context?"), "draw", "dim", "dim", (("steps", 1),)),
        Kind("Coupling", ("dim", "hidden", "context?"), "draw", "dim", "dim", _STEPS),
        Kind("InverseAutoregressive", ("dim", "hidden", "context?"), "draw", "dim", "dim", _STEPS),
        Kind("MaskedAutoregressive", ("dim", "hidden", "context?"), "draw", "dim", "dim", _STEPS),
        Kind("zuko.MAF", ("dim", "hidden", "context?"), "draw", "dim", "dim", (*_DEEP, ("inverted", True))),
        Kind(
            "zuko.NSF", ("dim", "hidden", "context?"), "draw", "dim", "dim", (*_DEEP, ("bins", 8), ("inverted", False))
        ),
        Kind("zuko.NAF", ("dim", "hidden", "context?"), "draw", "dim", "dim", (*_DEEP, ("signal", 16))),
        # a user's own nn.Module: Module(pkg.mod.Class, in=[...], out=[...], reads=site)
        Kind("Module", ("in", "out"), "site", "in", "out", (("reads", "site"),)),
    )
}

ACTIVATIONS = ("relu", "tanh", "sigmoid", "softplus", "gelu", "elu", "silu")
