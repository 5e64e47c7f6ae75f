"""Strings so far, and p of the next symbol: latents that are summed are laid out as further rows of what one site computes.

    log p(x_t | x_<t) = log Σ_z p(z, x_<t) p(x_t | z, x_<t) - log p(x_<t)

Rows are strings times assignments of the summed latents. A latent above the sites stays one for all of them (log p(z, x_<t) is
carried); one of a site is summed there, unless it is carried to the next (a chain): then all else is, and p(z_t, x_<=t) is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor

from lvspec.runtime.core.batch import BadBatch, batch_rows
from lvspec.runtime.core.semiring import log_sum_exp
from lvspec.runtime.families.categorical import log_softmax

MOST_ASSIGNMENTS = 1_000_000  # of the summed latents together, at one site


class NotEnumerated(Exception):
    """A summed latent whose values have not been laid out yet. shape: of its value in one row."""

    def __init__(self, name: str, shape: tuple[int, ...]):
        super().__init__(name)
        self.name, self.shape = name, shape


@dataclass(eq=False)
class Column:
    """A latent in the table of assignments. codes (A,): which of its `size` values, of `shape` in one row and of entries below
    `values`. stays: whether it lies above the sites. paths: where its values stand among what is carried."""

    name: str
    codes: Tensor
    size: int
    values: int
    shape: tuple[int, ...]
    stays: bool
    paths: list[tuple] = field(default_factory=list)

    def value(self) -> Tensor:
        """(A, *shape): the digits of the codes."""
        digits = [self.codes // self.values**i % self.values for i in range(prod(self.shape))]
        return torch.stack(digits, -1).reshape(-1, *self.shape)


class Asked:
    """What is said of the variables of one call: what is known of them, in each row, and means or draws of all others. weight (R,):
    Σ log p of what is known. symbols: the distribution of the symbol, whose place `symbol` keeps."""

    def __init__(self, prefixes: Prefixes, rows: int, known: dict[str, Tensor], site: int = 0):
        self.prefixes, self.known = prefixes, known
        self.weight = prefixes.like.new_zeros(rows)
        self.symbol = torch.zeros(rows, dtype=torch.int64, device=self.weight.device)
        self.symbols: Any = None
        self.site = site

    def __call__(self, name: str, q, lead: tuple[int, ...] = ()) -> Tensor:
        if name == self.prefixes.symbol:
            self.symbols = q
            return self.symbol
        if name in self.known:
            value = self.known[name]
            log_p = q.log_prob(value)
            self.weight = self.weight + (log_p.flatten(1).sum(-1) if log_p.dim() > 1 else log_p)
            return value
        value = q.sample(lead)
        if name in self.prefixes.summed:
            raise NotEnumerated(name, tuple(value.shape[1:]))
        return value if self.prefixes.drawn else mean_of(name, q, value)


def mean_of(name: str, q, like: Tensor) -> Tensor:
    """E x under q, of the shape of a draw."""
    mean = q.mean if like.is_floating_point() else None
    if mean is None:
        raise BadBatch(f'`{name}` has no mean to decode from: give it, or draw it, latents="draw"')
    return torch.as_tensor(mean, dtype=like.dtype, device=like.device).expand_as(like)


class Prefixes:
    """Strings of each row of a batch, symbol by symbol. log_joint (H, A): log p(assignment, string) of H strings.

    at, above: the emitted methods (above: where something is drawn there). summed: how many values each summed latent has. drawn: whether what is neither given nor summed is
    drawn, or is its mean; draws: how many draws p of the next symbol is averaged over.
    """

    def __init__(
        self,
        batch: dict,
        at: Callable,
        above: Callable | None,
        symbol: str,
        summed: dict[str, int],
        drawn: bool,
        draws: int,
        like: Tensor,
    ):
        self.at, self.symbol, self.summed, self.drawn, self.like = at, symbol, summed, drawn, like
        self.here: dict[str, tuple[int, ...]] = {}  # summed latents of a site, and the shapes of their values
        n, latents = batch_rows(batch), dict[str, tuple[int, ...]]()
        while True:
            self.columns = self.table(latents, stays=True, draws=draws)
            A = assignments(self.columns)
            rows = in_copies(batch, A)
            known = {c.name: tiled(c, n) for c in self.columns if c.name}
            try:
                asked = Asked(self, n * A, {k: v for k, v in rows.items() if isinstance(v, Tensor)} | known)
                self.carried = rows if above is None else above(rows, asked)
                break
            except NotEnumerated as new:
                latents[new.name] = new.shape
        log_joint = asked.weight.reshape(n, A)
        self.log_joint = log_joint - log_sum_exp(log_joint, -1).unsqueeze(-1)

    def table(self, latents: dict[str, tuple[int, ...]], stays: bool, draws: int = 1) -> list[Column]:
        """A column for each latent, all joint values below one another, and each as often as there are draws."""
        kinds = [(name, self.summed[name], shape) for name, shape in latents.items()]
        kinds += [("", draws, ())] if draws != 1 else []
        sizes = [values ** prod(shape) for _, values, shape in kinds]
        if (total := prod(sizes)) > MOST_ASSIGNMENTS:
            raise BadBatch(f"{', '.join(latents)} have {total} joint values, too many to be summed: give them")
        rest, found = torch.arange(total, device=self.like.device), list[Column]()
        for (name, values, shape), size in zip(kinds, sizes, strict=True):
            found.append(Column(name, rest % size, size, values, shape, stays))
            rest = rest // size
        return found

    # ------------------------------------------------------------ one site
    def next(self, t: int) -> Tensor:
        """log p(x_<t, x_t = v), (H, V)."""
        H, before = self.log_joint.shape
        while True:
            new = self.table(self.here, stays=False)
            N = assignments(new)
            rows = in_copies(self.carried, N)
            asked = Asked(self, H * before * N, {c.name: tiled(c, H * before) for c in new}, t)
            try:
                self.after = self.at(rows, asked)
                break
            except NotEnumerated as found:
                self.here[found.name] = found.shape
        log_p = log_softmax(asked.symbols.logits)
        self.log_p = log_p.expand(H * before * N, log_p.shape[-1]).reshape(H, before * N, log_p.shape[-1])
        self.weighed = self.log_joint.repeat_interleave(N, -1) + asked.weight.reshape(H, before * N)
        self.placeholder = asked.symbol
        passed = dict(leaves(rows))
        owners = {id(passed[path]): column for column in self.columns for path in column.paths}
        owners |= {id(asked.known[c.name]): c for c in new}
        for column in self.columns:
            column.codes = column.codes.repeat_interleave(N)
        for column in new:
            column.codes = column.codes.repeat(before)
        self.columns = [*self.columns, *new]
        for column in self.columns:
            column.paths = []
        for path, value in leaves(self.after):
            if id(value) in owners:
                owners[id(value)].paths.append(path)
        return log_sum_exp(self.weighed.unsqueeze(-1) + self.log_p, 1)

    def go_on(self, strings: Tensor, symbols: Tensor) -> None:
        """The strings that are named, H' of the H, each longer by its symbol."""
        A = self.weighed.shape[1]
        self.columns = [c for c in self.columns if c.stays or c.paths]
        order = torch.zeros(A, dtype=torch.int64, device=self.like.device)
        for column in self.columns:
            order = order * column.size + column.codes
        groups = prod(c.size for c in self.columns)
        order = order.argsort(stable=True).reshape(
            groups, A // max(groups, 1)
        )  # assignments that differ in what is left alone
        scores = self.weighed[strings] + self.log_p[strings].gather(
            -1, symbols[:, None, None].expand(-1, A, 1)
        ).squeeze(-1)
        self.log_joint = log_sum_exp(scores[:, order], -1)
        kept = order[:, 0]
        for column in self.columns:
            column.codes = column.codes[kept]
        rows = (strings.unsqueeze(-1) * A + kept).flatten()
        chosen = symbols.repeat_interleave(groups)
        self.carried = each_leaf(
            self.after, lambda x: chosen if x is self.placeholder else picked(x, rows, self.placeholder)
        )


def picked(x: Tensor, rows: Tensor, like: Tensor) -> Tensor:
    """The named rows of what has them first, or first of what is flattened there: (R * m, ...)."""
    R = len(like)
    return x.unflatten(0, (R, -1)).index_select(0, rows).flatten(0, 1) if R and len(x) != R else x.index_select(0, rows)


def assignments(columns: list[Column]) -> int:
    return prod(c.size for c in columns)


def tiled(column: Column, times: int) -> Tensor:
    """The column's values below one another, so many times."""
    value = column.value()
    return value.repeat(times, *[1] * (value.dim() - 1))


def in_copies(carried: dict, times: int) -> dict:
    """Each row so many times."""
    return carried if times == 1 else each_leaf(carried, lambda x: x.repeat_interleave(times, 0))


def each_leaf(carried: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same with every tensor changed that has rows: what an entry `t.fixed` holds has none."""
    if isinstance(carried, Tensor):
        return change(carried)
    if isinstance(carried, dict):
        return {k: v if k.endswith(".fixed") else each_leaf(v, change) for k, v in carried.items()}
    if isinstance(carried, (list, tuple)):
        parts = [each_leaf(part, change) for part in carried]
        return type(carried)(*parts) if hasattr(carried, "_fields") else type(carried)(parts)
    return carried


def leaves(carried: Any, path: tuple = ()) -> Iterator[tuple[tuple, Tensor]]:
    """The tensors of what is carried, with where they stand."""
    if isinstance(carried, Tensor):
        yield path, carried
    elif isinstance(carried, dict):
        for key, value in carried.items():
            yield from leaves(value, (*path, key))
    elif isinstance(carried, (list, tuple)):
        for i, value in enumerate(carried):
            yield from leaves(value, (*path, i))
