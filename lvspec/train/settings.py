"""The `data:` and `train:` sections as values, with their defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from lvspec.errors import UsageError
from lvspec.front.sections import DATA, TRAIN
from lvspec.ir.options import Key


@dataclass(frozen=True)
class DataSettings:
    """How one variable is found in a data file and made into numbers.

    format: the name of a row of ir/formats.py; None: by the file's name.
    column: 1-based number or header name (conllu: form, upos, ...; trees: words, tags, tree); columns: "1-64" for a vector.
    field: dotted path in a JSON object. array: name in an npz. header: the table's first line names columns.
    headings: keep `= Title =` lines of text. lower, tokenize (whitespace | characters | none), min_count, max_size: the vocabulary.
    max_length: longer sequences are cut. lengths: "2-20", sequences of other lengths are left out. scale, shift: numbers become value * scale + shift.
    known: how many training examples keep the value of a latent. binarize: numbers above this fraction of the largest training value are 1. labels: the categories, in order
    (default: sorted).
    """

    format: str | None = None
    column: int | str | None = None
    columns: str | None = None
    field: str | None = None
    array: str | None = None
    header: bool | None = None
    headings: bool = False
    lower: bool = False
    tokenize: str = "whitespace"
    min_count: int = 1
    max_size: int | None = None
    max_length: int | None = None
    lengths: str | None = None
    scale: float = 1.0
    shift: float = 0.0
    binarize: float | None = None
    known: int | None = None
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class TrainSettings:
    """How a model is trained.

    method: gradient | em | hard_em (an epoch is one step of EM, in full batch). pseudo_count: added to EM's counts.
    delay, forgetting: natural-gradient steps of size (step + delay) ** -forgetting, of factors that the data set shares.
    inference: joint | alternating | aggressive (train/loop/alternation.py). inference_steps: of the guide's parameters in a row;
    None: 10, and of aggressive training at most 100.
    epochs, steps: whichever comes first (steps None: no limit). batch_size: examples; batch_tokens: sites, if set instead.
    optimizer: adam | adamw | sgd. schedule: constant | linear | cosine | plateau, after `warmup` steps of linear rise;
    linear and cosine fall to zero at the last step. clip: largest gradient norm, 0 for none.
    validate_every: steps between validations, None for once an epoch. patience: validations without improvement
    before stopping, 0 for never. restarts: short runs of restart_steps from different seeds, the best goes on.
    word_dropout: share of a prefix's words that the writer does not see. init: parameter -> (function, numbers).
    """

    method: str = "gradient"
    pseudo_count: float = 0.0
    delay: float = 1.0
    forgetting: float = 0.7
    inference: str = "joint"
    inference_steps: int | None = None
    epochs: int = 10
    steps: int | None = None
    batch_size: int = 32
    batch_tokens: int | None = None
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: str = "constant"
    warmup: int = 0
    clip: float = 0.0
    validate_every: int | None = None
    patience: int = 5
    seed: int = 0
    restarts: int = 1
    restart_steps: int = 50
    word_dropout: float = 0.0
    init: tuple[tuple[str, object], ...] = ()


ELSEWHERE = {"kl_weight", "free_bits"}  # keys of `train:` that the emitted module reads itself


def plain(section: Any) -> dict[str, object]:
    """A section, written as a mapping or as pairs, as a dict."""
    return dict(section.items() if isinstance(section, Mapping) else section or ())


def data_settings(section: Any) -> dict[str, DataSettings]:
    found = {name: _made(DataSettings, plain(entry), f"data.{name}") for name, entry in plain(section).items()}
    for name, settings in found.items():
        _check(settings, DATA, f"data.{name}")
        if settings.column is not None and settings.columns is not None:
            raise UsageError(
                f"data.{name}: `column` is one place in a table, `columns` are another: leave one of them out"
            )
    return found


def train_settings(section: Any) -> TrainSettings:
    entries = {k: v for k, v in plain(section).items() if k not in ELSEWHERE}
    if "init" in entries:
        entries["init"] = tuple(plain(entries["init"]).items())
    settings = _made(TrainSettings, entries, "train")
    _check(settings, TRAIN, "train")
    return settings


def _made(kind, entries: dict[str, object], where: str):
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(entries) - known)
    if unknown:
        raise UsageError(f"{where}: unknown setting {unknown[0]!r}; known: {', '.join(sorted(known))}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in entries.items() if v is not None}
    for f in fields(kind):
        if f.name in values and not _fits(values[f.name], str(f.type)):
            raise UsageError(f"{where}.{f.name}: expected {_shown(str(f.type))}, found {values[f.name]!r}")
    return replace(kind(), **values)


def _shown(annotation: str) -> str:
    words = {
        "int": "a whole number",
        "float": "a number",
        "str": "a text",
        "bool": "true or false",
        "tuple[str, ...]": "a list, [a, b]",
    }
    return " or ".join(words.get(n, n) for n in annotation.split(" | ") if n != "None")


_TYPES = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}


def _fits(value: Any, annotation: str) -> bool:
    """Whether a value is of an annotated type such as `int | None`; a truth value is no number."""
    names = [n for n in annotation.split(" | ") if n != "None"]
    return any(isinstance(value, _TYPES.get(n, tuple)) and (n == "bool" or not isinstance(value, bool)) for n in names)


def _check(settings: DataSettings | TrainSettings, table: tuple[Key, ...], where: str) -> None:
    """By the table that the file's own section is read with."""
    for key in table:
        value = getattr(settings, key.name, None)
        if value is None:
            continue
        if key.kind == "choice" and value not in key.choices:
            raise UsageError(f"{where}.{key.name}: {value!r} is none of {', '.join(key.choices)}")
        if key.kind in ("integer", "number") and (wanted := key.outside(value)):
            raise UsageError(f"{where}.{key.name}: must be {wanted}")
        if key.name == "lengths" and not _ascending(value):
            raise UsageError(f"{where}.lengths: {value!r} is no range, such as 2-20")


def _ascending(text: str) -> bool:
    match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text)
    return match is not None and int(match[1]) <= int(match[2] or match[1])
