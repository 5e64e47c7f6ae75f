"""Every question asked of a `Structured`, against brute force: a plain sum over all structures of each example."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from lvspec.runtime.core.structured import Parts, Structured, Undefined

Found = list[list[tuple[str, tuple[int, ...]]]]  # the structures of one example, each the list of its parts
FALSE_ALARM = 1e-6
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Family:
    """make(potentials, lengths) -> Structured. structures(length): all of one example.
    potentials(lengths, generator) -> log-potentials in float64, of any shapes that `make` takes."""

    make: Callable[[Parts, Sequence], Structured]
    structures: Callable[[object], Iterable]
    potentials: Callable[[Sequence, torch.Generator], Parts]


# ---------------------------------------------------------------- brute force
def entry(potential: list, row: int, index: tuple[int, ...]) -> float:
    """potential[row, *index] of nested lists; one row stands for all."""
    value = potential[0] if len(potential) == 1 else potential[row]
    for i in index:
        value = value[i]
    return value


def scores(potentials: Parts, row: int, found: Found) -> list[float]:
    lists = {n: p.tolist() for n, p in potentials.items()}
    return [math.fsum(entry(lists[n], row, index) for n, index in parts) for parts in found]


def log_sum(values: Sequence[float]) -> float:
    top = max(values, default=-math.inf)
    return top + math.log(math.fsum(math.exp(v - top) for v in values)) if top > -math.inf else -math.inf


def probabilities(values: Sequence[float]) -> list[float]:
    total = log_sum(values)
    return [math.exp(v - total) if total > -math.inf else 0.0 for v in values]


def counts(potentials: Parts, rows: int, found: list[Found], weights: list[list[float]]) -> Parts:
    """sum over structures of weight * how often each part is used: (B, ...)."""
    sums = {n: torch.zeros(rows, *p.shape[1:], dtype=torch.float64) for n, p in potentials.items()}
    for row in range(rows):
        for parts, weight in zip(found[row], weights[row], strict=True):
            for name, index in parts:
                sums[name][(row, *index)] += weight
    return sums


def key_of(parts: Parts) -> tuple:
    """What tells one example's structures apart: which parts, and how often."""
    return tuple(
        (name, *map(tuple, p.nonzero().tolist()), *p[p != 0].tolist()) for name, p in sorted(parts.items()) if p.any()
    )


def close(got: Tensor, wanted, tolerance: float = TOLERANCE) -> bool:
    """Equal to `tolerance`, relative to max(1, |wanted|); infinities must be the same."""
    wanted = torch.as_tensor(wanted, dtype=torch.float64)
    got = got.detach().double()
    if got.shape != wanted.shape:
        return False
    same = (got - wanted).abs() <= tolerance * wanted.abs().clamp(min=1.0)
    return bool((same | (got == wanted)).all())


def all_close(got: Parts, wanted: Parts, tolerance: float = TOLERANCE) -> bool:
    return got.keys() == wanted.keys() and all(close(got[n], wanted[n], tolerance) for n in wanted)


# ---------------------------------------------------------------- the questions
def assert_exact(family: Family, potentials: Parts, lengths: Sequence, seed: int = 0, ways: int = 4) -> None:
    """Every question but `sample`, of a batch of examples of these lengths."""
    rows = len(lengths)
    found = [list(family.structures(n)) for n in lengths]
    every = [scores(potentials, row, found[row]) for row in range(rows)]
    chances = [probabilities(v) for v in every]
    p = family.make(potentials, lengths)
    totals = [log_sum(v) for v in every]
    assert close(p.log_partition, totals), (p.log_partition, totals)

    marginals = counts(potentials, rows, found, chances)
    assert_marginals(p, potentials, marginals)
    assert_best(p, potentials, found, every, ways)
    possible = [sum(v > -math.inf for v in values) for values in every]
    ask(p, "log_count", lambda: close(p.log_count, [math.log(c) if c else -math.inf for c in possible]))

    entropies = [expected(c, [t - s for s in v]) for c, v, t in zip(chances, every, totals, strict=True)]
    ask(p, "entropy", lambda: close(p.entropy, entropies))
    other = moved(potentials, seed)
    theirs = [scores(other, row, found[row]) for row in range(rows)]
    crosses = [expected(c, [log_sum(v) - s for s in v]) for c, v in zip(chances, theirs, strict=True)]
    q = family.make(other, lengths)
    ask(p, "entropy", lambda: close(p.cross_entropy(q), crosses))
    ask(p, "entropy", lambda: close(p.kl(q), [c - e for c, e in zip(crosses, entropies, strict=True)]))
    ask(p, "entropy", lambda: close(p.kl(p), [0.0] * rows))
    assert_log_prob(p, potentials, found, every, totals)


def assert_marginals(p: Structured, potentials: Parts, marginals: Parts) -> None:
    rows = p.rows
    summed = {n: m.sum(0, keepdim=True) if potentials[n].shape[0] == 1 else m for n, m in marginals.items()}
    ask(p, "marginals", lambda: all_close(p.marginals, marginals))
    ask(p, "marginals", lambda: all_close(p.expected_counts, summed))
    with torch.no_grad():
        ask(p, "marginals", lambda: all_close(p.marginals, marginals))
    weights = torch.linspace(-1.0, 2.0, rows, dtype=torch.float64)  # of log Z, by its own gradient and not one's
    leaves = {n: x.detach().clone().requires_grad_() for n, x in potentials.items()}
    value = (Structured(p.program, leaves, rows, p.fast, p.undefined).log_partition * weights).sum()
    if value.requires_grad:  # some structure has parts
        value.backward()
    for name, m in marginals.items():
        wanted = m * weights.reshape(-1, *[1] * (m.dim() - 1))
        wanted = wanted.sum(0, keepdim=True) if potentials[name].shape[0] == 1 else wanted
        grad = leaves[name].grad
        assert close(torch.zeros_like(wanted) if grad is None else grad, wanted), name


def assert_best(p: Structured, potentials: Parts, found: list[Found], every: list[list[float]], ways: int) -> None:
    """The best structures' scores in order, and structures that have these scores, no two of them the same."""
    ranked = [sorted((v for v in values if v > -math.inf), reverse=True) for values in every]
    best = [[r[i] if i < len(r) else -math.inf for r in ranked] for i in range(ways)]
    wanted = torch.tensor(best, dtype=torch.float64)
    known = [
        {
            key_of(row_of(counts(potentials, 1, [[s]], [[1.0]]), 0))
            for s, v in zip(f, values, strict=True)
            if v > -math.inf
        }
        for f, values in zip(found, every, strict=True)
    ]

    def right(values: Tensor, parts: Parts) -> bool:
        for row, rank in enumerate(ranked):
            keys = [key_of(row_of({n: x[i] for n, x in parts.items()}, row)) for i in range(min(ways, len(rank)))]
            if len(set(keys)) < len(keys) or not set(keys) <= known[row]:
                return False
            if any(x[len(rank) :, row].any() for x in parts.values()):
                return False
        alive = wanted > -math.inf
        return close(values, wanted) and close(p.score(parts)[alive], wanted[alive])

    ask(p, "k_best", lambda: right(*p.k_best(ways)))

    def best_is_right() -> bool:
        mode = p.mode
        alive = [bool(r) for r in ranked]
        known_best = [
            key_of(row_of(mode, row)) in known[row] if alive[row] else not any(x[row].any() for x in mode.values())
            for row in range(p.rows)
        ]
        best = torch.tensor([r[0] for r in ranked if r], dtype=torch.float64)
        return all(known_best) and close(p.score(mode)[torch.tensor(alive)], best)

    ask(p, "mode", best_is_right)


def assert_log_prob(p: Structured, potentials: Parts, found: list[Found], every, totals) -> None:
    """Of the first and the last structure of every example, together."""
    for pick in (0, -1):
        if not all(found):
            return
        parts = counts(potentials, p.rows, [[f[pick]] for f in found], [[1.0]] * p.rows)
        wanted = [v[pick] - t if t > -math.inf else -math.inf for v, t in zip(every, totals, strict=True)]
        assert close(p.log_prob(parts), wanted)


def assert_samples(family: Family, potentials: Parts, length, draws: int = 4000, passes: int = 10) -> None:
    """Draws of row 0 fit the structures' probabilities (chi-square at a false-alarm rate of 1e-6)."""
    one = {n: x[:1] for n, x in potentials.items()}
    found = list(family.structures(length))
    chances: Counter = Counter()
    for parts, chance in zip(found, probabilities(scores(one, 0, found)), strict=True):
        chances[key_of(row_of(counts(one, 1, [[parts]], [[1.0]]), 0))] += chance
    rows = draws // passes
    many = {n: x.expand(rows, *x.shape[1:]) for n, x in one.items()}
    drawn = family.make(many, [length] * rows).sample(passes)
    seen = Counter(
        key_of(row_of({n: x[i] for n, x in drawn.items()}, row)) for i in range(passes) for row in range(rows)
    )
    strange = [k for k in seen if not chances[k] > 0]
    assert not strange, strange[:3]
    assert goodness_of_fit(seen, chances, rows * passes) > FALSE_ALARM


def goodness_of_fit(seen: Counter, chances: Counter, draws: int) -> float:
    """The chi-square test's p-value; structures that are expected fewer than 10 times are counted together."""
    often = [k for k, c in chances.items() if c * draws >= 10]
    pairs = [(seen[k], chances[k] * draws) for k in often]
    rare = (draws - sum(s for s, _ in pairs), draws - math.fsum(e for _, e in pairs))
    pairs += [rare] if rare[1] >= 10 else []
    if len(pairs) < 2:
        return 1.0
    statistic = math.fsum((s - e) ** 2 / e for s, e in pairs)
    half = torch.tensor([(len(pairs) - 1) / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def assert_differentiable_twice(family: Family, potentials: Parts, lengths: Sequence) -> None:
    """gradcheck and gradgradcheck of log Z, and gradcheck of the entropy (second derivatives by another way)."""
    names = list(potentials)
    leaves = [potentials[n].detach().clone().requires_grad_() for n in names]

    def total(*xs):
        return family.make(dict(zip(names, xs, strict=True)), lengths).log_partition

    def entropy(*xs):
        return family.make(dict(zip(names, xs, strict=True)), lengths).entropy

    assert torch.autograd.gradcheck(total, leaves)
    assert torch.autograd.gradgradcheck(total, leaves)
    if "entropy" not in family.make(potentials, lengths).undefined:
        assert torch.autograd.gradcheck(entropy, leaves)


# ---------------------------------------------------------------- pieces
def ask(p: Structured, question: str, answered: Callable[[], bool]) -> None:
    """The answer is right, or refused with a reason."""
    if question in p.undefined:
        with pytest.raises(Undefined):
            answered()
    else:
        assert answered(), question


def row_of(parts: Parts, row: int) -> Parts:
    return {n: x[row] for n, x in parts.items()}


def expected(chances: Sequence[float], values: Sequence[float]) -> float:
    return math.fsum(c * v for c, v in zip(chances, values, strict=True) if c > 0)


def moved(potentials: Parts, seed: int) -> Parts:
    """Other potentials, with the same ones forbidden."""
    generator = torch.Generator().manual_seed(seed + 1)
    return {n: x + torch.randn(x.shape, generator=generator, dtype=x.dtype) for n, x in potentials.items()}


def forbidden(potentials: Parts, share: float, seed: int = 0) -> Parts:
    """The same with a share of the entries at -inf."""
    generator = torch.Generator().manual_seed(seed + 2)
    return {
        n: x.masked_fill(torch.rand(x.shape, generator=generator) < share, -torch.inf) for n, x in potentials.items()
    }
