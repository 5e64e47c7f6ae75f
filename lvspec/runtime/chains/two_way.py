"""A chain's two passes side by side, for chains whose products cost less than their dispatches.

    step i:  (alpha_i, g_{T-1-i}) = (alpha_{i-1}, g_{T-i}) (A, A') (p_i, p_{T-1-i})     in one bmm
    beta_t = A g_{t+1},  n_t = sum alpha_t beta_t,  d log Z / d log p_t = alpha_t beta_t / n_t

Half as many dispatches as one pass after the other. Both are scaled after the same steps, which are chosen such that what
alpha and beta have shrunk by at a site is one run of sites in all; n is looked at before it is divided by.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from lvspec.runtime.chains.blocked import blocks_for
from lvspec.runtime.chains.scaled import DENSE, ChainProgram, least, sites_between_scales
from lvspec.runtime.core.workspace import Sites, borrowed, bytes_kept, give_back

LOG2_E = 1 / log(2)  # exp2 takes a quarter of exp's time
LOST = {torch.float32: 1e-30, torch.float64: 1e-290}  # what underflows is a 1e-8 (1e-18) of this, for each state


@dataclass(frozen=True)
class BothWays:
    """messages (T, 2, B, S): alpha_i and g_{T-1-i}. pushed: the same before the likelihood. matrix (S, S): exp(factor)."""

    value: Tensor
    messages: Sites
    pushed: Sites
    matrix: Tensor


def both_ways(program: ChainProgram, start: Tensor, potentials: Tensor, factors: list[Tensor]) -> BothWays | None:
    """Both passes; start (1 or B, S), potentials (T, B, S). None where another program has to be used."""
    T, B, S = potentials.shape
    dtype, device = potentials.dtype, potentials.device
    if T < 2 or not B or not is_plain(program, factors) or blocks_for(T, B, S) is not None:
        return None
    if not bytes_kept(2 * T * B * S * potentials.element_size()):
        return None
    logs = factors[0].permute(program.turns[0]).reshape(S, S)
    tops = potentials.amax(-1, keepdim=True)
    if not program.normalized:
        top, begun = logs.amax(), start.amax(-1, keepdim=True)
        logs, start, shift = logs - top, start - begun, begun.squeeze(1) + (T - 1) * top
    matrix = logs.exp()
    density = least(matrix)
    if not density >= DENSE[dtype]:
        return None
    messages, pushed = (borrowed(T, 2, B, S, dtype=dtype, device=device) for _ in range(2))
    p = messages.values[:, 0]
    torch.sub(potentials, tops, out=p).mul_(LOG2_E).exp2_()
    messages.values[:, 1] = p.flip(0)
    p[0].mul_(start.exp())
    pushed.rows[0][1].fill_(1.0)  # beta of the last site
    every = sites_between_scales(density, S, dtype)
    scales = push_all(messages, pushed, torch.stack((matrix, matrix.t())), every)
    if not least(scales) * density >= S * LOST[dtype]:
        return None
    value = tops.sum((0, 2), dtype=torch.float64).add_(scales[:, 0].log().sum((0, 2), dtype=torch.float64))
    if not program.normalized:
        value += shift
    return BothWays(value.to(dtype), messages, pushed, matrix)


def is_plain(program: ChainProgram, factors: list[Tensor]) -> bool:
    """Whether every step is a product of the whole message with one matrix."""
    return len(factors) == 1 and not program.steps[0].lead and program.products[0].around == (1, 1)


def push_all(messages: Sites, pushed: Sites, matrices: Tensor, every: int) -> Tensor:
    """The loop over sites; gives what messages were divided by: first, last, and every so many sites."""
    last = len(messages.rows) - 1
    # site t lies (t - last // 2) % every steps behind a scale forward, and as many before the next one backward
    scaled = {0, *range(last // 2 % every, last, every), last}
    scales = matrices.new_empty(len(scaled), *messages.values.shape[1:3], 1)
    cs, before = iter(scales.unbind(0)), None
    for t, (here, u) in enumerate(zip(messages.rows, pushed.rows, strict=True)):
        if before is not None:
            torch.bmm(before, matrices, out=u)
            here.mul_(u)
        if t in scaled:
            c = next(cs)
            torch.sum(here, -1, keepdim=True, out=c)
            here.div_(c)
        before = here
    return scales


def both_gradient(
    program: ChainProgram, both: BothWays, factors: list[Tensor], grad: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]] | None:
    """d log Z / d (first message, potentials, factors), as of `scaled_gradient`; None where alpha beta is lost."""
    messages, pushed = both.messages.values, both.pushed.values
    S = messages.shape[-1]
    alphas = messages[:, 0]
    marginals = pushed[:, 1].flip(0).mul_(alphas)
    n = marginals.sum(-1, keepdim=True)
    if not least(n) >= S * LOST[n.dtype]:
        return None
    weight = grad.unsqueeze(-1) / n
    marginals.mul_(weight)
    before, after = alphas[:-1] * weight[:-1], messages[:-1, 1].flip(0)
    found = torch.mm(before.view(-1, S).t(), after.view(-1, S)).mul_(both.matrix)
    give_back(both.messages, both.pushed)
    there, back = program.turns
    return marginals[0], marginals, [found.view([factors[0].shape[i] for i in there]).permute(back)]
