"""Sizes at which every joint state can be named: small, and different wherever two could be confused.

K 45 -> 3     V 10000 -> 5     E 128, H 256 -> 3, 4     D 32 -> 2     plate l: 3 -> 2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, cycle

from lvspec.ir.dims import Dim
from lvspec.ir.networks import head_widths, heads_fit
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Size, Spec, Variable

CONVERGED = "(steps=10000, tolerance=1e-13)"
DATA = ("vocabulary", "categories")  # sizes that data know
STATES = 600  # joint assignments of one example that brute force goes through


def shrink(spec: Spec, states: int = STATES, fixed: Mapping[str, int] | None = None) -> dict[str, int]:
    """A small number for each size of the spec, so that an example of `longest(spec)` sites has few joint states; those
    that are fixed stay."""
    kept = {n: v for n, v in (fixed or {}).items() if n in {s.name for s in spec.sizes}}
    for cap in (3, 2):
        sizes = {**_sizes(spec, cap), **kept}
        if joint_states(spec, sizes, 3) <= states:
            return sizes
    return sizes


def pins(plan: Plan) -> dict[str, str | int]:
    """Entries of `infer:` that keep the plan's strategies when sizes shrink; two draws do for score functions."""
    found: dict[str, str | int] = {p.name: replace(p, options=_few(p.options)).text for p in plan.latents}
    found |= {n: f"{plan.latent(n).strategy}{CONVERGED}" for n in (*plan.mean_field, *plan.structured)}
    if plan.scored:
        found["samples"] = min(2, plan.samples)
    if plan.coupled:
        found["bound"] = replace(plan.bound, samples=min(2, plan.samples)).text
    return found


def _few(options: tuple[tuple[str, object], ...]) -> tuple[tuple[str, object], ...]:
    """The same for few values."""
    return tuple((n, 1 if n == "top" else v) for n, v in options)


def longest(spec: Spec, sizes: dict[str, int], states: int = STATES) -> int:
    """The length that ragged plates are given: the largest up to 4 with few enough joint states."""
    for length in (4, 3, 2):
        if joint_states(spec, sizes, length) <= states:
            return length
    return 2


def joint_states(spec: Spec, sizes: dict[str, int], length: int, variables: Sequence[Variable] | None = None) -> int:
    """How many joint assignments the finite latents of one example have, or these variables."""
    total = 1
    for latent in spec.of_role("latent") if variables is None else variables:
        support = latent.type.support
        if not support.finite:
            continue
        sites = 1
        for plate in latent.plates:
            sites *= _extent(spec, plate, sizes, length)
        for dim in latent.type.shape:
            sites *= _number(dim, sizes, length)
        total *= _number(support.values, sizes, length) ** sites
    return total


def _extent(spec: Spec, plate: str, sizes: dict[str, int], length: int) -> int:
    size = spec.plate(plate).size
    return length if size is None else _number(size, sizes, length)


def _number(dim: Dim, sizes: dict[str, int], length: int) -> int:
    return dim.evaluate({**{n: length for n in dim.names if n.startswith("|")}, **sizes})


def _sizes(spec: Spec, cap: int) -> dict[str, int]:
    """cap: the most that a latent's support has. Sizes differ: a table that is read along its other axis has
    another shape. Widths count up from 2, vocabularies from 4; what a user's own network
    takes stays as it is, since its class may ask for some numbers only."""
    vectors = {n for v in spec.of_role("latent") for d in v.type.shape for n in d.names}
    support = {n for v in spec.of_role("latent") if (c := v.type.support.cardinality) for n in c.names}
    plates = {n for p in spec.plates if p.size is not None for n in p.size.names}
    users = {n for network in spec.networks if network.path for d in network.sizes for n in d.names}
    sizes: dict[str, int] = {}
    states, sites, entries = cycle((cap, max(cap - 1, 2))), cycle((2, 3)), cycle((2, 3))
    for size in spec.sizes:
        if size.name in support:
            sizes[size.name] = min(next(states), size.value)
        elif size.name in plates:
            sizes[size.name] = min(next(sites), size.value)
        elif size.name in users and size.source == "number":
            sizes[size.name] = size.value
        elif size.name in vectors:
            sizes[size.name] = min(next(entries), size.value)
    words, widths = count(4), count(2)
    for size in (s for s in spec.sizes if s.name not in sizes):
        free = next(n for n in (words if size.source in DATA else widths) if n not in sizes.values())
        sizes[size.name] = min(free, max(size.value, 1)) if size.source == "number" else free
    for size in (s for s in spec.sizes if s.source == "number"):
        sizes[size.name] = _shared_by_heads(spec, size, sizes)
    return {s.name: sizes[s.name] for s in spec.sizes}


def _shared_by_heads(spec: Spec, size: Size, sizes: dict[str, int]) -> int:
    """The size, or the next one that no other has, where networks give each of their heads a part of it."""
    told = [n for n in spec.networks if n.option("heads") and size.name in n.arguments[-1].names]
    others = {v for n, v in sizes.items() if n != size.name}

    def fits(value: int) -> bool:
        parts = [head_widths(n, {**sizes, size.name: value}) for n in told]
        return all(p is None or heads_fit(*p) for p in parts)

    free = (v for v in range(sizes[size.name], size.value) if fits(v) and (not told or v not in others))
    return next(free, size.value) if told else sizes[size.name]
