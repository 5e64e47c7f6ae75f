"""All dependency trees, crossing arcs included: the matrix-tree theorem, without a subtraction.

    Z = sum_trees prod_arcs w(head, modifier) = det L,   L[m, m] = sum_h w(h, m),   L[h, m] = -w(h, m)

(Koo et al. 2007). Where arcs are sharp, a determinant is a small difference of large numbers. Words are therefore
eliminated one by one, as by Grassmann, Taksar & Heyman (1985): with D = sum_h w(h, m) over the heads h that are left,
Z = D times Z of the words that are left, where w(h, k) becomes w(h, k) + w(h, m) w(m, k) / D. Every number is a sum of
products of positive ones, and is kept as its log. The determinant itself is taken where it is far from zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad

from lvspec.runtime.core.semiring import LOG, gumbel, log_sum_exp, may_look, widest
from lvspec.runtime.core.structured import Parts, Structured
from lvspec.runtime.core.undefined import Undefined
from lvspec.runtime.trees.arborescence import best_heads
from lvspec.runtime.trees.dependencies import readable
from lvspec.runtime.trees.determinant import determinant_sum
from lvspec.runtime.trees.spans import within

NO_MAXIMUM = (
    "a determinant has cancelling terms; the k best trees need an algorithm of their own (Camerini et al. 1980)"
)
OUT_OF_SIGHT = 40.0  # nats: what is smaller by as much is lost in a float64's rounding


def non_projective(arcs: Tensor, lengths: Tensor, single_root: bool = True) -> Arborescences:
    """p(tree) of all trees over the words 1 .. length, proportional to exp(sum of its arcs' potentials).

    arcs: (B, T + 1, T + 1) or (1, ...), [head, modifier]; head 0 is the root, and arcs into it are not read.
    lengths: (B). single_root: the root has one modifier, else any number. No words: one tree, without arcs.
    """
    program = partial(elimination, lengths=lengths, single_root=single_root)
    undefined = {"k_best": NO_MAXIMUM}

    def fast(potentials: Parts) -> Tensor:
        """By a determinant, where it is certain to be right."""
        arcs = potentials["arcs"]
        if may_look(arcs):
            found = determinant_sum(arcs, readable(arcs.shape[-1], lengths), lengths, single_root)
            if found is not None:
                return found
        return program(LOG, {"arcs": widest(arcs)})

    return Arborescences(program, {"arcs": arcs}, lengths.shape[0], fast, undefined, single_root, lengths=lengths)


@dataclass(frozen=True)
class Arborescences(Structured):
    """The best tree is found by Chu-Liu and Edmonds' algorithm, and trees are drawn word by word (Colbourn 1996)."""

    lengths: Tensor = field(kw_only=True)
    single_root: bool = True

    @property
    def mode(self) -> Parts:
        """The best tree, found on the host; no arcs where there is none."""
        arcs, lengths = self.potentials["arcs"], self.lengths
        scores = pad(allowed(arcs.detach().double(), lengths, self.single_root)[0], (1, 0))
        found = torch.zeros(self.rows, *arcs.shape[1:], dtype=arcs.dtype)
        for tree, row, length in zip(found, scores.tolist(), lengths.tolist(), strict=True):
            heads = best_heads([line[: length + 1] for line in row[: length + 1]])
            if heads and not (self.single_root and heads.count(0) > 1):
                tree[heads, range(1, length + 1)] = 1.0
        return {"arcs": found.to(arcs.device)}

    def sample(self, n: int) -> Parts:
        """n exact draws (n, B, ...): each word's head from its marginals, given the heads of the words before it."""
        given = self.potentials["arcs"].detach()
        M = given.shape[-1]
        arcs = given.expand(n, self.rows, M, M).flatten(0, 1)
        lengths = self.lengths.repeat(n)
        found = torch.zeros_like(arcs)
        for word in range(1, M):
            program: Callable = self.program
            rest = Structured(partial(program, lengths=lengths), {"arcs": arcs}, len(arcs))
            with torch.no_grad():
                chances = rest.marginals["arcs"][:, :, word].clamp(min=0.0)  # rounding may go below
            head = (chances.log() + gumbel(chances.shape, chances)).argmax(-1, keepdim=True)
            found[:, :, word].scatter_(1, head, (chances.amax(-1, keepdim=True) > 0).to(arcs.dtype))
            others = torch.ones_like(chances, dtype=torch.bool).scatter_(1, head, False)
            arcs = torch.where(pad(others.unsqueeze(-1), (word, M - 1 - word)), -torch.inf, arcs)
        return {"arcs": found.unflatten(0, (n, self.rows))}

    def under(self, semiring) -> Tensor:
        """log Z, or another sum, whose gradient is the answer: what no elimination gives is put in its place."""
        arcs = self.potentials["arcs"]
        total = self.log_partition
        if semiring.name == "sample":
            return Redrawn.apply(arcs, total, self)
        if semiring.name == "max":
            return self.score(self.mode).masked_fill(total.detach() == -torch.inf, -torch.inf)
        if semiring.name == "tempered":
            return self.tempered(semiring.beta)
        if semiring.name == "count":
            return replace(self, potentials={"arcs": arcs.masked_fill(arcs > -torch.inf, 0.0)}).log_partition
        if semiring.name in ("log", "filter"):
            return total
        raise Undefined(NO_MAXIMUM)


class Redrawn(torch.autograd.Function):
    """log Z, whose backward pass sends the gradient to the arcs of a tree ~ p, a new one each time."""

    @staticmethod
    def forward(ctx, arcs: Tensor, total: Tensor, trees: Arborescences) -> Tensor:
        ctx.trees = trees
        return total.detach().clone()

    @staticmethod
    def backward(ctx, grad: Tensor):
        return ctx.trees.sample(1)["arcs"][0] * grad.view(-1, 1, 1), None, None


def elimination(semiring, potentials: Parts, lengths: Tensor, single_root: bool) -> Tensor:
    """log Z (B): the words are eliminated from the last to the first."""
    if semiring is not LOG:
        raise Undefined(NO_MAXIMUM)
    arcs, cost, least = allowed(potentials["arcs"], lengths, single_root)
    value = cost
    for word in range(arcs.shape[-1], 0, -1):
        heads = arcs[:, :word, word - 1]
        total = log_sum_exp(heads, 1)
        value = value + total
        shares = heads - total.masked_fill(total == -torch.inf, 0.0).unsqueeze(1)
        through = shares.unsqueeze(2) + arcs[:, word, : word - 1].unsqueeze(1)
        arcs = log_sum_exp(torch.stack([arcs[:, :word, : word - 1], through], -1), -1)
        arcs = arcs.masked_fill(itself(word, arcs.device), -torch.inf)
    value = value.masked_fill(value.detach() < least, -torch.inf)
    return log_sum_exp(value.unsqueeze(-1), -1)  # of one: a value of -inf has no gradient


def itself(words: int, device: torch.device) -> Tensor:
    """Where head and modifier are the same: (words, words - 1) over the heads 0 .. and the modifiers 1 .."""
    return torch.eye(words, dtype=torch.bool, device=device)[:, 1:]


def allowed(arcs: Tensor, lengths: Tensor, single_root: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Arcs (B, T + 1, T) [head, modifier - 1], -inf where none may be, and of a word beyond a length 0 from the root.

    single_root: a word at the root costs so much that the trees with one outweigh all others, if there is one: Z is
    then that sum times exp(-cost), exactly in the numbers' precision. Cost (B), and what log Z is at least (B).
    """
    M = arcs.shape[-1]
    arcs = arcs.masked_fill(~readable(M, lengths), -torch.inf)[:, :, 1:]
    cost, least = arcs.new_zeros(len(lengths)), arcs.new_full((len(lengths),), -torch.inf)
    if single_root:
        scores = arcs.detach()
        none = scores == -torch.inf
        high = scores.amax(1).masked_fill(none.all(1), 0.0).sum(1)
        low = scores.masked_fill(none, torch.inf).amin(1).masked_fill(none.all(1), 0.0).sum(1)
        cost = torch.where(lengths > 0, high - low + lengths * (lengths + 1).log() + OUT_OF_SIGHT, 0.0)
        least = low - 1.0
    words = within(lengths, M - 1).unsqueeze(1)
    from_root = torch.where(words, arcs[:, :1] - cost.view(-1, 1, 1), 0.0)
    return torch.cat([from_root, arcs[:, 1:]], 1), cost, least
