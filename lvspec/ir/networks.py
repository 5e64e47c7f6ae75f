"""The networks that a spec can declare, as data: sizes, options, and what each reads and gives.

reads: "site" (one site at a time: stretches go through site by site), "causal" (a stretch, in order:
under x[<t] the output at t has seen sites before t only), "whole" (needs all sites at once), "draw" (a flow: what a
distribution draws goes through it, see ir/flows.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lvspec.ir.dims import Shape
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
class Work:
    """What a network does at each site that is no chain of linear layers, nor of states. multiplications: multiply-adds; kept:
    numbers that stay for the gradient; widest: the most that one tensor has; calls: operations beside the last one."""

    multiplications: float
    learned: float
    kept: float
    widest: float
    calls: int


def _convolution_work(network: Network, sizes: Sequence[int], sites: float) -> Work:
    """Each layer keeps what it reads, padded, and its own."""
    (read, out), layers = sizes, int(network.option("layers"))
    taps = int(network.option("kernel")) * out
    return Work(
        out * (read + layers * taps),
        out * (read + 1 + layers * (taps + 1)),
        out * (1 + 2 * layers),
        2 * out if layers else out,
        layers,
    )


def _residual_work(network: Network, sizes: Sequence[int], sites: float) -> Work:
    """A perceptron back to where it begins; what lies between its layers is kept."""
    pairs = list(zip(sizes, [*sizes[1:], sizes[0]], strict=True))
    learned = sum((a + bool(network.option("bias"))) * b for a, b in pairs)
    return Work(sum(a * b for a, b in pairs), learned, 2 * sizes[0] + sum(sizes[1:]), max(sizes), len(sizes))


def _taps_work(network: Network, sizes: Sequence[int], sites: float) -> Work:
    """One convolution keeps what it reads, padded, and its own."""
    (read, out), taps = sizes, int(network.option("kernel"))
    return Work(taps * read * out, (taps * read + 1) * out, read + out, max(read, out), 1)


def _image_work(network: Network, sizes: Sequence[int], sites: float) -> Work:
    """Every tap at every place of the smaller image."""
    read, out, rows, columns = sizes
    taps, larger = int(network.option("kernel")) ** 2 * read * out, int(network.option("stride")) ** 2
    places = rows * columns
    down = network.kind == "Convolution2d"
    ends = places * (read * (larger if down else 1) + out * (1 if down else larger))
    return Work(taps * places, taps + out, ends, ends, 1)


def _down(network: Network) -> tuple[Shape, Shape]:
    read, out, rows, columns = network.arguments
    stride = int(network.option("stride"))
    return (read, rows * stride, columns * stride), (out, rows, columns)


def _up(network: Network) -> tuple[Shape, Shape]:
    read, out, rows, columns = network.arguments
    stride = int(network.option("stride"))
    return (read, rows, columns), (out, rows * stride, columns * stride)


def _transformer_work(network: Network, sizes: Sequence[int], sites: float) -> Work:
    """Each layer: projections 4 out², a perceptron 8 out², and for every site read a product with its key and one with its value."""
    (read, out), layers = sizes, int(network.option("layers"))
    learned = out * (read + 3) + layers * out * (12 * out + 13)
    if network.option("positions") != "rotary":
        learned += out * int(network.option("positions"))
    return Work(out * (read + layers * (12 * out + 2 * sites)), learned, out * (3 + 19 * layers), 4 * out, 15 * layers)


@dataclass(frozen=True)
class Kind:
    """sizes: names of the positional sizes; "hidden..." stands for any number of them, "context?" for one or none.
    input, output: event shape of one site, over the positional sizes ("integer": an id below sizes[0]);
    `2*` for both directions. options: name → default. tied: the network whose matrices it has, transposed, from the
    last one to the first; an embedding's table as it is. torch: whether its class is torch's own. bank: the class of several at
    once, where there is one. certain: whether it gives the same when it is computed again. gates, kept: of a recurrent cell,
    matrices for one state, and numbers that are kept for one of the output, as counted. work: of others, what they
    do, by their sizes and the sites that are read together. flow: how its map is computed. most: layers at most. shapes: what
    goes in and comes out, where that is no vector."""

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
    work: Callable[[Network, Sequence[int], float], Work] | None = None
    flow: FlowKind | None = None
    most: int = 64
    shapes: Callable[[Network], tuple[Shape, Shape]] | None = None


_DEPTH = (("layers", 1), ("dropout", 0.0))
_STEPS = (("steps", 1), ("activation", "relu"))
_HIDDEN = ("dim", "hidden", "context?")
_DEEP = (("steps", 1), ("layers", 2), ("activation", "relu"))
_IMAGES = (("kernel", 3), ("stride", 1))
_HEADS = (("heads", 1), ("layers", 1), ("dropout", 0.0), ("activation", "gelu"), ("positions", "rotary"))

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
        Kind(
            "Residual",
            ("in", "hidden..."),
            "site",
            "in",
            "in",
            (("activation", "relu"), ("dropout", 0.0), ("bias", True)),
            work=_residual_work,
        ),
        Kind(
            "Convolution2d",
            ("in", "out", "rows", "columns"),
            "site",
            "image",
            "image",
            _IMAGES,
            work=_image_work,
            shapes=_down,
        ),
        Kind(
            "TransposedConvolution2d",
            ("in", "out", "rows", "columns"),
            "site",
            "image",
            "image",
            _IMAGES,
            work=_image_work,
            shapes=_up,
        ),
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
            work=_convolution_work,
            most=16,  # each layer looks twice as far back
        ),
        Kind("Transformer", ("in", "out"), "causal", "in", "out", _HEADS, work=_transformer_work),
        Kind("Convolution", ("in", "out"), "causal", "in", "out", (("kernel", 3), ("dilation", 1)), work=_taps_work),
        Kind("BiTransformer", ("in", "out"), "whole", "in", "out", _HEADS, work=_transformer_work),
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

# networks that there are not, and why
REFUSED = {
    name: "it averages over the examples of a batch, so that log p of one would depend on the others; `LayerNorm` reads one alone"
    for name in ("BatchNorm", "BatchNorm1d", "BatchNorm2d")
}


def input_shapes(network: Network) -> tuple[Shape, ...]:
    """The event shape of each argument."""
    if network.kind == "Module":
        return network.option("in", ((network.arguments[0],),))
    shapes = NETWORKS[network.kind].shapes
    return (shapes(network)[0],) if shapes else ((network.arguments[0],),)


def output_shape(network: Network) -> Shape:
    """The event shape of what comes out."""
    if network.kind == "Module":
        return network.option("out", (network.arguments[-1],))
    written, shapes = NETWORKS[network.kind].output, NETWORKS[network.kind].shapes
    if shapes:
        return shapes(network)[1]
    size = network.arguments[0 if written == "in" else -1]
    return (size * 2 if written.startswith("2*") else size,)


@dataclass(frozen=True)
class Takes:
    """What an option may be, where its default does not tell: one of these words, or a whole number up to this one."""

    words: tuple[str, ...] = ()
    most: int = 0


OPTIONS: dict[str, Takes] = {"activation": Takes(ACTIVATIONS), "positions": Takes(("rotary",), 65_536)}


def head_widths(network: Network, sizes: Mapping[str, int]) -> tuple[int, int] | None:
    """Of a network with heads: how many, and how many numbers they have together; None of another one, or where that is not known."""
    heads, out = network.option("heads"), network.arguments[-1]
    return (int(heads), out.evaluate(dict(sizes))) if heads and set(out.names) <= set(sizes) else None


def heads_fit(heads: int, numbers: int) -> bool:
    """Whether each head has an equal part, of two numbers at least."""
    return numbers % heads == 0 and numbers >= 2 * heads
