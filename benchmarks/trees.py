"""A grammar's sentences: a hand-written inside algorithm, and the runtime's as its contender.

By hand: spans by width, each with probabilities and a log scale of its own; the sum over splits is a batched product,
the sum over rules one matrix product for all spans; gradients by autograd.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lvspec.runtime.trees.pcfg import pcfg


def grammar_of(params: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities: root (1, N), rules (1 or B, N, S, S), words under preterminals (B, T, P)."""
    rules = params["rules"] if params["rules"].dim() == 4 else params["rules"].unsqueeze(0)
    normalised = rules.flatten(-2).log_softmax(-1).view(rules.shape)
    return params["root"].log_softmax(-1).unsqueeze(0), normalised, params["term"].log_softmax(-1) - 3.0


def by_hand(root: Tensor, rules: Tensor, words: Tensor) -> Tensor:
    """log p of sentences of one length: (B,)."""
    N, T, B = root.shape[-1], words.shape[1], len(words)
    highest = rules.detach().amax((1, 2, 3), keepdim=True)
    table = (rules - highest).exp()
    blocks = {
        (a, b): table[:, :, x, y].flatten(2).transpose(1, 2).contiguous()
        for a, x in (("n", slice(0, N)), ("p", slice(N, None)))
        for b, y in (("n", slice(0, N)), ("p", slice(N, None)))
    }
    highest = highest.view(-1, 1)

    def expand(kind: tuple[str, str], pairs: Tensor) -> Tensor:
        flat, block = pairs.flatten(-2), blocks[kind]
        found = flat.flatten(0, 1) @ block[0] if len(block) == 1 else flat @ block
        return found.view(B, -1, N)

    tops = words.detach().amax(-1)
    cells, scales = {1: (words - tops.unsqueeze(-1)).exp()}, {1: tops}
    for w in range(2, T + 1):
        n = T - w + 1
        split = torch.stack([scales[k][:, :n] + scales[w - k][:, k : k + n] for k in range(1, w)], -1)
        best = split.amax(-1, keepdim=True)
        weight = (split - best).exp().unsqueeze(-1)
        first, last = cells[1][:, :n, :, None], cells[1][:, w - 1 : w - 1 + n, None]
        if w == 2:
            u = expand(("p", "p"), first * last)
        else:
            u = expand(("p", "n"), weight[:, :, :1] * first * cells[w - 1][:, 1 : 1 + n, None])
            u = u + expand(("n", "p"), weight[:, :, -1:] * cells[w - 1][:, :n, :, None] * last)
        if w > 3:
            lefts = torch.stack([cells[k][:, :n] for k in range(2, w - 1)], 2) * weight[:, :, 1:-1]
            rights = torch.stack([cells[w - k][:, k : k + n] for k in range(2, w - 1)], 2)
            u = u + expand(("n", "n"), lefts.transpose(-2, -1) @ rights)
        top = u.detach().amax(-1, keepdim=True)
        cells[w], scales[w] = u / top, (best + top.log()).squeeze(-1) + highest
    return (cells[T][:, 0] * root.exp()).sum(-1).log() + scales[T][:, 0]


def grammar_loss(params: dict[str, Tensor]) -> Tensor:
    """-sum log p(words), by hand."""
    return -by_hand(*grammar_of(params)).sum()


def grammar_step(params: dict[str, Tensor]) -> Callable[[], tuple[Tensor, dict[str, Tensor]]]:
    """One value+gradient step of the same loss by the runtime."""
    B, T = params["term"].shape[:2]
    lengths = torch.full((B,), T)

    def step() -> tuple[Tensor, dict[str, Tensor]]:
        for parameter in params.values():
            parameter.grad = None
        loss = -pcfg(*grammar_of(params), lengths).log_partition.sum()
        loss.backward()
        return loss.detach(), {name: parameter.grad for name, parameter in params.items()}

    return step
