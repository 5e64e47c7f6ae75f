"""Binary trees over a sentence: every span of two words or more has one split, and its value sums over where.

    inside(i, j) = spans[i, j] sum_{i <= k < j} inside(i, k) inside(k + 1, j)        inside(i, i) = spans[i, i]

All spans of one width are treated at a time. Their parts are kept in two charts, row for row beside one another: by
where they start, narrow ones first; by where they end, wide ones first.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from lvspec.runtime.core.in_probabilities import in_probabilities, peak, typical
from lvspec.runtime.core.semiring import widest
from lvspec.runtime.core.structured import Parts, Structured

RANGE = 600.0  # nats: no sum over trees goes further above 1
HALF_LOG_4 = 0.69  # binary trees over T words grow as 4^T, and have 2 T - 1 spans


def by_start(rows: Tensor, cells: Tensor) -> Tensor:
    """rows (..., more, widths, S) of spans that start at a place, and the cells (..., n, S) of the next width."""
    return torch.cat([rows[..., : cells.shape[-2], :, :], cells.unsqueeze(-2)], -2)


def by_end(rows: Tensor, cells: Tensor) -> Tensor:
    """rows (..., more, widths, S) of spans that end at a place, and the cells (..., n, S) of the next width."""
    return torch.cat([cells.unsqueeze(-2), rows[..., rows.shape[-3] - cells.shape[-2] :, :, :]], -2)


def by_widths(x: Tensor) -> Tensor:
    """x (B, M, M, ...) [i, j] as [i, j - i], which is not read where j would be beyond the end. One gather: a diagonal
    for each width would fill a matrix of zeros for each in the backward pass."""
    places = torch.arange(x.shape[1], device=x.device)
    ends = (places.unsqueeze(1) + places).clamp(max=max(x.shape[1] - 1, 0))
    return x[:, places.unsqueeze(1), ends]


def at_lengths(by_width: list[Tensor], lengths: Tensor) -> Tensor:
    """Of values (..., B, S) for the widths 0, 1, ..: each example's at its own length."""
    values = torch.stack(by_width, -2)
    place = lengths.view(-1, 1, 1).expand(*values.shape[:-2], 1, values.shape[-1])
    return values.gather(-2, place).squeeze(-2)


def whole_sentences(semiring, by_width: list[Tensor], lengths: Tensor) -> Tensor:
    """Of numbers (..., B) for the widths 0, 1, ..: each example's at its own length, (..., B)."""
    found = at_lengths([x.unsqueeze(-1) for x in by_width], lengths)
    return semiring.sum(found, -1)  # of one: a value of -inf has no gradient


def within(lengths: Tensor, extent: int) -> Tensor:
    """Which places are not padding: (B, extent)."""
    return torch.arange(extent, device=lengths.device) < lengths.unsqueeze(1)


def tree_crf(spans: Tensor, lengths: Tensor, largest: Tensor | None = None) -> Structured:
    """p(tree) of all binary trees over the words 0 .. length - 1, proportional to exp(sum of its spans' potentials).

    spans: (B, T, T) or (1, T, T), the log-potential of the span i .. j inclusive at [i, j], i <= j; the rest is not
    read. lengths: (B). A sentence without words has one tree, without parts. largest: as spans, the further
    log-potential of a span that is the largest one from its first word on: the whole sentence, or a right part.
    """
    potentials = {"spans": spans} if largest is None else {"spans": spans, "largest": largest}
    return Structured(partial(span_program, lengths=lengths), potentials, lengths.shape[0], partial(span_sum, lengths))


def span_sum(lengths: Tensor, potentials: Parts) -> Tensor:
    """log Z (B,): spans less their mean, and as much more as trees are many; a tree has 2 length - 1 of them."""
    spans, *largest = (widest(potentials[name]) for name in potentials)

    def program(semiring, spans: Tensor, *largest: Tensor) -> Tensor:
        return span_program(semiring, dict(zip(potentials, (spans, *largest), strict=True)), lengths)

    def lower() -> tuple[tuple[Tensor, ...], Tensor]:
        T = spans.shape[-1]
        real = within(lengths, T)
        read = (real.unsqueeze(1) & real.unsqueeze(2)).triu()
        known, further = spans.masked_fill(~read, -torch.inf), [x.masked_fill(~read, -torch.inf) for x in largest]
        highest = peak(known, (1, 2)) + sum(peak(x, (1, 2)).clamp(min=0.0) for x in further)
        shift = torch.maximum(typical(known, (1, 2)), highest - RANGE / max(2 * T - 1, 1)) + HALF_LOG_4
        return (spans - shift, *largest), shift.flatten() * (2 * lengths - 1).clamp(min=0)

    return in_probabilities(program, (spans, *largest), lower)


def span_program(semiring, potentials: Parts, lengths: Tensor) -> Tensor:
    """The sum over all binary trees: (..., B)."""
    spans = potentials["spans"]
    T, B = spans.shape[-1], lengths.shape[0]
    real = within(lengths, T)
    scores = spans.masked_fill(~(real.unsqueeze(1) & real.unsqueeze(2)), 0.0)
    nothing = semiring.lift(scores.new_zeros(B))
    if T == 0:
        return nothing

    def by_width(x: Tensor) -> tuple[Tensor, ...]:
        """(..., T, B) for each width, as numbers of the semiring."""
        return semiring.lift(by_widths(x.expand(B, T, T)).movedim(0, -1)).unbind(-2)

    of_width = by_width(scores)
    largest: tuple[Tensor, ...] | None = None
    if "largest" in potentials:
        further = potentials["largest"].masked_fill(~(real.unsqueeze(1) & real.unsqueeze(2)), 0.0)
        largest = by_width(further)

    def right(cells: Tensor, w: int) -> Tensor:
        """Spans of a width that are the largest ones from their first words on."""
        return cells if largest is None else semiring.times(cells, largest[w][..., : cells.shape[-2], :])

    cells = of_width[0]
    starting, ending = cells.unsqueeze(-2), right(cells, 0).unsqueeze(-2)
    whole = [nothing, right(cells, 0)[..., 0, :]]
    for w in range(1, T):
        n = T - w
        pairs = semiring.times(starting[..., :n, :, :], ending[..., 1:, :, :])
        cells = semiring.times(semiring.sum(pairs, -2), of_width[w][..., :n, :])
        closed = right(cells, w)
        starting, ending = by_start(starting, cells), by_end(ending, closed)
        whole.append(closed[..., 0, :])
    return whole_sentences(semiring, whole, lengths)
