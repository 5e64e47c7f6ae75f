"""Projective dependency trees: every word has one head, and no two arcs cross.

    linked(h, m) = arc(h, m) sum_k half(h, k) done(m, k + 1)        half(h, e) = sum_m linked(h, m) done(m, e)

half(h, e) is what h has on one side, up to e; done is a half that takes nothing more. Left halves are the right halves
of the sentence read backwards, so both directions are one program (Eisner 1996), all spans of one width at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lvspec.runtime.core.in_probabilities import in_probabilities, peak
from lvspec.runtime.core.semiring import log_sum_exp, widest
from lvspec.runtime.core.structured import Parts, Structured
from lvspec.runtime.trees.spans import by_end, by_start, by_widths, whole_sentences, within


def projective(arcs: Tensor, lengths: Tensor, single_root: bool = True) -> Structured:
    """p(tree) of all projective trees over the words 1 .. length, proportional to exp(sum of its arcs' potentials).

    arcs: (B, T + 1, T + 1) or (1, ...), [head, modifier]; head 0 is the root, and arcs into it are not read.
    lengths: (B). single_root: the root has one modifier, else any number. No words: one tree, without arcs.
    """
    scores = partial(projective_scores, lengths=lengths, single_root=single_root)
    return split_head_trees(scores, {"arcs": arcs}, lengths)


def heads_of(arcs: Tensor) -> Tensor:
    """Trees by their arcs (..., T + 1, T + 1) as each word's head (..., T): 0 for the root, and beyond a length."""
    return arcs[..., 1:].argmax(-2)


def arcs_of(heads: Tensor, lengths: Tensor) -> Tensor:
    """Each word's head (..., B, T) as arcs (..., B, T + 1, T + 1) of ones, in the default precision."""
    T = heads.shape[-1]
    real = within(lengths, T)
    columns = torch.nn.functional.one_hot(torch.where(real, heads, 0), T + 1) * real.unsqueeze(-1)
    return torch.nn.functional.pad(columns.mT, (1, 0)).to(torch.get_default_dtype())


def readable(extent: int, lengths: Tensor) -> Tensor:
    """Which arcs lead from the root or a word to another word: (B, extent, extent)."""
    real = within(lengths + 1, extent)
    other = ~torch.eye(extent, dtype=torch.bool, device=lengths.device)
    other[:, :1] = False
    return real.unsqueeze(2) & real.unsqueeze(1) & other


def split_head_trees(
    scores: Callable[[Parts], tuple[Tensor, Tensor | None]], potentials: Parts, lengths: Tensor
) -> Structured:
    """Trees whose log-potentials give the arcs and stops of `split_heads`."""

    def program(semiring, potentials: Parts) -> Tensor:
        return split_heads(semiring, *scores(potentials), lengths)

    def fast(potentials: Parts) -> Tensor:
        theta = scores({name: widest(p) for name, p in potentials.items()})
        return in_probabilities(partial(split_heads, lengths=lengths), theta, partial(at_most_one, *theta, lengths))

    return Structured(program, potentials, lengths.shape[0], fast)


def at_most_one(arcs: Tensor, stops: Tensor | None, lengths: Tensor) -> tuple[tuple[Tensor, Tensor | None], Tensor]:
    """Arcs less the log-sum over a word's heads, and stops less the larger: no sum over the trees of a span exceeds 1.
    Every word has one head, and stops once on each side."""
    heads = log_sum_exp(arcs.detach(), (1, 3))
    heads = heads.masked_fill((heads == -torch.inf) | ~within(lengths + 1, arcs.shape[2]), 0.0)
    heads[:, 0] = 0.0
    lost, arcs = heads.sum(1), arcs - heads[:, None, :, None]
    if stops is not None:
        sides = peak(stops, -1)
        sides[:, 0] = 0.0
        words = within(lengths + 1, stops.shape[1]).unsqueeze(-1)
        lost, stops = lost + sides.squeeze(-1).masked_fill(~words, 0.0).sum((1, 2)), stops - sides
    return (arcs, stops), lost


def projective_scores(potentials: Parts, lengths: Tensor, single_root: bool) -> tuple[Tensor, None]:
    """Arcs (B, M, M, 1 or 2) that may be read; no stops."""
    arcs = potentials["arcs"]
    M = arcs.shape[-1]
    arcs = arcs.masked_fill(~readable(M, lengths), 0.0).unsqueeze(-1)
    if single_root:  # the root, once it has a modifier, takes no other
        again = torch.zeros(M, 1, 2, dtype=torch.bool, device=arcs.device)
        again[:1, :, 1] = True
        arcs = arcs.expand(-1, -1, -1, 2).masked_fill(again, -torch.inf)
    return arcs, None


def split_heads(semiring, arcs: Tensor, stops: Tensor | None, lengths: Tensor) -> Tensor:
    """The sum over projective trees in which each head generates its two sides apart, from the nearest word outwards.

    arcs: (B, M, M, 1 or 2), [head, modifier, whether the head has a nearer modifier on that side]. stops:
    (B, M, 2, 2), [head, left or right, whether it has modifiers on that side]; None: 0. Place 0 is the root, whose
    stops are not read.
    """
    M, B = arcs.shape[-2], lengths.shape[0]
    both = torch.stack([arcs, arcs.flip(1, 2)], -1)  # to the right, and to the left read backwards
    steps = semiring.lift(abreast(by_widths(both), B)).unbind(-3)  # (..., M, 1 or 2, 2 B) for each width
    if stops is not None:
        stops = semiring.lift(abreast(torch.stack([stops[:, :, 1], stops[:, :, 0].flip(1)], -1), B))

    def ended(half: Tensor, some: int) -> Tensor:
        return half if stops is None else semiring.times(half, stops[..., : half.shape[-2], some, :])

    nothing = semiring.lift(arcs.new_zeros(M, 2 * B))
    halves = nothing.unsqueeze(-2)
    starting = ending = ended(nothing, 0).unsqueeze(-2)
    links = starting[..., :0, :]
    whole = [nothing[..., 0, :B]]
    for w in range(1, M):
        n = M - w
        across = semiring.times(halves[..., :n, :, :], read_backwards(starting[..., :n, :, :], B))
        linked = semiring.sum(semiring.times(across, by_split(steps[w][..., :n, :, :], w)), -2)
        links = by_start(links, linked)
        half = semiring.sum(semiring.times(links, ending[..., 1:, :, :]), -2)
        done = ended(half, 1)
        halves, starting, ending = by_start(halves, half), by_start(starting, done), by_end(ending, done)
        whole.append(half[..., 0, :B])
    return whole_sentences(semiring, whole, lengths)


def abreast(x: Tensor, rows: int) -> Tensor:
    """Both directions of all examples side by side: (B or 1, ..., 2) as (..., 2 B)."""
    return x.expand(rows, *x.shape[1:]).movedim(0, -1).flatten(-2)


def read_backwards(chart: Tensor, rows: int) -> Tensor:
    """A chart (..., n, widths, 2 B) by its other ends: in the sentence read backwards, wide spans first."""
    return chart.unflatten(-1, (2, rows)).flip(-4, -3, -2).flatten(-2)


def by_split(arcs: Tensor, w: int) -> Tensor:
    """Arcs of width w, (..., n, w, 2 B): at the nearest split the head has no modifier yet, at the others it has."""
    if arcs.shape[-2] == 1:
        return arcs
    others = arcs[..., 1:, :]
    return torch.cat([arcs[..., :1, :], others.expand(*others.shape[:-2], w - 1, others.shape[-1])], -2)
