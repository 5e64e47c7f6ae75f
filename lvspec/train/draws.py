"""What a model's ancestral samples say: words for symbols, pictures for square vectors, numbers for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lvspec.errors import UsageError
from lvspec.train.dataset import Dataset
from lvspec.train.encoders import Encoder, Symbols
from lvspec.train.layout import Field, Layout
from lvspec.train.pictures import side

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


def drawn_lengths(layout: Layout, train: Dataset | None, n: int, seed: int) -> dict[str, Tensor]:
    """Lengths of real examples for the plates that do not end themselves."""
    random = np.random.default_rng(seed)
    open_ended = [p for p in layout.plates if p.ragged and p.end is None and p.within is None]
    if not open_ended:
        return {}
    if train is None or not len(train):
        raise UsageError(f"the plate {open_ended[0].name} has no end symbol: say --length")
    rows = random.integers(len(train), size=n)
    return {p.name: torch.tensor([int(train.examples[r].lengths[p.name]) for r in rows]) for p in open_ended}


@torch.no_grad()
def draws(
    model: nn.Module, layout: Layout, encoders: Mapping[str, Encoder], n: int, lengths: dict[str, Tensor], seed: int
) -> list[Draw]:
    """n ancestral samples, decoded."""
    torch.manual_seed(seed)
    ends = end_ids(layout, encoders)
    options = {**({"lengths": lengths} if lengths else {}), **({"ends": ends} if ends else {})}
    found = model.sample(n, **options)
    shaded = _shaded(model, found, layout, encoders, n)
    found = {name: value.cpu() for name, value in {**found, **shaded}.items() if isinstance(value, Tensor)}
    return [_decoded(found, row, layout, encoders, lengths, n) for row in range(n)]


def _shaded(model: nn.Module, found: dict[str, Tensor], layout: Layout, encoders, n: int) -> dict[str, Tensor]:
    """Binary pictures as the mean of many draws at the same latents: shades of grey instead of single pixels' chance."""
    names = [f.name for f in layout.fields if is_picture(f, found[f.name][0], encoders[f.name])] if found else []
    names = [name for name in names if encoders[name].kind == "binary"]
    latents = {name: value for name, value in found.items() if name not in {f.name for f in layout.fields}}
    if not names or not latents:
        return {}
    again = [model.sample(n, given=latents) for _ in range(SHADES)]
    return {name: torch.stack([a[name].double() for a in again]).mean(0) for name in names}


def is_picture(field: Field, one: Tensor | np.ndarray, encoder: Encoder) -> bool:
    """A square vector of binary or real features, one an example."""
    vector = not field.plates and one.ndim == 1 and not isinstance(encoder, Symbols)
    return bool(vector and encoder.kind != "count" and side(one.shape[0]))


def end_ids(layout: Layout, encoders: Mapping[str, Encoder]) -> dict[str, int]:
    """The id of the end symbol of each plate that stops itself."""
    found = {}
    for field in layout.fields:
        for _, plate in layout.ragged(field):
            encoder = encoders[field.name]
            if plate.end is not None and isinstance(encoder, Symbols) and encoder.end_id is not None:
                found[plate.name] = encoder.end_id
    return found


def _decoded(found: dict[str, Tensor], row: int, layout: Layout, encoders, lengths, n: int) -> Draw:
    text, pictures, numbers = {}, {}, {}
    known = {f.name: f for f in layout.fields}
    plates = {p.name for p in layout.plates}
    for name, value in found.items():
        if name in plates or value.dim() == 0 or len(value) != n:
            continue
        one = value[row].numpy()
        if name not in known:
            numbers[name] = np.round(one.astype(np.float64), 4).tolist() if one.dtype.kind == "f" else one.tolist()
            continue
        field, encoder = known[name], encoders[name]
        one = _cut(one, field, layout, {**found, **lengths}, row)
        if isinstance(encoder, Symbols):
            text[name] = words(one, encoder)
        elif is_picture(field, one, encoder):
            pictures[name] = picture(one, encoder)
        else:
            numbers[name] = encoder.show(one)
    return Draw(text, pictures, numbers)


def _cut(one: np.ndarray, field: Field, layout: Layout, lengths: Mapping[str, Tensor], row: int) -> np.ndarray:
    for axis, plate in layout.ragged(field):
        if plate.name in lengths and lengths[plate.name].dim() == 1:
            one = one.take(range(int(lengths[plate.name][row])), axis=axis)
    return one


def words(ids: np.ndarray, table: Symbols) -> str:
    """Symbols up to the end symbol, with blanks between words (none between characters)."""
    shown = table.show(ids)
    if isinstance(shown, str):
        return shown
    if table.end in shown:
        shown = shown[: shown.index(table.end)]
    if shown and isinstance(shown[0], list):
        return " / ".join(words(i, table) for i in ids)
    ordinary = [s for s in table.symbols if s not in ("<unk>", table.end)]
    return ("" if ordinary and max(map(len, ordinary)) == 1 else " ").join(shown)


def picture(values: np.ndarray, encoder) -> np.ndarray:
    """A square of ink between 0 and 1; real values relative to the training data's range of two deviations."""
    edge = side(values.size)
    if encoder.kind == "binary":
        return values.reshape(edge, edge).astype(float)
    mean, deviation = np.array(encoder.mean), np.sqrt(np.array(encoder.variance))
    low, high = (mean - 2 * deviation).min(), (mean + 2 * deviation).max()
    return np.clip((values - low) / max(high - low, 1e-9), 0, 1).reshape(edge, edge)
