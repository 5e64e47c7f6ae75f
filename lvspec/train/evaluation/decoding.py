"""Decoded strings as words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import isfinite

import torch

from lvspec.ir.decodable import Decodable
from lvspec.train.data.encoders import Symbols
from lvspec.train.evaluation.draws import Conditions, end_ids, words
from lvspec.train.run.directory import TrainedRun


@dataclass(frozen=True)
class DecodedText:
    """text: without the end symbol. log_prob: log p of the string; score: what its row is ordered by. ended: whether the end symbol
    closed it, or its length."""

    text: str
    log_prob: float
    score: float
    ended: bool

    def to_json(self) -> dict:
        return {k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(self).items()}


@torch.no_grad()
def strings(
    trained: TrainedRun, found: Decodable, n: int, start: Conditions, how: dict, length: int, batch: int, seed: int
) -> Iterator[list[DecodedText]]:
    """The strings of each of n rows, so many rows at once."""
    torch.manual_seed(seed)
    table, settings = trained.encoders[found.symbol], trained.config.data[found.symbol]
    assert isinstance(table, Symbols)  # what is written along a plate with an end symbol
    between = "" if settings.tokenize == "characters" else " "
    ends = end_ids(trained.layout, trained.encoders)
    for first in range(0, n, batch):
        rows = slice(first, min(first + batch, n))
        given = {name: value[rows].to(trained.device) for name, value in start.given.items()}
        lengths = {p: value[rows].to(trained.device) for p, value in start.lengths.items() if p != found.plate}
        lengths[found.plate] = torch.full((rows.stop - rows.start,), length, device=trained.device)
        got = trained.model.decode(rows.stop - rows.start, given, lengths, end=ends[found.plate], **how)
        for i in range(rows.stop - rows.start):
            row = []
            for symbols, many, log_prob, score, ended in zip(*(part[i].cpu() for part in got), strict=True):
                if isfinite(score):
                    text = words(symbols[:many].numpy(), table, between)
                    row.append(DecodedText(text, log_prob.item(), score.item(), bool(ended)))
            yield row
