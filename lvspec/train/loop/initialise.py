"""First values of a model: a seed, rules per parameter, and the best of several short starts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import nn

from lvspec.emitted import EmittedModel
from lvspec.errors import UsageError
from lvspec.train.loop.harmonic import HarmonicTrees

_RULE = re.compile(r"\s*(?P<kind>\w+)\s*(\((?P<numbers>[^()]*)\))?\s*")

RULES: dict[str, Callable[..., object]] = {
    "normal": lambda p, mean=0.0, std=1.0: nn.init.normal_(p, mean, std),
    "uniform": lambda p, low=0.0, high=1.0: nn.init.uniform_(p, low, high),
    "constant": lambda p, value=0.0: nn.init.constant_(p, value),
    "zeros": lambda p: nn.init.zeros_(p),
    "ones": lambda p: nn.init.ones_(p),
    "xavier": lambda p, gain=1.0: nn.init.xavier_uniform_(p, gain),
    "orthogonal": lambda p, gain=1.0: nn.init.orthogonal_(p, gain),
    "eye": lambda p, value=1.0: nn.init.eye_(p).data.mul_(value),
}


HARMONIC = "harmonic"  # log of the expected counts in trees with short arcs: harmonic(c, pseudo_count)
UNIGRAM = "unigram"  # log of the training counts of each symbol, plus normal noise: unigram(0.5)
FROM_DATA = (UNIGRAM, HARMONIC)

Counts = Mapping[int, Sequence[int]]  # training counts of the symbols of each vocabulary, by its size


def initialise(
    model: EmittedModel, rules: Mapping[str, object], counts: Counts, trees: HarmonicTrees | None = None
) -> None:
    """`{transition: normal(0, 0.1), emission: unigram(0.5)}`; a network's name stands for all of its parameters."""
    for name, rule in rules.items():
        matching = [p for n, p in model.named_parameters() if n == name or n.startswith(f"{name}.")]
        if not matching:
            known = ", ".join(n for n, _ in model.named_parameters())
            raise UsageError(f"train.init: no parameter {name!r}; the model has {known}")
        kind, numbers = parsed(rule)
        from_data: dict[str, Callable] = {
            UNIGRAM: lambda p, noise=0.1: unigram(p, noise, counts),
            HARMONIC: partial(harmonic, name=name, trees=trees),
        }
        fill = RULES.get(kind) or from_data[kind]
        for parameter in matching:
            try:
                fill(parameter, *numbers)
            except (TypeError, ValueError, RuntimeError) as error:
                raise UsageError(
                    f"train.init.{name}: {rule!r} does not fit {tuple(parameter.shape)}: {error}"
                ) from error


@torch.no_grad()
def unigram(parameter: torch.Tensor, noise: float, counts: Counts) -> None:
    """Logits (..., V) that start at the words' frequencies: states then differ in what the data tell them apart by."""
    found = counts.get(parameter.shape[-1] if parameter.dim() else 0)
    if found is None:
        raise ValueError("its last axis is no vocabulary")
    frequencies = torch.tensor(found, dtype=parameter.dtype) + 1.0
    logits = (frequencies / frequencies.sum()).log()
    parameter.copy_(logits + noise * torch.randn(parameter.shape))


@torch.no_grad()
def harmonic(
    parameter: torch.Tensor, c: float = 0.0, pseudo_count: float = 1.0, *, name: str, trees: HarmonicTrees | None
) -> None:
    """Logits of a dependency model: the log of the expected counts in trees with short arcs (train/loop/harmonic.py)."""
    if trees is None or c < 0 or pseudo_count <= 0:
        raise ValueError("it needs training sentences, c >= 0 and a pseudo-count above 0")
    with torch.enable_grad():
        found = trees.counts(name, parameter, c)
    parameter.copy_((found + pseudo_count).log())


def parsed(rule: object) -> tuple[str, tuple[float, ...]]:
    """`normal(0, 0.1)` is ("normal", (0.0, 0.1)); a pair is taken as it is, a number is a constant."""
    if isinstance(rule, (int, float)):
        return "constant", (float(rule),)
    if isinstance(rule, (tuple, list)) and len(rule) == 2 and rule[0] in (*RULES, *FROM_DATA):
        return str(rule[0]), tuple(float(n) for n in rule[1])
    found = _RULE.fullmatch(str(rule))
    if found is None or found["kind"] not in (*RULES, *FROM_DATA):
        raise UsageError(f"train.init: {rule!r} is none of {', '.join((*RULES, *FROM_DATA))}, e.g. normal(0, 0.1)")
    pieces = [n for n in (found["numbers"] or "").split(",") if n.strip()]
    try:
        return found["kind"], tuple(float(n) for n in pieces)
    except ValueError as error:
        raise UsageError(f"train.init: {rule!r}: {error}") from error


def made(
    make: Callable[[], EmittedModel],
    seed: int,
    rules: Mapping[str, object],
    counts: Counts,
    trees: HarmonicTrees | None = None,
) -> EmittedModel:
    """A model whose first values depend on the seed (and the training counts) alone."""
    torch.manual_seed(seed)
    model = make()
    initialise(model, rules, counts, trees)
    return model


def restart_seed(seed: int, attempt: int) -> int:
    """Seeds of the short starts; the first one is the run's own."""
    return seed + 1_000_003 * attempt
