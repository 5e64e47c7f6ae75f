"""The workloads: sizes, one batch, leaf parameters, and the reference's step. The same numbers in every process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from benchmarks import chains, references, segments, trees

# sequences, sites, states, symbols
CHAINS = {
    "W1-small": (32, 40, 16, 1000),
    "W1-mid": (32, 40, 64, 10000),
    "W1-large": (16, 100, 256, 10000),
    "W1-long": (8, 300, 32, 2000),
    "W1-wide": (128, 25, 100, 2000),
}
# bags, clusters, words of the vocabulary, words of a bag
BAGS = {"W2": (256, 50, 10000, 100), "W2-short": (1024, 20, 5000, 20), "W2-long": (64, 100, 10000, 400)}
# sentences, words, nonterminals, preterminals, whether rules are those of all sentences
GRAMMARS = {
    "W6-shared": (8, 20, 30, 60, True),
    "W6-perbatch": (8, 20, 30, 60, False),
    "W6-long": (4, 40, 20, 40, True),
    "W6-many": (4, 20, 60, 120, True),
}
# sequences, sites, states, longest segment
SEGMENTS = {"W7": (16, 60, 20, 8), "W7-one": (1, 60, 20, 8), "W7-long": (16, 300, 20, 8), "W7-wide": (8, 60, 80, 16)}
# sequences, sites, chains (three), states of each, features
FACTORIALS = {"W8": (16, 40, 3, 8, 10), "W8-long": (8, 120, 3, 6, 10), "W8-wide": (4, 30, 3, 12, 20)}


@dataclass(frozen=True)
class Workload:
    """workload: kind. name: kind and size. cfg: sizes. data: the batch. params: leaf tensors. loss: the reference's.
    net: the networks that the reference and peers share, where they are needed by name."""

    workload: str
    name: str
    cfg: dict
    data: dict
    params: dict[str, Tensor]
    loss: Callable[[], Tensor] = field(repr=False)
    net: nn.Module | None = field(default=None, repr=False)


def leaves(seed: int, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """Standard normal leaf tensors."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(*shape, generator=generator).requires_grad_() for name, shape in shapes.items()}


def ragged(seed: int, B: int, T: int, V: int) -> dict[str, Tensor]:
    """Random symbols with lengths between T/2 and T; the first sequence is full."""
    generator = torch.Generator().manual_seed(seed)
    lens = torch.randint(T // 2, T + 1, (B,), generator=generator)
    lens[0] = T
    return {
        "x": torch.randint(2, V, (B, T), generator=generator),
        "lens": lens,
        "mask": torch.arange(T) < lens.unsqueeze(1),
    }


def chain(name: str) -> Workload:
    B, T, K, V = CHAINS[name]
    data, params = ragged(1, B, T, V), leaves(2, pi=(K,), A=(K, K), E=(K, V))
    mask = data["mask"].float()
    cfg = {"B": B, "T": T, "K": K, "V": V}
    return Workload("W1", name, cfg, data, params, lambda: chains.chain_loss(params, data["x"], mask))


def mixture(name: str) -> Workload:
    B, K, V, N = BAGS[name]
    words = torch.randint(V, (B, N), generator=torch.Generator().manual_seed(3))
    params = leaves(4, pi=(K,), E=(K, V))
    cfg = {"B": B, "K": K, "V": V, "N": N}
    return Workload("W2", name, cfg, {"tok": words}, params, lambda: references.mixture_loss(params, words))


def images(B: int, P: int) -> Tensor:
    return (torch.rand(B, P, generator=torch.Generator().manual_seed(5)) < 0.3).float()


def image_vae(name: str) -> Workload:
    B, D, H, Z = 128, 784, 400, 20
    x = images(B, D)
    torch.manual_seed(6)
    layers = {"enc": (D, H), "mu": (H, Z), "ls": (H, Z), "d1": (Z, H), "d2": (H, D)}
    net = nn.ModuleDict({key: nn.Linear(*sizes) for key, sizes in layers.items()})
    cfg = {"B": B, "D": D, "H": H, "Z": Z}
    return Workload("W3", name, cfg, {"x": x}, dict(net.named_parameters()), lambda: references.image_vae_loss(net, x))


def sentence_vae(name: str) -> Workload:
    V, E, H, Z, B, T = 10000, 256, 256, 32, 32, 30
    data = ragged(7, B, T, V)
    torch.manual_seed(8)
    net = nn.ModuleDict(
        {
            "emb": nn.Embedding(V, E),
            "enc": nn.LSTM(E, H, batch_first=True),
            "dec": nn.LSTM(E + Z, H, batch_first=True),
            "mu": nn.Linear(H, Z),
            "ls": nn.Linear(H, Z),
            "out": nn.Linear(H, V),
        }
    )
    cfg = {"V": V, "E": E, "H": H, "Z": Z, "B": B, "T": T}
    params = dict(net.named_parameters())
    return Workload("W4", name, cfg, data, params, lambda: references.sentence_vae_loss(net, **data))


def discrete_vae(name: str) -> Workload:
    B, D, H, P, K, S = 64, 784, 256, 10, 20, 4
    x = images(B, D)
    torch.manual_seed(9)
    net = nn.ModuleDict(
        {
            "enc": nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, P * K)),
            "dec": nn.Sequential(nn.Linear(P * K, H), nn.ReLU(), nn.Linear(H, D)),
        }
    )
    cfg = {"B": B, "D": D, "H": H, "P": P, "K": K, "S": S}
    params = dict(net.named_parameters())
    return Workload("W5", name, cfg, {"x": x}, params, lambda: references.discrete_vae_loss(net, x, P, K, S))


def attention(name: str) -> Workload:
    """Words of a target, each from one of M positions; of -states, the decoder's state enters beside the position's."""
    B, T, M, V, D = (32, 30, 40, 10000, 64) if name == "W9-positions" else (4, 30, 40, 10000, 64)
    y = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(13))
    shapes = {"at": (B, T, M), "src": (B, M, D), "W": (V, D)} | ({"hid": (B, T, D)} if name == "W9-states" else {})
    params = {n: p.detach().mul_(0.3).requires_grad_() for n, p in leaves(14, **shapes).items()}
    cfg = {"B": B, "T": T, "M": M, "V": V, "D": D}
    return Workload(name, name, cfg, {"y": y}, params, lambda: references.attention_loss(params, y))


def labelled_vae(name: str) -> Workload:
    B, P, H, D, K = 128, 784, 400, 20, 10
    x, y = images(B, P), torch.randint(K, (B,), generator=torch.Generator().manual_seed(27))
    torch.manual_seed(28)
    net = nn.ModuleDict(
        {
            "enc": nn.Sequential(nn.Linear(P + K, H), nn.ReLU(), nn.Linear(H, 2 * D)),
            "dec": nn.Sequential(nn.Linear(D + K, H), nn.ReLU(), nn.Linear(H, P)),
        }
    )
    cfg, params = {"B": B, "P": P, "H": H, "D": D, "K": K}, dict(net.named_parameters())
    return Workload(name, name, cfg, {"x": x, "y": y}, params, lambda: references.labelled_vae_loss(net, x, y, K))


def copying(name: str) -> Workload:
    """Words of a target, each written anew or copied from the source: half of them stand there."""
    B, T, M, V, D = 32, 30, 40, 10000, 64
    s = torch.randint(V, (B, M), generator=torch.Generator().manual_seed(18))
    y = torch.where(
        torch.arange(T) % 2 == 0, s[:, :T], torch.randint(V, (B, T), generator=torch.Generator().manual_seed(19))
    )
    shapes = {
        "src": (B, M, D),
        "hid": (B, T, D),
        "gate.weight": (1, D),
        "gate.bias": (1,),
        "out.weight": (V, D),
        "out.bias": (V,),
    }
    params = {n: p.detach().mul_(0.3).requires_grad_() for n, p in leaves(20, **shapes).items()}
    cfg = {"B": B, "T": T, "M": M, "V": V, "D": D}
    return Workload(name, name, cfg, {"s": s, "y": y}, params, lambda: references.copying_loss(params, s, y))


def averaged(name: str) -> Workload:
    """Words of a target, each from an average of the source's vectors."""
    B, T, M, V, D = 32, 30, 40, 1000, 256
    y = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(21))
    shapes = {"src": (B, M, D), "hid": (B, T, D), "out.weight": (V, D), "out.bias": (V,)}
    params = {n: p.detach().mul_(0.2).requires_grad_() for n, p in leaves(22, **shapes).items()}
    cfg = {"B": B, "T": T, "M": M, "V": V, "D": D}
    return Workload(name, name, cfg, {"y": y}, params, lambda: references.average_loss(params, y))


def keys(name: str) -> Workload:
    B, T, K, D = 16, 50, 16, 50
    x = torch.randint(2, (B, T, D), generator=torch.Generator().manual_seed(23))
    params = leaves(24, pi=(K,), A=(K, K), first=(K, D), key=(K, 2, D))
    return Workload(name, name, {"B": B, "T": T, "K": K, "D": D}, {"x": x}, params, lambda: chains.keys_loss(params, x))


def autoregressive(name: str) -> Workload:
    B, T, K, V = 32, 60, 16, 100
    x = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(25))
    params = leaves(26, pi=(K,), A=(K, K), first=(K, V), bigram=(V, K, V))
    cfg = {"B": B, "T": T, "K": K, "V": V}
    return Workload(name, name, cfg, {"x": x}, params, lambda: chains.autoregressive_loss(params, x))


def mixture_vae(name: str) -> Workload:
    V, E, H, Z, K, B, T = 2000, 128, 256, 16, 20, 32, 30
    data = ragged(15, B, T, V)
    torch.manual_seed(16)
    net = nn.ModuleDict(
        {
            "emb": nn.Embedding(V, E),
            "enc": nn.LSTM(E, H, batch_first=True),
            "cluster": nn.Linear(H, K),
            "code": nn.Linear(H, 2 * Z),
            "dec": nn.LSTM(E + Z, H, batch_first=True),
            "out": nn.Linear(H, V),
        }
    )
    params = dict(net.named_parameters()) | leaves(17, prior=(K,), centre=(K, Z), spread=(K, Z))
    cfg = {"V": V, "E": E, "H": H, "Z": Z, "K": K, "B": B, "T": T}
    return Workload(name, name, cfg, data, params, lambda: references.mixture_vae_loss(net, params, **data), net)


def factorial(name: str) -> Workload:
    B, T, L, K, D = FACTORIALS[name]
    x = 2 * torch.randn(B, T, D, generator=torch.Generator().manual_seed(10))
    params = leaves(11, pi=(L, K), A=(L, K, K), W=(L, K, D))
    cfg = {"B": B, "T": T, "L": L, "K": K}
    return Workload("W8", name, cfg, {"x": x}, params, lambda: chains.factorial_loss(params, x))


def grammar(name: str) -> Workload:
    B, T, N, P, shared = GRAMMARS[name]
    rules = (N, N + P, N + P) if shared else (B, N, N + P, N + P)
    params = leaves(12, term=(B, T, P), rules=rules, root=(N,))
    cfg = {"B": B, "T": T, "NT": N, "PT": P}
    return Workload("W6", name, cfg, {}, params, lambda: trees.grammar_loss(params))


def segmented(name: str) -> Workload:
    B, T, K, D = SEGMENTS[name]
    params = leaves(12, pi=(K,), A=(K, K), dur=(K, D), e=(B, T, K))
    cfg = {"B": B, "T": T, "K": K, "D": D}
    return Workload("W7", name, cfg, {}, params, lambda: segments.segments_loss(params))


MAKERS = {
    **dict.fromkeys(CHAINS, chain),
    **dict.fromkeys(BAGS, mixture),
    "W3": image_vae,
    "W4": sentence_vae,
    "W5": discrete_vae,
    "W9-positions": attention,
    "W9-states": attention,
    "gm_vae": mixture_vae,
    "W10-labels": labelled_vae,
    "W10-copied": copying,
    "W10-averaged": averaged,
    "W10-keys": keys,
    "W10-bigrams": autoregressive,
    **dict.fromkeys(GRAMMARS, grammar),
    **dict.fromkeys(SEGMENTS, segmented),
    **dict.fromkeys(FACTORIALS, factorial),
}


def make(name: str) -> Workload:
    return MAKERS[name](name)
