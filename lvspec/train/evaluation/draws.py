"""What a model's ancestral samples say: words for symbols, pictures for square vectors, numbers for the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from lvspec.emitted import EmittedModel
from lvspec.errors import UsageError
from lvspec.train.data.batches import collate
from lvspec.train.data.dataset import Dataset
from lvspec.train.data.encoders import Encoder, Numbers, Symbols
from lvspec.train.data.layout import BatchLayout, Field
from lvspec.train.evaluation.pictures import side
from lvspec.train.settings import DataSettings

SHADES = 64  # draws of a binary picture that are averaged


@dataclass(frozen=True)
class Draw:
    """One sample. text: words by variable. pictures: values in [0, 1]. numbers: everything else, latents included."""

    text: dict[str, str]
    pictures: dict[str, np.ndarray]
    numbers: dict[str, object]

    def to_json(self) -> dict:
        pictures = {name: picture.round(4).tolist() for name, picture in self.pictures.items()}
        return {**self.text, **pictures, **self.numbers}


@dataclass(frozen=True)
class Conditions:
    """What sampling starts from. given: values of given variables, from real examples. lengths: of ragged plates, (n,) each;
    a plate that stops itself may lack one."""

    given: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]


def needs_data(layout: BatchLayout, length: int | None, known: tuple[str, ...] = ()) -> bool:
    """Whether real examples have to say what is given, or how long a sequence without an end symbol is. known: what is given
    already."""
    left = [f for f in given_fields(layout) if f.name not in known]
    told = {plate.name for f in given_fields(layout) if f.name in known for _, plate in layout.ragged(f)}
    open_ended = any(p.ragged and p.end is None and p.name not in told for p in layout.plates)
    return bool(left) or (open_ended and length is None)


def given_fields(layout: BatchLayout) -> list[Field]:
    return [f for f in layout.fields if f.required and not f.modelled]


def conditions(
    layout: BatchLayout, train: Dataset | None, n: int, length: int | None, seed: int, known: tuple[str, ...] = ()
) -> Conditions:
    """n random examples lend their given values, but for what is known already, and their lengths; `length` sets those of all other
    plates, of which there has to be one."""
    fixed = {plate.name: f.name for f in given_fields(layout) for _, plate in layout.ragged(f)}
    given = [f for f in given_fields(layout) if f.name not in known]
    ragged = [p for p in layout.plates if p.ragged and p.within is None]
    if length is not None and all(p.name in fixed for p in ragged):
        tells = [f"{fixed[p.name]} is given along {p.name}, and tells" for p in ragged] or ["no plate here asks"]
        raise UsageError(f"--length: {tells[0]} how many sites an example has")
    batch: dict[str, Tensor] = {}
    if train is not None:
        batch = collate(train, np.random.default_rng(seed).integers(len(train), size=n).tolist())
    lengths = {}
    for plate in (p for p in layout.plates if p.ragged):
        if length is not None and plate.name not in fixed and plate.within is None:
            lengths[plate.name] = torch.full((n,), length)
        elif plate.name in batch and (plate.name in fixed or plate.end is None):
            lengths[plate.name] = batch[plate.name]
    return Conditions({f.name: batch[f.name] for f in given}, lengths)


@torch.no_grad()
def draws(
    model: EmittedModel,
    layout: BatchLayout,
    encoders: Mapping[str, Encoder],
    n: int,
    start: Conditions,
    seed: int,
    data: Mapping[str, DataSettings] = MappingProxyType({}),
) -> list[Draw]:
    """n ancestral samples, decoded. data: how each variable was read; what was split into characters has no blanks between them."""
    torch.manual_seed(seed)
    ends = end_ids(layout, encoders)
    options: dict[str, dict] = {"lengths": dict(start.lengths)} if start.lengths else {}
    options |= {"ends": ends} if ends else {}
    found = model.sample(n, **({"given": dict(start.given)} if start.given else {}), **options)
    shaded = _shaded(model, found, start, options, layout, encoders, n)
    found = {name: v.cpu() for name, v in {**found, **shaded, **start.given}.items() if isinstance(v, Tensor)}
    joined = {name for name, settings in data.items() if settings.tokenize == "characters"}
    return [_decoded(found, row, layout, encoders, start.lengths, n, joined) for row in range(n)]


def _shaded(
    model, found: dict, start: Conditions, options: dict, layout: BatchLayout, encoders, n: int
) -> dict[str, Tensor]:
    """Binary pictures as the mean of many draws at the same latents: shades of grey instead of single pixels' chance."""
    modelled = [f for f in layout.fields if f.modelled and f.name in found]
    names = [f.name for f in modelled if is_picture(f, found[f.name][0], encoders[f.name])]
    names = [name for name in names if encoders[name].kind == "binary"]
    known = {p.name for p in layout.plates} | {f.name for f in modelled}
    latents = {name: value for name, value in found.items() if name not in known}
    if not names or not latents:
        return {}
    again = [model.sample(n, given={**start.given, **latents}, **options) for _ in range(SHADES)]
    return {name: torch.stack([a[name].double() for a in again]).mean(0) for name in names}


def is_picture(field: Field, one: Tensor | np.ndarray, encoder: Encoder) -> bool:
    """A square vector of binary or real features, one an example."""
    vector = not field.plates and one.ndim == 1
    return bool(vector and isinstance(encoder, Numbers) and encoder.kind != "count" and side(one.shape[0]))


def end_ids(layout: BatchLayout, encoders: Mapping[str, Encoder]) -> dict[str, int]:
    """The id of the end symbol of each plate that stops itself."""
    found = {}
    for field in layout.fields:
        for _, plate in layout.ragged(field):
            encoder = encoders[field.name]
            if plate.end is not None and isinstance(encoder, Symbols) and encoder.end:
                found[plate.name] = encoder.end_id
    return found


def _decoded(
    found: dict[str, Tensor], row: int, layout: BatchLayout, encoders, lengths, n: int, joined: set[str]
) -> Draw:
    text, pictures, numbers = {}, {}, {}
    known = {f.name: f for f in (*layout.fields, *layout.hidden)}
    counted = {**found, **lengths}
    for name, value in found.items():
        field, encoder = known.get(name), encoders.get(name)
        if field is None or not field.batched or len(value) != n:
            continue
        one = _cut(value[row].numpy(), field, layout, counted, row)
        if isinstance(encoder, Symbols):
            text[name] = _words(one, encoder, "" if name in joined else " ")
        elif encoder is not None and not isinstance(one, list) and is_picture(field, one, encoder):
            pictures[name] = picture(one, encoder)
        else:
            numbers[name] = _numbers(one, _rounded if encoder is None else encoder.show)
    return Draw(text, pictures, numbers)


def _cut(
    one: np.ndarray, field: Field, layout: BatchLayout, lengths: Mapping[str, Tensor], row: int
) -> np.ndarray | list:
    """The sites that count; of a plate nested in the outermost one, an array for each site around it."""
    plates = {p.name: p for p in layout.plates}
    for axis, plate in enumerate(plates[name] for name in field.plates):
        if plate.length is not None and plate.length in lengths:
            one = one.take(range(int(lengths[plate.length][row]) + int(dict(plate.options).get("more", 0))), axis=axis)
        if not plate.ragged or plate.name not in lengths:
            continue
        length = lengths[plate.name][row]
        if length.dim() == 0:
            one = one.take(range(int(length)), axis=axis)
        elif axis == 1:
            return [o.take(range(int(k)), axis=0) for o, k in zip(one, length, strict=False)]
    return one


def _numbers(one: np.ndarray | list, show: Callable[[np.ndarray], object]) -> object:
    return [show(o) for o in one] if isinstance(one, list) else show(one)


def _rounded(one: np.ndarray) -> object:
    """Numbers of what no data hold."""
    return np.round(one.astype(np.float64), 4).tolist() if one.dtype.kind == "f" else one.tolist()


def _words(one: np.ndarray | list, table: Symbols, between: str) -> str:
    return " / ".join(words(o, table, between) for o in one) if isinstance(one, list) else words(one, table, between)


def words(ids: np.ndarray, table: Symbols, between: str = " ") -> str:
    """Symbols up to the end symbol, with blanks between words (nothing between characters)."""
    shown = table.show(ids)
    if isinstance(shown, str):
        return shown
    if table.end in shown:
        shown = shown[: shown.index(table.end)]
    if shown and isinstance(shown[0], list):
        return " / ".join(words(i, table, between) for i in ids)
    return between.join(shown)


def picture(values: np.ndarray, encoder) -> np.ndarray:
    """A square of ink between 0 and 1; real values relative to the training data's range of two deviations."""
    edge = side(values.size)
    assert edge is not None  # see is_picture
    if encoder.kind == "binary":
        return values.reshape(edge, edge).astype(float)
    mean, deviation = np.array(encoder.mean), np.sqrt(np.array(encoder.variance))
    low, high = (mean - 2 * deviation).min(), (mean + 2 * deviation).max()
    return np.clip((values - low) / max(high - low, 1e-9), 0, 1).reshape(edge, edge)
