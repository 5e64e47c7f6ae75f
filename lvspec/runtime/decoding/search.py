"""Decoding: the likeliest string symbol by symbol, the best ones of a beam, or draws.

score of a string x of n symbols, the end symbol counted: log p(x) / n^length_norm
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lvspec.runtime.core.batch import BadBatch
from lvspec.runtime.core.semiring import log_sum_exp
from lvspec.runtime.decoding.prefixes import Prefixes, in_copies
from lvspec.runtime.families.categorical import Categorical

__all__ = ["Decoded", "decode"]

METHODS = ("greedy", "beam", "sample")


class Decoded(NamedTuple):
    """N strings of each of B rows, best first (draws: as they came). symbols (B, N, T), zeros behind `lengths` (B, N), in which the end
    symbol counts. log_prob (B, N): log p of the string, up to where it was cut if it has not `ended`. score: what they are ordered by;
    -inf where there are fewer strings than were asked for."""

    symbols: Tensor
    lengths: Tensor
    log_prob: Tensor
    score: Tensor
    ended: Tensor


def decode(
    batch: dict,
    at: Callable,
    *,
    above: Callable | None = None,
    symbol: str,
    plate: str,
    like: Tensor,
    summed: Mapping[str, int] | None = None,
    unasked: tuple[str, ...] = (),
    apart: tuple[str, ...] = (),
    end: int | None = None,
    method: str = "beam",
    beams: int = 5,
    best: int = 1,
    length_norm: float = 1.0,
    samples: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    latents: str | None = None,
    draws: int = 1,
) -> Decoded:
    """Strings for each row of a batch, which `lengths` limit and the symbol `end` closes.

    method: "greedy", the likeliest next symbol each time; "beam", the `best` of those that a beam of `beams` strings meets, by score;
        "sample", `samples` draws: ancestral, or by p^(1/temperature) of the `top_k` likeliest next symbols, or of the fewest likeliest
        ones that have the mass `top_p`. log_prob is the model's own all the same.
    latents: what is neither given nor summed is at its "mean" (for "sample" by default a "draw"), given what is drawn before it;
        p of the next symbol is averaged over `draws` draws, each weighed by what it says of the string so far.
    batch, at, above, symbol, plate, like, summed, unasked, apart: the model's part. unasked: latents whose mean nobody knows; apart: variables
        that tell nothing of a string, or not before it is there.
    """
    drawn = (method == "sample") if latents is None else latents == "draw"
    check(method, latents, beams=beams, best=best, samples=samples, draws=draws, top_k=top_k)
    if not temperature > 0 or not 0 < top_p <= 1 or not length_norm >= 0:
        raise ValueError("temperature is above 0, top_p above 0 and at most 1, length_norm at least 0")
    for name in (n for n in apart if n in batch):
        raise BadBatch(f"`{name}` cannot be given: strings {symbol} are decoded from what stands above them")
    for name in (n for n in unasked if n not in batch and not drawn):
        raise BadBatch(f'the mean of `{name}` is not known: give it, or draw it, latents="draw"')
    batch = in_copies(batch, samples if method == "sample" else 1)
    limits = batch[plate]
    prefixes = Prefixes(batch, at, above, symbol, dict(summed or {}), drawn, draws if drawn else 1, like)
    if method == "beam":
        return beam_search(prefixes, limits, end, beams, best, length_norm)
    if method == "greedy":
        found = one_by_one(prefixes, limits, end, lambda log_p: log_p.argmax(-1))
    else:
        found = one_by_one(
            prefixes, limits, end, lambda log_p: Categorical(kept(log_p / temperature, top_k, top_p)).sample()
        )
    each = samples if method == "sample" else 1
    symbols, lengths, log_prob, ended = (x.unflatten(0, (len(limits) // each, each)) for x in found)
    return Decoded(symbols, lengths, log_prob, log_prob / lengths.clamp(min=1) ** length_norm, ended)


def check(method: str, latents: str | None, **counts: int | None) -> None:
    if method not in METHODS:
        raise ValueError(f"method {method!r}: there are {', '.join(METHODS)}")
    if latents not in (None, "mean", "draw"):
        raise ValueError(f"latents {latents!r}: there are mean, draw")
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{name} is at least 1, not {count}")


def kept(logits: Tensor, top_k: int | None, top_p: float) -> Tensor:
    """Logits (R, V) with -inf where a symbol is out: beyond the k likeliest, or beyond the fewest that have mass p."""
    if top_k is not None and top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k, -1).values[:, -1:], -torch.inf)
    if top_p < 1:
        ordered, order = logits.sort(-1, descending=True)
        chances = ordered.softmax(-1)
        out = chances.cumsum(-1) - chances >= top_p  # the mass ahead of it is enough
        logits = logits.masked_fill(torch.zeros_like(out).scatter(-1, order, out), -torch.inf)
    return logits


def one_by_one(
    prefixes: Prefixes, limits: Tensor, end: int | None, choose: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One string a row: symbols (R, T), lengths, log p and whether the end symbol closed it, (R,) each. choose: of log p of the next
    symbol, (H, V), one for each string."""
    R, extent = len(limits), longest(limits)
    symbols = torch.zeros(R, extent, dtype=torch.int64, device=limits.device)
    lengths, ended = torch.zeros_like(limits), torch.zeros_like(limits).bool()
    log_prob = prefixes.like.new_zeros(R)
    rows = torch.arange(R, device=limits.device)  # of the strings that go on
    for t in range(extent):
        log_p = prefixes.next(t)
        log_p = log_p - log_sum_exp(log_p, -1).unsqueeze(-1)
        chosen = choose(log_p)
        there = limits[rows] > t  # all, but for strings without a site
        symbols[rows, t] = torch.where(there, chosen, 0)
        log_prob[rows] += torch.where(there, log_p.gather(-1, chosen.unsqueeze(-1)).squeeze(-1), 0.0)
        lengths[rows] += there.long()
        ended[rows] = there & (chosen == (-1 if end is None else end))
        going = ((limits[rows] > t + 1) & ~ended[rows]).nonzero().squeeze(-1)
        if not len(going):
            break
        prefixes.go_on(going, chosen[going])
        rows = rows[going]
    return symbols, lengths, log_prob, ended


def longest(limits: Tensor) -> int:
    return int(limits.max()) if len(limits) else 0


@dataclass
class Finished:
    """The best strings that are over, of each of B rows."""

    found: Decoded
    norm: float

    @staticmethod
    def none(limits: Tensor, best: int, norm: float, like: Tensor) -> Finished:
        """`best` places a row, the first of a row without sites taken by the string of no symbol."""
        B, extent = len(limits), longest(limits)
        symbols = torch.zeros(B, best, extent, dtype=torch.int64, device=limits.device)
        score = like.new_full((B, best), -torch.inf)
        score[limits == 0, 0] = 0.0
        lengths = torch.zeros_like(symbols[:, :, :0].sum(-1))
        return Finished(Decoded(symbols, lengths, score.clone(), score, lengths.bool()), norm)

    def add(self, rows: Tensor, symbols: Tensor, log_prob: Tensor, ended: Tensor) -> None:
        """Candidates of some rows: symbols (R, C, t), log_prob (R, C), -inf where there is none."""
        t, best = symbols.shape[-1], self.found.score.shape[1]
        wider = torch.nn.functional.pad(symbols, (0, self.found.symbols.shape[-1] - t))
        lengths = torch.full_like(ended, t, dtype=torch.int64)
        new = Decoded(wider, lengths, log_prob, log_prob / t**self.norm, ended)
        both = Decoded(*(torch.cat([a[rows], b], 1) for a, b in zip(self.found, new, strict=True)))
        order = both.score.topk(best, 1).indices
        for a, b in zip(self.found, both, strict=True):
            at = order.reshape(*order.shape, *[1] * (b.dim() - 2)).expand(*order.shape, *b.shape[2:])
            a[rows] = b.gather(1, at)


def beam_search(
    prefixes: Prefixes, limits: Tensor, end: int | None, beams: int, best: int, length_norm: float
) -> Decoded:
    """The `best` strings of each row by score. What ends among the `beams` likeliest ones is put aside, and the `beams` likeliest ones
    that do not end go on, until none of them can come to a better score: exact where the beam holds all strings."""
    over = Finished.none(limits, best, length_norm, prefixes.like)
    rows = torch.arange(len(limits), device=limits.device)
    symbols = torch.zeros(len(limits), 1, 0, dtype=torch.int64, device=limits.device)  # (R, W, t)
    log_prob = prefixes.like.new_zeros(len(limits), 1).masked_fill(limits.unsqueeze(-1) == 0, -torch.inf)
    for t in range(longest(limits)):
        R, W, _ = symbols.shape
        log_p = prefixes.next(t).reshape(R, W, -1)
        log_p = log_p.masked_fill(log_prob.unsqueeze(-1) == -torch.inf, -torch.inf)  # no string is there
        V = log_p.shape[-1]
        log_prob, at = log_p.flatten(1).topk(min(2 * beams, W * V), 1)  # of 2 beams, as many as a beam do not end
        parents, chosen = at // V, at % V
        symbols = torch.cat([symbols.gather(1, parents.unsqueeze(-1).expand(-1, -1, t)), chosen.unsqueeze(-1)], -1)
        ended = chosen == (-1 if end is None else end)
        last = (limits[rows] == t + 1).unsqueeze(-1)
        aside = (ended | last) & (torch.arange(at.shape[1], device=at.device) < beams)
        over.add(rows, symbols, log_prob.masked_fill(~aside, -torch.inf), ended & aside)
        log_prob, on = log_prob.masked_fill(ended | last, -torch.inf).topk(min(beams, at.shape[1]), 1)
        hope = log_prob[:, 0] / limits[rows] ** length_norm  # log p falls, and no string is longer
        going = ((hope > over.found.score[rows, -1]) & (log_prob[:, 0] > -torch.inf)).nonzero().squeeze(-1)
        if not len(going):
            break
        on, log_prob, rows = on[going], log_prob[going], rows[going]
        symbols = symbols[going].gather(1, on.unsqueeze(-1).expand(-1, -1, t + 1))
        strings = going.unsqueeze(-1) * W + parents[going].gather(1, on)
        prefixes.go_on(strings.flatten(), symbols[:, :, -1].flatten())
    return over.found
