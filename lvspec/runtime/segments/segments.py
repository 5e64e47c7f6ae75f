"""Segmentations of a sequence into segments with a state each: semi-Markov chains.

p(y) proportional to exp(start[k_1] + sum_i segment[t_i, l_i, k_i] + sum_{i>1} transition[k_{i-1}, k_i])

over y = (t_i, l_i, k_i)_i, segments of l_i + 1 <= L sites from t_i on that cover the sites 0 .. length - 1 in order
(Sarawagi & Cohen 2004; explicit-duration hidden Markov models, Ferguson 1980).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import LOG, full_precision, widest
from lvspec.runtime.core.structured import Parts, Structured
from lvspec.runtime.segments.backward import BY_SEGMENT, BY_TOKEN, log_partition_of, segmentations_sum
from lvspec.runtime.segments.windows import token_segments


@dataclass(frozen=True)
class Segmentation(Structured):
    """Parts: segment (B, T, L, K); start (B or 1, K); transition (B or 1, K, K) of counts. lengths: (B) or None."""

    lengths: Tensor | None = None

    def parts_of(self, states: Tensor, begins: Tensor) -> Parts:
        """The parts of segmentations: the state of each site and whether a segment begins there, (..., B, T) both."""
        T, L, K = self.potentials["segment"].shape[1:]
        dtype = self.potentials["segment"].dtype
        real = self.real(states)
        first = begins & real
        sizes = segment_sizes(first, real)
        index = torch.where(first, (sizes - 1) * K + states, 0)
        segment = torch.zeros(*states.shape, L * K, dtype=dtype, device=states.device)
        segment.scatter_(-1, index.unsqueeze(-1), first.to(dtype).unsqueeze(-1))
        chosen = torch.nn.functional.one_hot(torch.where(real, states, 0), K).to(dtype) * first.unsqueeze(-1)
        before = torch.nn.functional.one_hot(torch.where(real, states, 0), K).to(dtype)[..., :-1, :]
        return {
            "segment": segment.unflatten(-1, (L, K)),
            "start": chosen[..., :1, :].sum(-2),
            "transition": torch.matmul(before.transpose(-1, -2), chosen[..., 1:, :]),
        }

    def segments_of(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """Each site's state, 0 beyond a length, and whether a segment begins there: (..., B, T) both."""
        chosen = parts["segment"].sum(-2)
        begins = chosen.sum(-1) > 0
        sites = torch.arange(begins.shape[-1], device=begins.device)
        latest = torch.where(begins, sites, 0).cummax(-1).values
        states = chosen.argmax(-1).gather(-1, latest)
        return states.masked_fill(~self.real(states), 0), begins

    def real(self, like: Tensor) -> Tensor:
        """Which sites lie within the lengths, as wide as `like` (..., B, T)."""
        sites = torch.arange(like.shape[-1], device=like.device)
        inside = sites >= 0 if self.lengths is None else sites < self.lengths.unsqueeze(-1)
        return inside.expand(like.shape)


def segment_sizes(begins: Tensor, real: Tensor) -> Tensor:
    """For each site the number of real sites from it to where the next segment begins: (..., T)."""
    sites = torch.arange(begins.shape[-1] + 1, device=begins.device)
    length = real.sum(-1, keepdim=True)
    following = torch.where(begins[..., 1:], sites[1:-1], length)
    following = torch.cat([following, length], -1) if begins.shape[-1] else following[..., :0]
    return following.flip(-1).cummin(-1).values.flip(-1) - sites[:-1]


def segmentation(segment: Tensor, start: Tensor, transition: Tensor, lengths: Tensor | None = None) -> Segmentation:
    """The distribution over segmentations of lengths (B) sites; an example without sites has one, which is empty.

    segment: (B, T, L, K), the score of l + 1 sites from t on in state k; what ends beyond the length is not read.
    start: (K) or (B or 1, K). transition: (K, K) or (B or 1, K, K); -inf forbids, equal neighbours for instance.
    """
    potentials = {"segment": segment, "start": with_first_axis(start, 2), "transition": with_first_axis(transition, 3)}
    rows = max(*(p.shape[0] for p in potentials.values()), 0 if lengths is None else len(lengths))
    return Segmentation(
        lambda semiring, p: segmentations_sum(semiring, p["segment"], p["start"], p["transition"], lengths),
        potentials,
        rows,
        lambda p: log_partition_of(BY_SEGMENT, [p["segment"]], p["start"], p["transition"], rows, lengths),
        lengths=lengths,
    )


def with_first_axis(x: Tensor, dims: int) -> Tensor:
    """x with a first axis for the examples, of 1 where it has none."""
    return x.unsqueeze(0) if x.dim() < dims else x


def token_segmentation_sum(
    token: Tensor,
    length: Tensor,
    start: Tensor,
    transition: Tensor,
    lengths: Tensor | None = None,
    semiring=LOG,
) -> Tensor:
    """log Z (B) where segment[t, l, k] = sum_{i=0..l} token[t + i, k] + length[k, l]; no table of segments is kept.

    token: (B, T, K), its gradient is p(site t has state k). length: (K, L) or (B or 1, K, L). Others as for
    `segmentation`, which answers what is asked about the segments themselves, by token_segments(token, length).
    """
    start, transition, length = with_first_axis(start, 2), with_first_axis(transition, 3), with_first_axis(length, 3)
    given = (token, length, start, transition)
    if semiring is not LOG:
        segment = token_segments(widest(token), widest(length))
        value = segmentations_sum(semiring, segment, widest(start), widest(transition), lengths)
        return value.to(full_precision(token).dtype)
    rows = max(*(x.shape[0] for x in given), 0 if lengths is None else len(lengths))
    return log_partition_of(BY_TOKEN, [token, length], start, transition, rows, lengths)


def windowed_segmentation_sum(
    token: Tensor,
    windows: Tensor,
    length: Tensor,
    start: Tensor,
    transition: Tensor,
    lengths: Tensor | None = None,
    semiring=LOG,
) -> Tensor:
    """log Z (B), or (k, B), where segment[t, l, k] = sum_{i=0..l} (token[t + i, k] + windows[t, i, k]) + length[k, l]: what a
    segment's sites say depends on where it began. windows: (B, T, L, K or 1), 0 past the end; others as above."""
    segment = token_segments(token, length) + windows.cumsum(2)
    found = segmentation(segment, start, transition, lengths)
    return found.total(semiring, found.potentials)
