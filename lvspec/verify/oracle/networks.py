"""Each network of ir/networks.py, one site at a time, from named weights: the verifier's own arithmetic.

LSTM   i, f, g, o = split(W_ih x + b_ih + W_hh h + b_hh);  c' = σ(f) c + σ(i) tanh(g);  h' = σ(o) tanh(c')
GRU    r, u, n: n' = tanh(W_in x + b_in + r (W_hn h + b_hn));  h' = (1 − u) n' + u h
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from itertools import product

import torch
from torch import Tensor, nn

from lvspec.ir.spec import Network
from lvspec.verify.oracle.stretch import Begin, Value, number, tensor

Weights = dict[str, Tensor]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: x.clamp(min=0),
    "tanh": torch.tanh,
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "elu": lambda x: torch.where(x > 0, x, torch.expm1(x.clamp(max=0))),
    "silu": lambda x: x / (1 + torch.exp(-x)),
}


def linear(x: Tensor, w: Weights, prefix: str = "") -> Tensor:
    y = (w[f"{prefix}weight"] @ x.unsqueeze(-1)).squeeze(-1)
    return y + w[f"{prefix}bias"] if f"{prefix}bias" in w else y


def _mlp(network: Network, w: Weights, x: Value) -> Tensor:
    activation = ACTIVATIONS[str(network.option("activation", "relu"))]
    layers = sorted({int(name.split(".")[0]) for name in w})
    y = number(x)
    for n in layers[:-1]:
        y = activation(linear(y, w, f"{n}."))
    return linear(y, w, f"{layers[-1]}.")


def _embedding(network: Network, w: Weights, x: Value) -> Tensor:
    """Row x of the table; the begin symbol is its last row."""
    return w["weight"][-1] if isinstance(x, Begin) else w["weight"][tensor(x).long()]


def _layer_norm(network: Network, w: Weights, x: Value) -> Tensor:
    y = number(x)
    centred = y - y.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5) * w["weight"] + w["bias"]


def _residual(network: Network, w: Weights, x: Value) -> Tensor:
    return number(x) + _mlp(network, part(w, "added"), x)


def _taps_of_images(network: Network, larger: Sequence[int], smaller: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Each tap (k, l), with the place of the larger image (r, c) that it joins to one of the smaller image (s, d)."""
    kernel, stride = int(network.option("kernel")), int(network.option("stride"))
    before = max(0, (kernel - stride + 1) // 2)
    for k, l, s, d in product(range(kernel), range(kernel), *map(range, smaller)):
        r, c = stride * s + k - before, stride * d + l - before
        if 0 <= r < larger[0] and 0 <= c < larger[1]:
            yield k, l, r, c, s, d


def _convolution2d(network: Network, w: Weights, x: Value) -> Tensor:
    """Tap by tap and place by place, of whatever images stand behind each other."""
    y, (taps, bias) = number(x), (w["taps.weight"], w["taps.bias"])
    stride, down = int(network.option("stride")), network.kind == "Convolution2d"
    rows, columns = y.shape[-2] // stride if down else y.shape[-2], y.shape[-1] // stride if down else y.shape[-1]
    larger, smaller = (rows * stride, columns * stride), (rows, columns)
    found = [[bias for _ in range((smaller if down else larger)[1])] for _ in range((smaller if down else larger)[0])]
    for k, l, r, c, s, d in _taps_of_images(network, larger, smaller):
        if down:
            found[s][d] = found[s][d] + (taps[:, :, k, l] @ y[..., r, c].unsqueeze(-1)).squeeze(-1)
        else:
            found[r][c] = found[r][c] + (taps[:, :, k, l].T @ y[..., s, d].unsqueeze(-1)).squeeze(-1)
    shape = (*y.shape[:-3], len(bias))
    return torch.stack([torch.stack([v.expand(shape) for v in row], -1) for row in found], -2)


AT_A_SITE: dict[str, Callable[[Network, Weights, Value], Tensor]] = {
    "Linear": lambda network, w, x: linear(number(x), w),
    "MLP": _mlp,
    "Embedding": _embedding,
    "LayerNorm": _layer_norm,
    "Residual": _residual,
    "Convolution2d": _convolution2d,
    "TransposedConvolution2d": _convolution2d,
    "Dropout": lambda network, w, x: number(x),  # compared in evaluation mode, where it does nothing
}


# ---------------------------------------------------------------- networks that read a stretch in order
State = tuple[Tensor, ...]


def _lstm_cell(read: Tensor, kept: Tensor, state: State) -> State:
    i, f, g, o = (read + kept).chunk(4)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru_cell(read: Tensor, kept: Tensor, state: State) -> State:
    r, u, n = read.chunk(3)
    rh, uh, nh = kept.chunk(3)
    new = torch.tanh(n + torch.sigmoid(r + rh) * nh)
    update = torch.sigmoid(u + uh)
    return ((1 - update) * new + update * state[0],)


def _rnn_cell(read: Tensor, kept: Tensor, state: State) -> State:
    return (torch.tanh(read + kept),)


CELLS: dict[str, tuple[Callable[[Tensor, Tensor, State], State], int]] = {
    "LSTM": (_lstm_cell, 2),
    "GRU": (_gru_cell, 1),
    "RNN": (_rnn_cell, 1),
}


def _layer(kind: str, w: Weights, suffix: str, inputs: Sequence[Tensor]) -> list[Tensor]:
    cell, parts = CELLS[kind]
    h = w[f"weight_hh_{suffix}"].shape[1]
    state: State = (torch.zeros(h, dtype=torch.float64),) * parts
    outputs = []
    for x in inputs:
        read = w[f"weight_ih_{suffix}"] @ x + w[f"bias_ih_{suffix}"]
        kept = w[f"weight_hh_{suffix}"] @ state[0] + w[f"bias_hh_{suffix}"]
        state = cell(read, kept, state)
        outputs.append(state[0])
    return outputs


def _convolution(network: Network, w: Weights, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Each site from the sites before it, tap by tap; nothing stands before the first."""
    values = [linear(x, w, "enter.") for x in inputs]
    for n in range(int(network.option("layers"))):
        taps, bias = w[f"layers.{n}.weight"].unbind(-1), w[f"layers.{n}.bias"]  # the last tap is the site itself
        back = [(len(taps) - 1 - k) * 2**n for k in range(len(taps))]
        sums = [
            bias + sum(tap @ values[t - b] for tap, b in zip(taps, back, strict=True) if t >= b)
            for t in range(len(values))
        ]
        values = [y + s.clamp(min=0) for y, s in zip(values, sums, strict=True)]
    return values


def _taps(network: Network, w: Weights, inputs: Sequence[Tensor]) -> list[Tensor]:
    """One convolution: of each site and those so far apart before it, as many as there are."""
    taps, apart = w["taps.weight"].flip(-1).unbind(-1), int(network.option("dilation"))
    return [
        w["taps.bias"] + sum(tap @ inputs[t - k * apart] for k, tap in enumerate(taps) if t >= k * apart)
        for t in range(len(inputs))
    ]


def _turned(x: Tensor, site: int) -> Tensor:
    """Entries 2i and 2i + 1 as a complex number, times e^(i site rate)."""
    y = x.clone()
    pairs = len(x) // 2
    for i in range(pairs):
        turn = torch.polar(torch.ones((), dtype=x.dtype), torch.tensor(site * 10000.0 ** (-i / pairs), dtype=x.dtype))
        product = torch.complex(x[2 * i], x[2 * i + 1]) * turn
        y[2 * i], y[2 * i + 1] = product.real, product.imag
    return y


def _head(queries: list[Tensor], keys: list[Tensor], values: list[Tensor], whole: bool) -> list[Tensor]:
    """What one head finds at each site, among those up to it or all."""
    found = []
    for t, query in enumerate(queries):
        read = range(len(keys)) if whole else range(t + 1)
        weights = torch.stack([(query * keys[s]).sum() / len(query) ** 0.5 for s in read]).exp()
        found.append(sum((w * values[s] for w, s in zip(weights / weights.sum(), read, strict=True)), 0 * query))
    return found


def _transformer(network: Network, w: Weights, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Layers of attention, site by site and head by head."""
    whole, heads = network.kind.startswith("Bi"), int(network.option("heads"))
    activation, rotary = ACTIVATIONS[str(network.option("activation"))], network.option("positions") == "rotary"
    values = [linear(x, w, "enter.") for x in inputs]
    if not rotary:
        values = [y + w["positions"][t] for t, y in enumerate(values)]
    for n in range(int(network.option("layers"))):
        own = part(w, f"layers.{n}")
        three = [linear(_layer_norm(network, part(own, "before"), y), own, "project.").chunk(3) for y in values]
        parts = []
        for head in range(heads):
            q, k, v = ([site[i].chunk(heads)[head] for site in three] for i in range(3))
            if rotary:
                q, k = ([_turned(x, t) for t, x in enumerate(sites)] for sites in (q, k))
            parts.append(_head(q, k, v, whole))
        values = [y + linear(torch.cat(found), own, "join.") for y, *found in zip(values, *parts, strict=True)]
        for t, y in enumerate(values):
            wide = activation(linear(_layer_norm(network, part(own, "between"), y), own, "widen."))
            values[t] = y + linear(wide, own, "narrow.")
    return [_layer_norm(network, part(w, "leave"), y) for y in values]


BY_THE_STRETCH: dict[str, Callable[[Network, Weights, Sequence[Tensor]], list[Tensor]]] = {
    "DilatedConvolution": _convolution,
    "Convolution": _taps,
    "Transformer": _transformer,
    "BiTransformer": _transformer,
}


def recurrent(network: Network, w: Weights, inputs: Sequence[Tensor]) -> list[Tensor]:
    """One output for each input; the output at j has read inputs 0..j (all of them, for a Bi-network)."""
    if network.kind in BY_THE_STRETCH:
        return BY_THE_STRETCH[network.kind](network, w, inputs)
    kind = network.kind.removeprefix("Bi")
    values = list(inputs)
    for n in range(int(network.option("layers", 1))):
        if network.kind.startswith("Bi"):
            forth = _layer(kind, part(w, f"forth.{n}"), "l0", values)
            back = _layer(kind, part(w, f"back.{n}"), "l0", values[::-1])[::-1]
            values = [torch.cat(pair) for pair in zip(forth, back, strict=True)]
        else:
            values = _layer(kind, w, f"l{n}", values)
    return values


# ---------------------------------------------------------------- a user's own
def handed(x: Value, begin: int) -> Tensor:
    """A value as a user's network takes it: numbers of symbols are whole, and before the first site stands number `begin`."""
    if isinstance(x, Begin) and x.support.kind == "integer":
        return torch.tensor(begin)
    return number(x) if begin == 0 else tensor(x).long()


def of_user(module: nn.Module, inputs: list[Tensor], whole: bool = False) -> Tensor:
    """The network's answer for one example; nothing else is in its batch. whole: it may ask which sites count."""
    sites = len(inputs[0]) if whole else 0
    told = {"lengths": torch.tensor([sites]), "mask": torch.ones(1, sites, dtype=torch.bool)}
    given = {name: told[name] for name in signature(module.forward).parameters if whole and name in told}
    return module(*(x.unsqueeze(0) for x in inputs), **given)[0]


# ---------------------------------------------------------------- which weights are a network's, or a bank member's
class NamedWeights(dict[str, Tensor]):
    """Weights by their names, which are asked for the same parts again and again."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self._parts: dict[str, NamedWeights] = {}

    def part(self, prefix: str) -> NamedWeights:
        if prefix not in self._parts:
            own = {key[len(prefix) :]: value for key, value in self.items() if key.startswith(prefix)}
            self._parts[prefix] = NamedWeights(own)
        return self._parts[prefix]


def part(weights: Weights, name: str) -> Weights:
    """The weights of one submodule."""
    return (weights if isinstance(weights, NamedWeights) else NamedWeights(weights)).part(f"{name}.")


def tied_weights(network: Network, other: Network, weights: Weights, out: int) -> Weights:
    """The network's weights under torch's names, its matrices those of `other` in the opposite order. out: numbers that
    it gives; an embedding may have a row more."""
    theirs = part(weights, other.name)
    if other.kind == "Embedding":
        matrices = [theirs["weight"][:out]]
    else:
        layers = sorted({int(n.split(".")[0]) for n in theirs if "." in n}, reverse=True)
        matrices = [theirs[f"{n}.weight"].T for n in layers] or [theirs["weight"].T]
    found: Weights = {}
    for i, matrix in enumerate(matrices):
        prefix = "" if network.kind == "Linear" else f"{2 * i}."
        bias = weights.get(f"{network.name}.biases.{i}")
        found[f"{prefix}weight"] = matrix
        if bias is not None:
            found[f"{prefix}bias"] = bias
    return found


def weights_of(network: Network, weights: Weights, member: tuple[int, ...], bank: tuple[int, ...]) -> Weights:
    """The network's own weights under torch's names; of a bank, those of `member`."""
    own = part(weights, network.name)
    if not bank:
        return own
    flat = 0
    for size, index in zip(bank, member, strict=True):
        flat = flat * size + index
    if network.kind in ("Linear", "MLP", "Embedding"):  # stacked along a first axis
        return {name.removeprefix("layers."): value[flat] for name, value in own.items()}
    return part(own, f"networks.{flat}")
