"""A semi-Markov sum and its gradient in scaled probability space: what ends at t is one product away from what may begin.

    F_0 = start,  F_t = G_t P,          G_{t+l+1} += F_t S[t, l]                 log Z = log sum_k G_T(k) + the scales
    dG_t = P dF_t,  dF_t = sum_l S[t, l] dG_{t+l+1},         d log Z / d segment[t, l, k] = F_t(k) S[t, l, k] dG_{t+l+1}(k)

Sites have levels: the best score of any segmentation up to there, were all transitions the best one. Segments are taken
relative to the rise of the level along them, so that no S exceeds 1 and long segments compare with short ones; levels
are whole numbers, which makes their differences exact. What grows or shrinks beside the levels is divided out now and
then. Where every F and G is far above what underflow may have taken from it, all of them are right entry by entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite, log

import torch
from torch import Tensor

LEAST = {torch.float32: 1e-28, torch.float64: 1e-290}  # of the largest entry: less may owe a part to underflow
GROWTH_NATS = 41.0  # sums are scaled before they can have grown by e^41


@dataclass
class SegmentScan:
    """A forward pass that lost nothing. ends: G (T + L, B, K); begins: F (T, B, K); segments: S (T, L, B, K);
    transition: P (B or 1, K, K); totals: sum_k G at each length, (B). scales: site -> what was divided out there, (B, 1).
    zeros: some states cannot be reached, so what comes back from them must not be read."""

    value: Tensor
    ends: Tensor
    begins: Tensor
    segments: Tensor
    transition: Tensor
    totals: Tensor
    scales: dict[int, Tensor]
    zeros: bool


def windows_after(x: Tensor, first: int, count: int, size: int) -> Tensor:
    """(count, size, ...): x[first + t : first + t + size] for t = 0 .. count - 1, a view."""
    return x[first : first + count + size - 1].unfold(0, size, 1).movedim(-1, 1)


def at_lengths(x: Tensor, lengths: Tensor) -> Tensor:
    """x (T + 1 or more, B) at each example's length: (B)."""
    return x.gather(0, lengths.unsqueeze(0)).squeeze(0)


# ------------------------------------------------------------ forward
def scaled_segments(
    segment: Tensor, start: Tensor, transition: Tensor, lengths: Tensor, dtype: torch.dtype
) -> SegmentScan | None:
    """The forward pass in `dtype`, or None where it may have lost mass. segment: (T, L, B, K); lengths: (B)."""
    T, L, B, K = segment.shape
    best = transition.amax((1, 2))
    best = best.masked_fill(best == -torch.inf, 0.0).round_()  # each segment pays it, and the first one gets it back
    P = (transition - best.view(-1, 1, 1)).to(dtype).exp_()
    S, level = relative(segment, best, lengths, dtype)
    top = start.amax(-1)
    F = S.new_empty(T, B, K)
    F[0] = (start - top.unsqueeze(-1)).exp()
    G = S.new_zeros(T + L, B, K)
    scales = push_segments(G, F, S, P)
    totals = at_lengths(G.sum(-1), lengths)
    removed = divided_out(scales, level[: T + 1])
    value = totals.double().log() + at_lengths(level[: T + 1] + removed, lengths) + (top - best)
    value = torch.where(lengths > 0, value, 0.0)
    if not isfinite(float(value.sum())):
        return None
    scan = SegmentScan(value, G, F, S, P, totals, scales, False)
    bar = LEAST[dtype] * magnitude(scan) * shrinkage(removed, L)
    if not stands_above(bar, G[1 : T + 1], F, lengths):
        ends, begins = reachable_sites(segment, start, transition, lengths)
        if not stands_above(
            bar, G[1 : T + 1].masked_fill(~ends, torch.inf), F.masked_fill(~begins, torch.inf), lengths
        ):
            return None
        scan.zeros = True
    return scan


def relative(segment: Tensor, pay: Tensor, lengths: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """S = exp(segment + pay - the rise of the level) (T, L, B, K), and the levels (T + L, B) in float64."""
    T, L = segment.shape[:2]
    ends = torch.arange(1, T + 1).unsqueeze(1) + torch.arange(L)
    outside = ends.unsqueeze(-1) > lengths
    found = levels((segment.amax(-1).double() + pay).masked_fill_(outside, -torch.inf))
    to = windows_after(found, 1, T, L)
    rise = to.masked_fill(to == -torch.inf, 0.0) - found[:T].unsqueeze(1)  # inf where nothing can begin: S is 0
    rise = (rise - pay).masked_fill_(outside, torch.inf).to(dtype)
    return torch.sub(segment, rise.unsqueeze(-1)).exp_(), found


def levels(best: Tensor) -> Tensor:
    """(T + L, B): the best sum of best (T, L, B) over segmentations of the sites before t, in whole numbers."""
    T, L, B = best.shape
    found = best.new_full((T + L, B), -torch.inf)
    found[0] = 0.0
    reached = torch.empty_like(best[0])
    for here, after, scores in zip(
        found[:T].unbind(0), windows_after(found, 1, T, L).unbind(0), best.unbind(0), strict=True
    ):
        torch.add(scores, here, out=reached)
        torch.maximum(after, reached, out=after)
    return found.round_()


def push_segments(G: Tensor, F: Tensor, S: Tensor, P: Tensor) -> dict[int, Tensor]:
    """The loop over sites: F_t from G_t, and on to all sites that a segment from t reaches. Fills G and F."""
    T, L, B, K = S.shape
    every = max(1, min(8, int(GROWTH_NATS / log(5 * L * K))))  # one site multiplies by at most e^1.5 L K
    pending, after = windows_after(G, 0, T, L).unbind(0), windows_after(G, 1, T, L).unbind(0)
    ends, begins, segments = transposable(G[:T], P), transposable(F, P), S.unbind(0)
    factor, product = (P[0], torch.mm) if P.shape[0] == 1 else (P, torch.bmm)
    flat, scales = F.unbind(0), {}
    for t in range(T):
        if t and t % every == 0:
            largest = pending[t].amax((0, 2)).unsqueeze(-1)
            scales[t] = largest.masked_fill_(largest == 0, 1.0)
            pending[t].div_(scales[t])
        if t:
            product(ends[t], factor, out=begins[t])
        after[t].addcmul_(flat[t], segments[t])
    return scales


def transposable(x: Tensor, P: Tensor) -> tuple[Tensor, ...]:
    """x (T, B, K) site by site as the left side of a product with P: (B, K), or (B, 1, K) where P differs by example."""
    return x.unbind(0) if P.shape[0] == 1 else x.unsqueeze(2).unbind(0)


# ------------------------------------------------------------ what was lost
def divided_out(scales: dict[int, Tensor], like: Tensor) -> Tensor:
    """(T + 1, B) float64: the log of what was divided out up to each site."""
    found = torch.zeros_like(like)
    for t, scale in scales.items():
        found[t] = scale.squeeze(-1).log()
    return found.cumsum_(0)


def magnitude(scan: SegmentScan) -> float:
    """The largest number that the pass met, and at least 1."""
    met = [scan.ends, scan.begins, *scan.scales.values()]
    return max(1.0, *(float(x.amax()) for x in met if x.numel()))


def shrinkage(removed: Tensor, size: int) -> float:
    """By how much sums may have been scaled up after something was pushed into them."""
    if not bool((removed[1:] < removed[:-1]).any()):
        return 1.0
    before = torch.cat([removed[:1].expand(size, -1), removed[:-1]])  # site 0 stands for what lies before it
    return exp(min(600.0, float((before.unfold(0, size, 1).amax(-1)[: len(removed)] - removed).amax().clamp(min=0.0))))


def stands_above(bar: float, ends: Tensor, begins: Tensor, lengths: Tensor) -> bool:
    """Whether every entry is at least `bar`, those of sites beyond a length aside. Site t's ends are those of t + 1."""
    T = len(begins)
    if bool((lengths < T).any()):
        past = (torch.arange(T).unsqueeze(1) >= lengths).unsqueeze(-1)
        ends, begins = ends.masked_fill(past, torch.inf), begins.masked_fill(past, torch.inf)
    return ends.numel() == 0 or min(float(ends.amin()), float(begins.amin())) >= bar


def reachable_sites(segment: Tensor, start: Tensor, transition: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Which entries of G_1 .. G_T and of F_0 .. F_{T-1} are not exactly zero: (T, B, K) bool each."""
    T, L, B, K = segment.shape
    ends = segment.new_zeros(T + L, B, K, dtype=torch.float32)
    begins = ends.new_zeros(T, B, K)
    begins[0] = start > -torch.inf
    outside = (torch.arange(1, T + 1).unsqueeze(1) + torch.arange(L)).unsqueeze(-1) > lengths
    ways = ((segment > -torch.inf) & ~outside.unsqueeze(-1)).float()
    arcs = (transition > -torch.inf).float()
    for t, after in enumerate(windows_after(ends, 1, T, L).unbind(0)):
        if t:
            begins[t] = torch.matmul(ends[t].unsqueeze(1), arcs).squeeze(1) > 0
        torch.maximum(after, begins[t] * ways[t], out=after)
    return ends[1 : T + 1] > 0, begins > 0


# ------------------------------------------------------------ backward
def scaled_segments_gradient(scan: SegmentScan, lengths: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """d log Z / d (segment (T, L, B, K), start (B, K), transition (B or 1, K, K))."""
    G, F, S, P = scan.ends, scan.begins, scan.segments, scan.transition
    T, L, B, K = S.shape
    dG, dF, dS = torch.zeros_like(G), torch.empty_like(F), torch.empty_like(S)
    seed = torch.where(
        lengths > 0, grad.to(G.dtype) / scan.totals, 0.0
    )  # the pass is linear: the gradient goes with it
    dG.scatter_(0, lengths.view(1, B, 1).expand(1, B, K), seed.view(1, B, 1).expand(1, B, K))
    pull_segments(scan, dG, dF, dS)
    d_start = F[0] * dF[0]
    if P.shape[0] == 1:
        d_transition = torch.mm(G[1:T].flatten(0, 1).t(), dF[1:].flatten(0, 1)).unsqueeze(0)
    else:
        d_transition = torch.bmm(G[1:T].permute(1, 2, 0), dF[1:].transpose(0, 1))
    return dS.mul_(F.unsqueeze(1)), d_start, d_transition.mul_(P)


def pull_segments(scan: SegmentScan, dG: Tensor, dF: Tensor, dS: Tensor) -> None:
    """The loop back over sites. Fills dF, and dS with S dG; leaves in dG what it was scaled to on the way."""
    G, S, P = scan.ends, scan.segments, scan.transition
    T, L, B, K = S.shape
    pending, after = windows_after(dG, 0, T, L).unbind(0), windows_after(dG, 1, T, L).unbind(0)
    found, begins, segments, steps = dG.unbind(0), dF.unbind(0), S.unbind(0), dS.unbind(0)
    left, right = transposable(dF, P), transposable(dG, P)
    back = P[0].t() if P.shape[0] == 1 else P.transpose(1, 2)
    for t in range(T - 1, -1, -1):
        torch.mul(segments[t], after[t], out=steps[t])
        torch.sum(steps[t], 0, out=begins[t])
        if not t:
            break
        right[t].addmm_(left[t], back) if P.shape[0] == 1 else right[t].baddbmm_(left[t], back)
        if scan.zeros:
            found[t].masked_fill_(G[t] == 0, 0.0)
        if t in scan.scales:
            pending[t].div_(scan.scales[t])
