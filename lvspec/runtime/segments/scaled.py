"""A semi-Markov sum and its gradient in scaled probability space: what ends at t is one product away from what may begin.

    F_0 = start,  F_t = G_t P,          G_{t+l+1} += F_t S[t, l]                 log Z = log sum_k G_T(k) + the scales
    dG_t = P dF_t,  dF_t = sum_l S[t, l] dG_{t+l+1},         d log Z / d segment[t, l, k] = F_t(k) S[t, l, k] dG_{t+l+1}(k)

Sites have levels, which are near the log of G there: segments are taken relative to the rise of the level along them, so
that long segments compare with short ones. Where they come from a maximum or a mean they are whole numbers, which makes
differences exact. What is left is rescaled every few
sites, as the scaled forward algorithm does (Rabiner 1989). Where every F and G is far above the underflow threshold, each entry
has full relative accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, isfinite, log

import torch
from torch import Tensor

LEAST = {torch.float32: 1e-28, torch.float64: 1e-290}  # of the largest entry: less may owe a part to underflow
EVERY = 12  # sites: levels are near enough to the sums that few divisions are needed; an overflow would be seen


@dataclass
class SegmentScan:
    """A forward pass that lost nothing. ends: G (T + L, B, K); begins: F (T, B, K); segments: S (T, L, B, K);
    transition: P (B or 1, K, K); totals: sum_k G at each length, (B). scales: site -> what was divided out there, (B, 1).
    gain: by how much losses may have been scaled up. zeros: some states cannot be reached, so what comes back from
    them must not be read."""

    value: Tensor
    ends: Tensor
    begins: Tensor
    segments: Tensor
    transition: Tensor
    totals: Tensor
    scales: dict[int, Tensor]
    gain: float
    zeros: bool


def windows_after(x: Tensor, first: int, count: int, size: int) -> Tensor:
    """(count, size, ...): x[first + t : first + t + size] for t = 0 .. count - 1, a view."""
    return x[first : first + count + size - 1].unfold(0, size, 1).movedim(-1, 1)


# ------------------------------------------------------------ forward
def scaled_segments(
    segment: Tensor, start: Tensor, transition: Tensor, lengths: Tensor, dtype: torch.dtype
) -> SegmentScan | None:
    """The forward pass in `dtype`, or None where it may have lost mass. segment: (T, L, B, K); lengths: (B)."""
    pay = payments(transition)
    S, level = relative_segments(segment, pay, lengths, dtype)
    scan = segment_scan(S, level, start, transition, pay, lengths)
    return certain_scan_of(scan, lambda: segment > -torch.inf, start, transition, lengths)


def scaled_tokens(
    token: Tensor, length: Tensor, start: Tensor, transition: Tensor, lengths: Tensor, dtype: torch.dtype
) -> SegmentScan | None:
    """The same where segment[t, l] = sum_{i=0..l} token[t + i] + length[l]. token: (T, B, K); length: (L, B or 1, K)."""
    pay = payments(transition)
    S, level, gain = relative_tokens(token, length, transition, pay, lengths, dtype)
    scan = segment_scan(S, level, start, transition, pay, lengths, gain)
    return certain_scan_of(scan, lambda: ways_along(token, length), start, transition, lengths)


def payments(transition: Tensor) -> Tensor:
    """The best transition, (B or 1) in whole numbers: every segment pays for one, and the first one gets it back."""
    best = transition.amax((1, 2))
    return best.masked_fill(best == -torch.inf, 0.0).round_().double()


def relative_segments(segment: Tensor, pay: Tensor, lengths: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """S = exp(segment + pay - the rise of the level) (T, L, B, K), and the levels (T + 1, B) in float64."""
    T, L = segment.shape[:2]
    late = past_the_end(T, L, lengths)
    found = levels((largest(segment) + pay).masked_fill_(late, -torch.inf))
    to, since = windows_after(found, 1, T, L), found[:T]
    if bool((found[: T + 1] == -torch.inf).any()):  # nothing begins there: S is 0, whatever the segment's score
        to = to.masked_fill(to == -torch.inf, 0.0)
    rise = (to - (since + pay).unsqueeze(1)).masked_fill_(late, torch.inf)
    return torch.sub(segment, rise.to(dtype).unsqueeze(-1)).exp_(), found[: T + 1]


def relative_tokens(
    token: Tensor, length: Tensor, transition: Tensor, pay: Tensor, lengths: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, float]:
    """S as products of a factor for each token, no table of log scores being made; the levels; and by how much a product
    that underflowed may have been multiplied afterwards.

    A site raises the level by what its token adds to a state that is drawn anew or, where that is more, to the state
    that the token before it suggests; and by the rate at which segmentations grow without tokens.
    """
    T, L = token.shape[0], length.shape[0]
    past = torch.arange(T).unsqueeze(1) >= lengths
    top = token.amax(-1).masked_fill_(past, 0.0)
    padded = token.new_ones(T + L - 1, *token.shape[1:], dtype=dtype)
    factors = torch.sub(token.to(dtype), top.unsqueeze(-1), out=padded[:T]).exp_()
    factors.masked_fill_(past.unsqueeze(-1), 1.0)
    added = factors.sum(-1)
    kept = (factors[1:] * factors[:-1]).sum(-1).div_(added[:-1])
    added.div_(factors.shape[-1])
    torch.maximum(added[1:], kept, out=added[1:])
    raised = (top.double() + added.log()).round_().masked_fill_(past, 0.0)
    factors.mul_((top - raised).exp_().to(dtype).unsqueeze(-1))
    sizes = torch.arange(1, L + 1, dtype=torch.float64).unsqueeze(1)
    rate = growth(length, transition, sizes)
    extents = (length + (pay - rate * sizes).unsqueeze(-1)).exp_().to(dtype)
    level = torch.cat([raised.new_zeros(1, raised.shape[1]), raised + rate]).cumsum_(0)
    S = products_along(padded, L)
    gain = max(1.0, float(extents.amax())) * regained(S, token, top - raised)
    S.mul_(extents.expand(S.shape[1:]).contiguous())  # one long row a site
    near = max(0, int(lengths.min()) - L + 1)
    S[near:].masked_fill_(past_the_end(T, L, lengths)[near:].unsqueeze(-1), 0.0)
    return S, level, gain


def regained(S: Tensor, token: Tensor, highest: Tensor) -> float:
    """By how much a product that underflowed on the way may have grown again; highest (T, B): the logs of a site's
    largest factor. Every product on the way is an entry of S."""
    T, L = S.shape[:2]
    least = torch.finfo(S.dtype).tiny
    if float(S.amin()) >= least or not bool(((S < least) & ways_along(token, token.new_zeros(L, 1, 1))).any()):
        return 1.0
    rises = torch.nn.functional.pad(highest.clamp(min=0.0).cumsum(0), (0, 0, 1, L))
    rises[T + 1 :] = rises[T]
    return exp(min(600.0, float((rises[L:] - rises[:-L]).amax())))


def growth(length: Tensor, transition: Tensor, sizes: Tensor) -> Tensor:
    """r (B or 1) with sum_l a_l exp(-r (l + 1)) = 1, a_l the mean weight of a segment of l + 1 sites with the transition
    into it: a renewal equation, by a step of Newton's method from below. Any r would do; this keeps sums near 1."""
    arcs = transition.double().flatten(1).logsumexp(1) - log(transition.shape[-1])
    weights = length.double().logsumexp(-1) - log(length.shape[-1]) + arcs
    rate = (weights / sizes).amax(0)
    terms = (weights - rate * sizes).exp_()
    total = terms.sum(0)
    return rate + total.log() * total / (terms * sizes).sum(0)


def products_along(padded: Tensor, size: int) -> Tensor:
    """(T, L, B, K): prod_{i=0..l} padded[t + i]. padded: (T + L - 1, B, K)."""
    T = padded.shape[0] - size + 1
    found = padded.new_empty(T, size, *padded.shape[1:])
    found[:, 0] = padded[:T]
    for i in range(1, size):
        torch.mul(found[:, i - 1], padded[i : i + T], out=found[:, i])
    return found


def ways_along(token: Tensor, length: Tensor) -> Tensor:
    """(T, L, B, K): whether the tokens and the length allow a segment; past the end they do."""
    L = length.shape[0]
    allowed = torch.cat([(token > -torch.inf).float(), token.new_ones(L - 1, *token.shape[1:], dtype=torch.float32)])
    return (products_along(allowed, L) > 0) & (length > -torch.inf)


def past_the_end(T: int, L: int, lengths: Tensor) -> Tensor:
    """(T, L, B): whether a segment of l + 1 sites from t on ends after the length."""
    ends = torch.arange(1, T + 1).unsqueeze(1) + torch.arange(L)
    return ends.unsqueeze(-1) > lengths


def segment_scan(
    S: Tensor, level: Tensor, start: Tensor, transition: Tensor, pay: Tensor, lengths: Tensor, gain: float = 1.0
) -> SegmentScan | None:
    """The forward pass over S, or None where its value is not finite. gain: what losses in S were multiplied by."""
    T, L, B, K = S.shape
    P = (transition - pay.view(-1, 1, 1)).to(S.dtype).exp_()
    top = start.amax(-1)
    F = S.new_empty(T, B, K)
    F[0] = (start - top.unsqueeze(-1)).exp()
    G = S.new_zeros(T + L, B, K)
    scales = push_segments(G, F, S, P)
    rows = torch.arange(B)
    totals = G[lengths, rows].sum(-1)
    removed = divided_out(scales, level)
    value = totals.double().log() + level[lengths, rows] + removed[lengths, rows] + (top - pay)
    value = value.masked_fill_(lengths == 0, 0.0)
    if not isfinite(float(value.sum())):
        return None
    return SegmentScan(value, G, F, S, P, totals, scales, gain * scaled_up(removed, L), False)


def largest(x: Tensor) -> Tensor:
    """max over the last axis, by halves: much quicker than a reduction of many short rows."""
    while x.shape[-1] > 1:
        half = (x.shape[-1] + 1) // 2
        x = torch.maximum(x[..., :half], x[..., -half:])
    return x.squeeze(-1)


def levels(best: Tensor) -> Tensor:
    """(T + L, B): the best sum of best (T, L, B) over segmentations of the sites before t, in whole numbers."""
    T, L, B = best.shape
    found = best.new_full((T + L, B), -torch.inf)
    found[0] = 0.0
    reached = torch.empty_like(best[0])
    sites = zip(found.unbind(0), windows_after(found, 1, T, L).unbind(0), best.unbind(0), strict=False)
    for here, after, scores in sites:
        torch.add(scores, here, out=reached)
        torch.maximum(after, reached, out=after)
    return found.round_()


def push_segments(G: Tensor, F: Tensor, S: Tensor, P: Tensor) -> dict[int, Tensor]:
    """The loop over sites: F_t from G_t, and on to all sites that a segment from t reaches. Fills G and F."""
    T, L, B, K = S.shape
    begins, segments, after = F.unbind(0), S.unbind(0), windows_after(G, 1, T, L).unbind(0)
    left, result, product, factor = factors_by_site(G[:T], F, begins, P)
    scales = {}
    after[0].addcmul_(begins[0], segments[0])
    for t in range(1, T):
        if t % EVERY == 0:
            pending = G[t : t + L]
            scale = pending.amax((0, 2)).unsqueeze(-1)
            scales[t] = scale.masked_fill_(scale == 0, 1.0)
            pending.div_(scale)
        product(left[t], factor, out=result[t])
        after[t].addcmul_(begins[t], segments[t])
    return scales


def factors_by_site(x: Tensor, y: Tensor, rows: tuple[Tensor, ...], P: Tensor) -> tuple:
    """How y_t = x_t P is written: the x_t, the y_t, the operation, and P; one P for all, or one for each example."""
    if P.shape[0] == 1:
        return x.unbind(0), rows, torch.mm, P[0]
    return x.unsqueeze(2).unbind(0), y.unsqueeze(2).unbind(0), torch.bmm, P


# ------------------------------------------------------------ what was lost
def divided_out(scales: dict[int, Tensor], level: Tensor) -> Tensor:
    """(T + 1, B) float64: the log of what was divided out up to each site."""
    found = torch.zeros_like(level)
    if scales:
        found[list(scales)] = torch.stack(list(scales.values())).squeeze(-1).double().log_()
    return found.cumsum_(0)


def magnitude(scan: SegmentScan) -> float:
    """The largest number that the pass met, and at least 1."""
    return max(1.0, *(float(x.amax()) for x in (scan.ends, scan.begins, *scan.scales.values())))


def scaled_up(removed: Tensor, size: int) -> float:
    """By how much sums may have been scaled up after something was pushed into them, L sites ago at most."""
    if not bool((removed[1:] < removed[:-1]).any()):
        return 1.0
    before = torch.cat([removed[:1].expand(size, -1), removed])
    return exp(min(600.0, float((before.unfold(0, size + 1, 1).amax(-1) - removed).amax())))


def certain_scan_of(
    scan: SegmentScan | None, ways: Callable[[], Tensor], start: Tensor, transition: Tensor, lengths: Tensor
) -> SegmentScan | None:
    """The scan if nothing that matters was lost. ways: which segments may be, (T, L, B, K), asked for if there are zeros
    that may either be right or lost."""
    if scan is None or stands_above(scan, scan.ends, scan.begins, lengths):
        return scan
    ends, begins = (x.masked_fill(x == 0, torch.inf) for x in (scan.ends, scan.begins))
    if not stands_above(scan, ends, begins, lengths):
        return None
    can_end, can_begin = reachable_sites(ways(), start, transition, lengths)
    lost = bool((can_end & (scan.ends == 0)).any()) or bool((can_begin & (scan.begins == 0)).any())
    return None if lost else replace(scan, zeros=True)


def stands_above(scan: SegmentScan, ends: Tensor, begins: Tensor, lengths: Tensor) -> bool:
    """Whether every entry of G_1 .. and F_0 .. is above what may have been lost, those at sites beyond a length aside."""
    T = len(begins)
    ends = ends[1 : T + 1]
    if bool((lengths < T).any()):
        past = (torch.arange(T).unsqueeze(1) >= lengths).unsqueeze(-1)
        ends, begins = ends.masked_fill(past, torch.inf), begins.masked_fill(past, torch.inf)
    bar = LEAST[begins.dtype] * magnitude(scan) * scan.gain
    return ends.numel() == 0 or min(float(ends.amin()), float(begins.amin())) >= bar


def reachable_sites(ways: Tensor, start: Tensor, transition: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Which entries of G (T + L, B, K) and of F (T, B, K) are not exactly zero."""
    T, L, B, K = ways.shape
    ends = start.new_zeros(T + L, B, K, dtype=torch.float32)
    begins = ends.new_zeros(T, B, K)
    begins[0] = start > -torch.inf
    ways = (ways & ~past_the_end(T, L, lengths).unsqueeze(-1)).float()
    arcs = (transition > -torch.inf).float()
    for t, after in enumerate(windows_after(ends, 1, T, L).unbind(0)):
        if t:
            begins[t] = torch.matmul(ends[t].unsqueeze(1), arcs).squeeze(1) > 0
        torch.maximum(after, begins[t] * ways[t], out=after)
    return ends > 0, begins > 0


# ------------------------------------------------------------ backward
def scaled_segments_gradient(scan: SegmentScan, lengths: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """d log Z / d (segment (T, L, B, K), start (B, K), transition (B or 1, K, K))."""
    G, F, S, P = scan.ends, scan.begins, scan.segments, scan.transition
    T, L, B, K = S.shape
    dG, dF, dS = torch.zeros_like(G), torch.empty_like(F), torch.empty_like(S)
    # the pass is linear: the gradient goes with it
    seed = torch.where(lengths > 0, grad.to(G.dtype) / scan.totals, 0.0)
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
    T, L, B, K = dS.shape
    back = scan.transition.transpose(1, 2).contiguous()
    for_all = back[0] if len(back) == 1 else None
    begins, segments, steps = dF.unbind(0), scan.segments.unbind(0), dS.unbind(0)
    after, ends = windows_after(dG, 1, T, L).unbind(0), dG[:T].unbind(0)
    for t in range(T - 1, -1, -1):
        torch.mul(segments[t], after[t], out=steps[t])
        torch.sum(steps[t], 0, out=begins[t])
        if not t:
            break
        if for_all is not None:
            ends[t].addmm_(begins[t], for_all)
        else:
            ends[t].unsqueeze(1).baddbmm_(begins[t].unsqueeze(1), back)
        if scan.zeros:
            ends[t].masked_fill_(scan.ends[t] == 0, 0.0)
        if t in scan.scales:
            dG[t : t + L].div_(scan.scales[t])
