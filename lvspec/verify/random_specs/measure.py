"""How many random specs hold which constructs, alone and in pairs."""

from __future__ import annotations

from collections.abc import Iterable

from lvspec.front import load
from lvspec.verify.random_specs.coverage import Coverage
from lvspec.verify.random_specs.generate import generate
from lvspec.verify.random_specs.held import constructs_of


def measure(seeds: Iterable[int]) -> Coverage:
    """The tables of random specs."""
    return _table((seed,) for seed in seeds)


def ask(pairs: Iterable[tuple[str, str]]) -> Coverage:
    """The tables of specs that are asked for two constructs each."""
    return _table((0, *pair) for pair in pairs)


def _table(numbers: Iterable[tuple[int | str, ...]]) -> Coverage:
    table = Coverage()
    for number in numbers:
        table.add(constructs_of(load(generate(*number), "random")))
    return table
