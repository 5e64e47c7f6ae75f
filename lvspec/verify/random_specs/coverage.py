"""Which constructs random specs have to hold, alone and in pairs, and how often they do.

    python -m benchmarks.constructs --specs 10000

What no random spec can hold is left out by a rule that says why, and so is a pair that no one spec can hold.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import combinations

from lvspec.ir.distributions import FAMILIES, IMPROPER
from lvspec.ir.flows import FLOWS
from lvspec.ir.structures import STRUCTURES
from lvspec.verify.random_specs.constructs import listed

LABELS = tuple(n for n, s in STRUCTURES.items() if s.value == "labels")
YIELDS = tuple(n for n, s in STRUCTURES.items() if s.value == "yield")
NO_ENGINE = tuple(n for n, f in FAMILIES.items() if not f.engine and n not in ("SphericalUniform", "Delta"))
ONE_WAY = tuple(n for n, f in FLOWS.items() if f.inverse is None)


def _any(*names: Iterable[str]) -> str:
    return "|".join(re.escape(n) for group in names for n in group)


# (constructs, why no random spec holds them)
LEFT_OUT: tuple[tuple[str, str], ...] = (
    (
        rf".*\b({_any(NO_ENGINE)})\b.*|if then else|views|tied parameter|prior of a parameter",
        "read, without an engine yet",
    ),
    (rf"(latent|guide|global) ({_any(YIELDS)})", "a yield is observed"),
    (rf"global ({_any(STRUCTURES)})", "a structure stands on a plate of an example"),
    (rf"(observed|guide|global) ({_any(IMPROPER)})", "no distribution: a prior of a point alone"),
    (r"(latent|observed|global) Delta|Delta\.value = number", "a point is a guide"),
    (rf"({_any(ONE_WAY)}) of a (latent|observed)", "a given value has no density under a flow without an inverse"),
    (r"(observed|guide) NormalInverseWishart", "a pair is a latent whose q is in closed form"),
    (r"zuko\.NAF of a (latent|observed)|zuko\.MAF\(inverted\)|Module.*", "beside brute force: has tests of its own"),
    (r"plate bag\(counts\)", "read, without an engine yet"),
    (r"observed on latent length", "what a variable counts is latent"),
    (r"size of the data|per_example", "of data and their readers: has tests of its own"),
)


@cache
def drawn() -> tuple[str, ...]:
    """The constructs that random specs hold."""
    return tuple(c for c in listed() if left_out(c) is None)


def left_out(construct: str) -> str | None:
    """Why no random spec holds a construct; None where some do."""
    return next((why for pattern, why in LEFT_OUT if re.fullmatch(pattern, construct)), None)


# ---------------------------------------------------------------- pairs
# (one, the other, why no spec holds both)
APART: tuple[tuple[str, str, str], ...] = (
    (r"\d.* latents", r"\d.* latents", "a model has one number of latents"),
    (
        r"0 latents",
        r"(latent|guide|global|infer|bound|kl_weight|free_bits) .*|first clause of guide|.* of a (latent|guide)",
        "no latent",
    ),
    (r"no plate at all", r"plate .*|.*plate.*|.* on .*|.*\[.*t.*\].*|.* within .*|.* of a stretch", "no plate"),
    (r"guide: .*", r"guide: .*", "one family of derived guides"),
    (r"memory: .*", r"memory: .*", "one setting"),
    (r"bound \w+.*", r"bound \w+.*", "one bound"),
)


def apart(a: str, b: str) -> str | None:
    """Why no spec holds both constructs; None where one can, as a setting and its own option."""
    if a.startswith(f"{b}(") or b.startswith(f"{a}("):
        return None
    for first, second, why in APART:
        if (re.fullmatch(first, a) and re.fullmatch(second, b)) or (re.fullmatch(first, b) and re.fullmatch(second, a)):
            return why
    return None


# ---------------------------------------------------------------- the tables
class Table:
    """How many specs hold each construct, and each pair."""

    def __init__(self) -> None:
        self.specs = 0
        self.single: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()

    def add(self, found: frozenset[str]) -> None:
        self.specs += 1
        ordered = sorted(found)
        self.single.update(ordered)
        self.pairs.update(combinations(ordered, 2))

    def rare(self, share: float) -> list[tuple[str, int]]:
        """Constructs in a smaller share of the specs."""
        return [(c, self.single[c]) for c in drawn() if self.single[c] < share * self.specs]

    def missing(self) -> list[tuple[str, str]]:
        """Sensible pairs that no spec holds."""
        return [(a, b) for a, b in combinations(sorted(drawn()), 2) if (a, b) not in self.pairs and apart(a, b) is None]


def measure(seeds: Iterable[int]) -> Table:
    """The tables of random specs."""
    from lvspec.front import load
    from lvspec.verify.random_specs.generate import generate
    from lvspec.verify.random_specs.held import constructs_of

    table = Table()
    for seed in seeds:
        table.add(constructs_of(load(generate(seed), f"random_{seed}")))
    return table
