"""Tensors (T, ...) with their rows t, taken apart once: a view costs as much as a small product does.

Small ones are kept for the next step, when the one that used them has given them back.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

KEPT_BYTES = 2**20  # of one buffer; larger ones cost little beside what is done with them
KEPT_BUFFERS = 64  # of all

kept_buffers: dict[tuple, list[Sites]] = {}


@dataclass(slots=True)
class Sites:
    """A tensor, (T, B, axes flat) as a rule, and its rows."""

    values: Tensor
    rows: tuple[Tensor, ...]
    whole: Sites | None = None  # the buffer that these are a part of
    key: tuple | None = None  # where the buffer is kept, if it is

    @staticmethod
    def of(values: Tensor) -> Sites:
        return Sites(values, values.unbind(0))

    @property
    def before_last(self) -> Sites:
        return Sites(self.values[:-1], self.rows[:-1])

    @property
    def after_first(self) -> Sites:
        return Sites(self.values[1:], self.rows[1:])

    def shaped(self, *shape: int) -> tuple[Tensor, ...]:
        """The rows as views of a shape."""
        if self.values.shape[1:] == shape:
            return self.rows
        return self.values.view(self.values.shape[0], *shape).unbind(0)


def borrowed(T: int, *row: int, dtype: torch.dtype, device: torch.device) -> Sites:
    """An uninitialised buffer (T, *row): one that was given back, where there is a long enough one."""
    key = (*row, dtype, device)
    kept = kept_buffers.get(key)
    if kept and len(kept[-1].rows) >= T:
        buffer = kept.pop()
        return buffer if len(buffer.rows) == T else Sites(buffer.values[:T], buffer.rows[:T], buffer)
    values = torch.empty(T, *row, dtype=dtype, device=device)
    ordinary = type(values) is Tensor and not values.is_inference()
    return Sites(values, values.unbind(0), key=key if ordinary and is_small(values) else None)


def bytes_kept(size: int) -> bool:
    """Whether a buffer of so many bytes is kept."""
    return size <= KEPT_BYTES


def is_small(values: Tensor) -> bool:
    """Whether this buffer is kept."""
    return bytes_kept(values.numel() * values.element_size())


def give_back(*buffers: Sites) -> None:
    """What nobody reads any more."""
    for buffer in buffers:
        whole = buffer.whole or buffer
        if whole.key is None:
            continue
        if sum(map(len, kept_buffers.values())) >= KEPT_BUFFERS:
            kept_buffers.clear()
        kept_buffers.setdefault(whole.key, []).append(whole)
