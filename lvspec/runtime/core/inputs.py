"""What comes in: the names that a batch may hold, the axes of each, and whether values lie in their supports.

What does not fit is refused by name before anything is computed. Nothing beyond a length, or where nothing is observed, is
looked at. On a CPU a message says what stands where; elsewhere, and in compiled graphs, looking would wait for the device:
there values are asserted (`torch._assert_async`), and a prepared batch is asserted once.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lvspec.runtime.core.batch import BadBatch
from lvspec.runtime.core.semiring import may_look

TOLERANCE = 1e-3  # of what adds up to one, or has length one: data are often written with three digits


@dataclass(frozen=True)
class Input:
    """A variable as a batch holds it: (B, *plates, *shape), at each site values of one kind.

    role: observed | given | latent (its values may be given) | hidden (a latent whose values only `sample` takes) | row (of
    the examples themselves).
    kind: real | positive | nonnegative | unit | simplex | sphere | onehot | integer | count | boolean.
    plates: by name how many sites a plate has, None of a ragged one. shape: of one value; a plate's name where it is as long
    as that. below: how many values an integer has, or the plate whose sites they are; along: the axis that the plate
    around that one has here. filler: the value of what does not count, where that of its kind is none of its values. shared: there is no axis B. one_hot: whether a one-hot vector may stand for the integer.
    """

    role: str
    kind: str
    plates: dict[str, int | None] = field(default_factory=dict)
    shape: tuple[str | int, ...] = ()
    below: int | str = 0
    along: int = 0
    filler: float | None = None
    shared: bool = False
    one_hot: bool = False

    @property
    def sites(self) -> int:
        """How many axes say which site it is."""
        return len(self.plates) + (not self.shared)

    def axes(self) -> tuple[str | int, ...]:
        """What each axis is: a name, or a number."""
        return (*([] if self.shared else ["B"]), *(n or p for p, n in self.plates.items()), *self.shape)

    def shown(self) -> str:
        """As a message shows them: (B, t, 3)."""
        names = [str(a) for a in self.axes()]
        return f"({', '.join(names)}{',' if len(names) == 1 else ''})"

    def place(self, plate: str, within: str | None = None) -> tuple[int, ...]:
        """The axis of a plate; of a nested one, that of the plate around it before it."""
        names = [*([] if self.shared else ["B"]), *self.plates]
        return (*([] if within is None else [names.index(within)]), names.index(plate))


# whether a finite range of values may be one of this kind: least and greatest value -> bool
RANGES = {
    "real": lambda low, high: (low > -torch.inf) & (high < torch.inf),
    "positive": lambda low, high: (low > 0) & (high < torch.inf),
    "nonnegative": lambda low, high: (low >= 0) & (high < torch.inf),
    "unit": lambda low, high: (low >= 0) & (high <= 1),
    "simplex": lambda low, high: (low >= 0) & (high <= 1 + TOLERANCE),
    "sphere": lambda low, high: (low >= -1 - TOLERANCE) & (high <= 1 + TOLERANCE),
    "onehot": lambda low, high: (low >= 0) & (high <= 1),
    "integer": lambda low, high: low >= 0,
    "count": lambda low, high: (low >= 0) & (high < torch.inf),
    "boolean": lambda low, high: (low >= 0) & (high <= 1),
}
WHOLE = ("integer", "count", "boolean", "onehot")
MEANING = {
    "real": "a finite number",
    "positive": "a number above 0",
    "nonnegative": "a number that is not below 0",
    "unit": "a number between 0 and 1",
    "simplex": "a distribution, numbers from 0 on that add up to 1",
    "sphere": "a vector of length 1",
    "onehot": "a vector of zeros with a single 1",
    "count": "a count, a whole number from 0 on",
    "boolean": "0 or 1",
}


# what a batch may hold of the examples themselves: their weights, and their numbers in the data set (any data set)
ROW = {"weight": Input("row", "nonnegative"), "index": Input("row", "integer", below=2**63 - 1)}


# ---------------------------------------------------------------- names, axes, dtypes
def read_batch(
    batch: Mapping, inputs: dict[str, Input], like: Tensor, plates: tuple[str, ...] = (), own: tuple[str, ...] = ()
) -> dict:
    """The batch with every entry known by name, and in its axes and dtype; zeros where nothing is observed.

    plates: ragged ones, whose lengths the batch may hold. own: free parameters of examples, in a batch that brings them.
    """
    batch, kept = dict(batch), {n: one for n, one in inputs.items() if one.role != "hidden"}
    marks = (f"{n}_observed" for n, one in kept.items() if one.role in ("observed", "latent"))
    known = {*kept, *marks, *plates, *own}
    _no_strangers(batch, inputs, known)
    for name, one in kept.items():
        if name in batch:
            batch[name] = in_kind(name, batch[name], one, like)
        elif one.role in ("observed", "given"):
            raise BadBatch(f"`{name}` is not in the batch, and is {one.role}: give {one.shown()}")
    alike(batch, kept)
    for name, one in kept.items():
        seen = f"{name}_observed"
        if seen in batch and name not in batch:
            raise BadBatch(f"`{seen}` is in the batch, and `{name}` is not")
        if seen in batch:
            batch[seen] = observed_marks(seen, batch[seen], batch[name].shape[: one.sites])
            batch[name] = torch.where(_wide(batch[seen], batch[name]), batch[name], batch[name].new_zeros(()))
        elif one.role == "latent" and name in batch:
            batch[seen] = torch.ones(batch[name].shape[: one.sites], dtype=torch.bool, device=batch[name].device)
    return batch


def _no_strangers(batch: dict, inputs: dict[str, Input], known: set[str]) -> None:
    for name in batch:
        if name in inputs and inputs[name].role == "hidden":
            message = f"`{name}` is a latent whose values cannot be given to this model: leave it out of the batch"
            raise BadBatch(message)
        about = inputs.get(str(name).removesuffix("_observed"))
        if name not in known and about is not None and about.role == "given":
            raise BadBatch(f"nothing reads `{name}`: what is given cannot be missing")
        if name not in known:
            meant = [n for n in known if n.lower() == str(name).lower()]
            meant += difflib.get_close_matches(str(name), sorted(known), 1)
            hint = f"did you mean `{meant[0]}`?" if meant else f"a batch may hold {', '.join(sorted(known))}"
            raise BadBatch(f"nothing reads `{name}` of the batch: {hint}")


def in_kind(name: str, x: object, one: Input, like: Tensor) -> Tensor:
    """The tensor in the dtype of its kind, or BadBatch where it has other axes or another kind of numbers."""
    if not isinstance(x, Tensor) or x.is_complex():
        found = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise BadBatch(f"`{name}` is {found}, expected a tensor {one.shown()}")
    if one.one_hot and x.dim() == one.sites + 1:
        x = number_of(x)
    expected = one.axes()
    fits = x.dim() == len(expected)
    if not fits or any(isinstance(e, int) and e != n for e, n in zip(expected, x.shape, strict=True)):
        raise BadBatch(f"`{name}` has shape {tuple(x.shape)}, expected {one.shown()}")
    numbered = (
        one.kind == "integer" or one.kind == "count" and one.role == "latent"
    )  # values that are indices of tables
    if numbered and x.is_floating_point():
        raise BadBatch(f"`{name}` has numbers of {x.dtype}, expected whole ones (torch.int64)")
    if one.kind not in ("integer", "count", "boolean"):
        return x.to(like.dtype)
    return x if x.is_floating_point() else x.long()


def number_of(x: Tensor) -> Tensor:
    """Where the 1 stands in vectors of zeros and a single 1; -1 of other vectors, which may stand where nothing is read."""
    holds = ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1)
    return torch.where(holds, x.argmax(-1), -1)


def alike(batch: dict, inputs: dict[str, Input]) -> None:
    """BadBatch where entries disagree about the number of examples."""
    rows = {n: len(batch[n]) for n, one in inputs.items() if n in batch and not one.shared}
    if len(set(rows.values())) > 1:
        raise BadBatch(f"entries of the batch disagree on how many examples there are: {rows}")


def observed_marks(name: str, marks: object, shape: torch.Size) -> Tensor:
    """`x_observed` as truth values, one for each site."""
    if not isinstance(marks, Tensor) or marks.is_floating_point() or marks.shape != shape:
        found = f"{marks.dtype} of shape {tuple(marks.shape)}" if isinstance(marks, Tensor) else type(marks).__name__
        raise BadBatch(f"`{name}` is {found}, expected truth values (torch.bool) of shape {tuple(shape)}")
    return marks.bool()


def _wide(mask: Tensor, x: Tensor) -> Tensor:
    return mask.reshape(*mask.shape, *[1] * (x.dim() - mask.dim()))


# ---------------------------------------------------------------- values
def check_values(batch: dict, inputs: dict[str, Input]) -> dict:
    """The batch, every site that counts having a value in its support; the others have one already."""
    for name, one in inputs.items():
        x = batch.get(name)
        if x is not None and x.numel() and x.device.type != "meta":
            assert_values(inside(x, one, batch), x, offence, name, x, one, batch)
    return batch


def assert_values(holds, like: Tensor, message: Callable[..., str], *about) -> None:
    """BadBatch unless it holds; on a device without waiting for it."""
    if may_look(like):
        if not holds:
            raise BadBatch(message(*about))
    else:
        torch._assert_async(holds, "a batch has a value outside its support, or lacks one that is read")


def inside(x: Tensor, one: Input, batch: dict) -> Tensor | bool:
    """Whether all values are of their kind. Differences are reduced, not truth values: that is many times faster on a CPU."""
    if one.kind in ("boolean", "onehot") and x.is_floating_point():  # x = x² at 0 and 1 alone
        holds = torch.addcmul(x, x, x, value=-1).abs_().amax() == 0
        return holds & OF_VALUES[one.kind](x).all() if one.kind in OF_VALUES else holds
    low, high = (end.item() if may_look(x) else end for end in x.aminmax())
    holds = RANGES[one.kind](low, high)
    if isinstance(one.below, str):
        holds = holds & (x < limit(x, one, batch)).all()
    elif one.below:
        holds = holds & (high < one.below)
    if one.kind in WHOLE and x.is_floating_point():
        holds = holds & ((x - x.round()).abs().amax() == 0)
    if one.kind in OF_VALUES:
        holds = holds & OF_VALUES[one.kind](x).all()
    return holds


OF_VALUES = {
    "simplex": lambda x: (x.sum(-1) - 1).abs() <= TOLERANCE,
    "onehot": lambda x: x.sum(-1) == 1,
    "sphere": lambda x: (x.square().sum(-1) - 1).abs() <= 2 * TOLERANCE,
}


def limit(x: Tensor, one: Input, batch: dict) -> Tensor:
    """How many sites the plate has whose sites are the values; 1 where there is none, since 0 stands where nothing does."""
    lengths = batch[one.below].clamp_min(1)
    shape = [1] * x.dim()
    for axis, n in zip((0, one.along), lengths.shape, strict=False):
        shape[axis] = n
    return lengths.reshape(shape)


def offence(name: str, x: Tensor, one: Input, batch: dict) -> str:
    """What stands where: `x` holds -1 at [0, 2]; expected ..."""
    below = limit(x, one, batch) if isinstance(one.below, str) else one.below
    if one.below:
        wrong = (x < 0) | (x >= below)
        meant = f"a whole number from 0 to {below - 1}" if isinstance(below, int) else f"a site of {one.below}"
    else:
        wrong = ~RANGES[one.kind](x, x)
        meant = MEANING[one.kind]
    if one.one_hot:
        meant += f", or {MEANING['onehot']} (-1 stands for others)"
    if one.kind in WHOLE:
        wrong = wrong | (x != x.round())
    if one.kind in OF_VALUES and not bool(wrong.any()):
        wrong = ~OF_VALUES[one.kind](x)
    place = wrong.nonzero()[0].tolist()
    value = _brief(x[tuple(place)].tolist())
    example = "" if one.shared else example_of(batch, place[0])
    return f"`{name}` holds {value} at {place}{example}: expected {meant}"


def example_of(batch: dict, row: int) -> str:
    """Which example of the data a row is, where the batch says so."""
    return f" (example {int(batch['index'][row]) + 1} of the data)" if "index" in batch else ""


def _brief(value: object) -> str:
    """A number, or a row of them, as a message shows it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_brief, value[:8]))}{', ...' if len(value) > 8 else ''}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
