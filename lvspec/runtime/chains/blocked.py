"""A long chain's two passes with all blocks of sites at once: about sqrt T products of matrices instead of T.

    M_l = A diag(p) A diag(p) ...     over the sites of block l, for all blocks side by side
    alpha at the end of block l = alpha at its beginning M_l, beta at its beginning = M_l beta at its end
    then the sites between, again for all blocks side by side

It costs as many operations as there are states more, so it is for few states and rows, and long chains.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor


@dataclass(frozen=True)
class Blocks:
    """The sites after `head`, as `count` blocks of `size` sites."""

    head: int
    size: int
    count: int

    def side_by_side(self, values: Tensor) -> Tensor:
        """(T, B, S) -> (size, count * B, S), a copy."""
        cut = values[self.head + 1 :].unflatten(0, (self.count, self.size))
        return cut.transpose(0, 1).flatten(1, 2).contiguous()

    def in_order(self, values: Tensor, out: Tensor) -> None:
        """The inverse of side_by_side, into the sites of `out`."""
        cut = values.unflatten(1, (self.count, -1)).transpose(0, 1)
        out[self.head + 1 :].unflatten(0, (self.count, self.size)).copy_(cut)


# measured on one core: multiply-adds that take as long as a site's dispatches do, and as moving an entry about does
DISPATCHES = 60_000
MOVES = 170
SHORTEST = 13  # blocks: with fewer, both passes side by side are as quick


def blocks_for(T: int, B: int, states: int) -> Blocks | None:
    """Blocks, where the dispatches that they save are worth more than their operations."""
    size = isqrt(3 * T)
    count = (T - 1) // max(size, 1)
    if T < SHORTEST * size or (T - 4 * size) * DISPATCHES < T * B * states * (states**2 + MOVES):
        return None
    return Blocks(T - 1 - count * size, size, count)


def transfers(blocks: Blocks, arc: Tensor, p: Tensor, every: int) -> Tensor:
    """M_l up to a factor each: (count, B, states, states); p (size, count * B, states)."""
    rows, S = p.shape[1], arc.shape[0]
    found = torch.eye(S, dtype=p.dtype, device=p.device).expand(rows, S, S).reshape(rows * S, S)
    for t, here in enumerate(p.unsqueeze(2).unbind(0)):
        found = torch.mm(found, arc).view(rows, S, S).mul_(here)
        if t % every == every - 1 or t == len(p) - 1:
            found.div_(found.sum((1, 2), keepdim=True))
        found = found.view(rows * S, S)
    return found.view(blocks.count, -1, S, S)


def forward_in_blocks(blocks: Blocks, arc: Tensor, p: Tensor, messages: Tensor, every: int) -> tuple[Tensor, Tensor]:
    """The messages behind site `head`, and p divided by what they were scaled by. Gives log scales (B,), and M_l."""
    here = blocks.side_by_side(p)
    products = transfers(blocks, arc, here, every)
    begun = [messages[blocks.head].unsqueeze(1)]
    for product in products[:-1]:
        end = torch.bmm(begun[-1], product)
        begun.append(end.div_(end.sum(-1, keepdim=True)))
    found = torch.empty_like(here)
    before, scales = torch.stack(begun).flatten(0, 1).squeeze(1), []
    for t, (after, likelihood) in enumerate(zip(found.unbind(0), here.unbind(0), strict=True)):
        torch.mm(before, arc, out=after)
        after.mul_(likelihood)
        if (len(here) - 1 - t) % every == 0:
            c = after.sum(-1, keepdim=True)
            after.div_(c)
            likelihood.div_(c)
            scales.append(c)
        before = after
    blocks.in_order(found, messages)
    blocks.in_order(here, p)
    logs = torch.stack(scales).log().double().sum((0, 2))
    return logs.view(blocks.count, -1).sum(0), products


def backward_in_blocks(
    blocks: Blocks, arc: Tensor, products: Tensor, messages: Tensor, w: Tensor, betas: Tensor
) -> None:
    """beta at site `head` and behind it, and w beta in the place of w, from the incoming gradient at the last site."""
    grad, end = betas[-1].clone(), torch.ones_like(betas[-1])
    ends = [end]
    for index in range(blocks.count - 1, -1, -1):
        end = torch.bmm(products[index], end.unsqueeze(-1)).squeeze(-1)
        site = messages[blocks.head + index * blocks.size]
        end = end / (site * end).sum(-1, keepdim=True)  # at every site sum alpha beta is one, times the gradient
        ends.append(end)
    here = blocks.side_by_side(w)
    found = torch.empty_like(here)
    after, turned = torch.stack(ends[-2::-1]).mul_(grad).flatten(0, 1), arc.t()
    for row, beta in zip(reversed(here.unbind(0)), reversed(found.unbind(0)), strict=True):
        beta.copy_(after)
        row.mul_(beta)
        after = torch.mm(row, turned)
    blocks.in_order(found, betas)
    blocks.in_order(here, w)
    torch.mul(ends[-1], grad, out=betas[blocks.head])
