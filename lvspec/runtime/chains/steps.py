"""The steps of a chain: pairwise einsums of the message with one factor, read, simplified and turned into matrix products.

   ("abc,ad->dbc", "dbc,be->dec", "dec,cf->def")        three independent chains
-> ("abc,adbe->dec", "dec,cf->def")                     with two small factors merged
-> bmm (64 x 64) from the left, mm (8 x 8) from the right
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod

import torch
from torch import Tensor

from lvspec.runtime.core.contract import over_axes
from lvspec.runtime.core.semiring import log_sum_exp
from lvspec.runtime.core.workspace import Sites

MERGED_ENTRIES = 4096  # a product of two factors up to this size costs less than one more dispatch


@dataclass(frozen=True)
class Step:
    """`"ab,BTbc->ac"`: message axes, the factor's state axes, its leading axes (B, T), the new message's axes."""

    message: str
    factor: str
    lead: str
    output: str

    @property
    def summed(self) -> str:
        """Axes that end here, in the message's order and then the factor's."""
        return "".join(dict.fromkeys(a for a in self.message + self.factor if a not in self.output))

    def lead_of(self, factor: Tensor) -> str:
        """The leading axes that this factor really has: an opening's may have none."""
        return self.lead if factor.dim() == len(self.lead) + len(self.factor) else ""


def parse_steps(steps: tuple[str, ...]) -> tuple[Step, ...]:
    """Steps as they are written; capital letters in front of a factor are the batch and the time axis.

    A letter that comes back after its axis has ended is another axis: it gets another letter.
    """
    fresh = iter(sorted(set("abcdefghijklmnopqrstuvwxyz") - set("".join(steps))))
    names: dict[str, str] = {}
    ended: set[str] = set()
    read = []
    for text in steps:
        inputs, output = text.replace(" ", "").split("->")
        message, factor = inputs.split(",")
        lead = factor[: len(factor) - len(factor.lstrip("BT"))]
        letters = (message, factor, output)
        if any(len(set(a)) < len(a) for a in letters) or not (factor[len(lead) :] + message + output).islower():
            raise ValueError(f"not a step of a chain: `{text}`")
        for a in (set(factor[len(lead) :]) - set(message)) & ended:
            names[a] = next(fresh)
        renamed = ["".join(names.get(a, a) for a in part) for part in (message, factor[len(lead) :], output)]
        read.append(Step(renamed[0], renamed[1], lead, renamed[2]))
        ended |= set(message + factor[len(lead) :]) - set(output)
    return tuple(read)


@cache
def remembered_steps(steps: tuple[str, ...]) -> tuple[Step, ...]:
    """parse_steps, done once for each program."""
    return parse_steps(steps)


def read_steps(steps: tuple[str, ...]) -> tuple[Step, ...]:
    """parse_steps; a compiler that traces the call must not meet the memory."""
    return parse_steps(steps) if torch.compiler.is_compiling() else remembered_steps(steps)


def factor_at(factor: Tensor, step: Step, t: int) -> Tensor:
    """The factor for the step into site t, with a batch axis in front: (B or 1, state axes)."""
    lead = step.lead_of(factor)
    if "T" in lead:
        axis = lead.index("T")
        factor = factor.select(axis, t if factor.shape[axis] > 1 else 0)
    return factor if "B" in lead else factor.unsqueeze(0)


def renews(steps: tuple[Step, ...]) -> bool:
    """Whether no axis of the old message is still there after the steps."""
    old = set(steps[0].message)
    for step in steps:
        old &= set(step.output)
    return not old


def simplified(step: Step, factor: Tensor, sizes: dict[str, int]) -> tuple[Step, Tensor]:
    """The same step, its factor having every axis that ends or begins and no axis of its own that ends."""
    lead = step.lead_of(factor)
    own = "".join(a for a in step.summed if a not in step.message)
    if own:
        factor = log_sum_exp(factor, tuple((lead + step.factor).index(a) for a in own))
    letters = "".join(a for a in step.factor if a not in own)
    for a in dict.fromkeys(step.message + step.output):
        if a not in step.factor and not (a in step.message and a in step.output):
            factor, letters = factor.unsqueeze(-1).expand(*factor.shape, sizes[a]), letters + a
    return Step(step.message, letters, step.lead, step.output), factor


def merged(first: Step, second: Step) -> Step | None:
    """Two steps as one, or None where the second one's factor reads what the first one's brings."""
    introduced = set(first.output) - set(first.message)
    ended = set(first.summed)
    if first.lead or second.lead or introduced & set(second.factor) or ended & set(second.factor + second.output):
        return None
    if set(first.factor) & set(second.factor):
        return None
    return Step(first.message, first.factor + second.factor, "", second.output)


def is_simple(steps: tuple[Step, ...]) -> bool:
    """Whether the one step is already a matrix product: nothing to simplify, nothing to merge."""
    message, factor, output = (set(a) for a in (steps[0].message, steps[0].factor, steps[0].output))
    return len(steps) == 1 and set(steps[0].summed) == message & factor - output and output <= message | factor


def program_of(
    steps: tuple[Step, ...], factors: list[tuple[Tensor, ...]], sizes: dict[str, int]
) -> tuple[tuple[Step, ...], list[tuple[Tensor, ...]]]:
    """Simplified steps with small neighbours merged; factors: the openings' tuples, then the regular one."""
    rows = [list(row) for row in factors]
    simple = []
    for i, step in enumerate(steps):
        for row in rows:
            after, row[i] = simplified(step, row[i], sizes)
        simple.append(after)
        sizes = sizes | dict(zip(after.factor, rows[-1][i].shape[rows[-1][i].dim() - len(after.factor) :], strict=True))
    position = 0
    while position + 1 < len(simple):
        first, second = simple[position : position + 2]
        both = merged(first, second)
        if both is None or prod([sizes[a] for a in both.factor]) > MERGED_ENTRIES:
            position += 1
            continue
        for row in rows:
            a, b = row[position : position + 2]
            row[position : position + 2] = [
                over_axes(a, first.factor, both.factor) + over_axes(b, second.factor, both.factor)
            ]
        simple[position : position + 2] = [both]
    return tuple(simple), [tuple(row) for row in rows]


# operation, left operands, right operands, results: one of each a site
Calls = tuple[Callable, Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]


def repeated(values: list[tuple[Tensor, int]]) -> list[Tensor]:
    """Each tensor as often as its number says."""
    return [x for value, count in values for x in [value] * count]


@dataclass(frozen=True)
class MatrixProduct:
    """A step as a matrix product: `summed` rows and `new` columns of the factor, `kept` its batch axes.

    form: right (message @ matrix), left (matrix.T @ message), general (axes are permuted around a bmm).
    """

    message: str
    output: str
    kept: str
    summed: str
    new: str
    free: str
    sizes: tuple[tuple[str, int], ...]

    def extent(self, letters: str) -> int:
        return prod(self.shape(letters))

    def shape(self, letters: str) -> list[int]:
        sizes = dict(self.sizes)
        return [sizes[a] for a in letters]

    @cached_property
    def reverse(self) -> MatrixProduct:
        """The product with the transposed matrix, from the new message's axes to the old one's."""
        return MatrixProduct(self.output, self.message, self.kept, self.new, self.summed, self.free, self.sizes)

    @cached_property
    def matrix(self) -> tuple[int, int, int]:
        """Extents of the factor as a matrix: kept, summed, new."""
        return self.extent(self.kept), self.extent(self.summed), self.extent(self.new)

    @cached_property
    def around(self) -> tuple[int, int] | None:
        """Extents (before, after) where the old axes are replaced by the new ones in place; None where axes move."""
        at = self.message.find(self.summed)
        before, after = self.message[:at], self.message[at + len(self.summed) :]
        if self.kept or at < 0 or self.output != before + self.new + after:
            return None
        return self.extent(before), self.extent(after)

    def calls(self, inputs: Sites, outputs: Sites, matrices: list[tuple[Tensor, int]], transpose: bool) -> Calls:
        """The products of all sites: inputs (T, B, message axes flat) times matrices give outputs (T, B, axes flat).

        matrices: (B or 1, kept, rows, columns) each, with the number of sites in a row that use it.
        """
        B = inputs.values.shape[1]
        turned = [(m.mT if transpose else m, count) for m, count in matrices]
        batched = any(m.shape[0] > 1 for m, _ in matrices)
        if self.around is None or (batched and self.around[1] > 1):
            return self.permuted, inputs.rows, repeated(turned), outputs.rows
        _, rows, columns = self.matrix
        count, width = B * self.around[0], self.around[1]
        if width > 1:
            lefts = repeated([(m[0, 0].mT.expand(count, columns, rows), n) for m, n in turned])
            return torch.bmm, lefts, inputs.shaped(count, rows, width), outputs.shaped(count, columns, width)
        if not batched:
            rights = repeated([(m[0, 0], n) for m, n in turned])
            return torch.mm, inputs.shaped(count, rows), rights, outputs.shaped(count, columns)
        rights = repeated([(m[:, 0].expand(B, rows, columns), n) for m, n in turned])
        return torch.bmm, inputs.shaped(B, count // B, rows), rights, outputs.shaped(B, count // B, columns)

    def rows_of(self, values: Tensor, letters: str, last: str) -> Tensor:
        """(*lead, letters flat) -> (*lead, kept, free, last), each of the three merged into one axis."""
        lead = values.dim() - 1
        spread_out = values.view(*values.shape[:-1], *self.shape(letters))
        order = [lead + letters.index(a) for a in self.kept + self.free + last]
        extents = [self.extent(self.kept), self.extent(self.free), self.extent(last)]
        return spread_out.permute(*range(lead), *order).reshape(*values.shape[:-1], *extents)

    def permuted(self, message: Tensor, matrix: Tensor, out: Tensor | None = None) -> Tensor:
        """The product of one site's messages (B, message axes flat), whatever the order of the axes."""
        x = self.rows_of(message, self.message, self.summed)  # (B, kept, free, rows)
        if matrix.shape[0] > 1:
            y = torch.matmul(x, matrix)
        else:  # the batch joins the rows: (kept, B * free, rows) @ (kept, rows, columns)
            y = torch.bmm(x.transpose(0, 1).flatten(1, 2), matrix[0])
            y = y.unflatten(1, (x.shape[0], x.shape[2])).transpose(0, 1)
        found = y.reshape(x.shape[0], *self.shape(self.kept + self.free + self.new))
        order = [1 + (self.kept + self.free + self.new).index(a) for a in self.output]
        found = found.permute(0, *order)
        if out is None:
            return found.reshape(x.shape[0], -1)
        return out.view(found.shape).copy_(found)

    def gradient(self, inputs: Tensor, grads: Tensor, over_time: bool, over_batch: bool) -> Tensor:
        """d / d matrix: (T or 1, B or 1, kept, rows, columns) from inputs (T, B, ...) and the results' gradients."""
        if not (over_time or over_batch) and self.around is not None and self.around[1] == 1:
            _, rows, columns = self.matrix
            return torch.mm(inputs.view(-1, rows).t(), grads.view(-1, columns)).view(1, 1, 1, rows, columns)
        x = self.rows_of(inputs, self.message, self.summed)
        y = self.rows_of(grads, self.output, self.new)
        axes = [d for d, on in ((0, over_time), (1, over_batch), (2, True)) if on]
        rest = [d for d in (0, 1, 3) if d not in axes]
        lead = [x.shape[d] for d in axes]
        x = x.permute(*axes, *rest, 4).reshape(prod(lead), -1, x.shape[-1])
        y = y.permute(*axes, *rest, 4).reshape(prod(lead), -1, y.shape[-1])
        found = torch.mm(x[0].mT, y[0]) if x.shape[0] == 1 else torch.bmm(x.mT, y)
        T, B = (inputs.shape[0] if over_time else 1), (inputs.shape[1] if over_batch else 1)
        return found.view(T, B, self.extent(self.kept), x.shape[-1], y.shape[-1])


@cache
def product_of(step: Step, named_sizes: tuple[tuple[str, int], ...]) -> MatrixProduct:
    """The matrix product that a simplified step is."""
    sizes = dict(named_sizes)
    factor = set(step.factor)
    kept = "".join(a for a in step.message if a in factor and a in step.output)
    summed = "".join(a for a in step.message if a in factor and a not in step.output)
    new = "".join(a for a in step.output if a not in step.message)
    free = "".join(a for a in step.message if a not in factor)
    letters = dict.fromkeys(step.message + step.output)
    return MatrixProduct(step.message, step.output, kept, summed, new, free, tuple((a, sizes[a]) for a in letters))


def matrix_of(factor: Tensor, step: Step, product: MatrixProduct) -> Tensor:
    """The factor as (T or 1, B or 1, kept, summed, new), each state group merged into one axis."""
    lead = step.lead_of(factor)
    laid = factor.permute(places(lead + step.factor, order_of(lead, product)))
    T = laid.shape[0] if "T" in lead else 1
    B = laid.shape[1 if "T" in lead else 0] if "B" in lead else 1
    return laid.reshape(T, B, *product.matrix)


def factor_of(matrix: Tensor, factor: Tensor, step: Step, product: MatrixProduct) -> Tensor:
    """The inverse of matrix_of: a matrix in the axes of `factor`."""
    lead = step.lead_of(factor)
    letters, order = lead + step.factor, order_of(lead, product)
    shape = factor.shape
    return matrix.view([shape[i] for i in places(letters, order)]).permute(places(order, letters))


@cache
def order_of(lead: str, product: MatrixProduct) -> str:
    """The axes of a factor as a matrix."""
    return "".join(a for a in "TB" if a in lead) + product.kept + product.summed + product.new


@cache
def places(letters: str, wanted: str) -> tuple[int, ...]:
    """Where each wanted axis is among `letters`."""
    return tuple(map(letters.index, wanted))
