"""Jointly Gaussian latents, integrated out together: elimination on a tree of linear-Gaussian factors.

∫∫ N(mu; m, S) Π_j N(effect_j; mu, Q) N(y_j; effect_j, R_j) d effect d mu        in O(J)

Each level of plates is integrated out given those around it, which leaves a quadratic form in them; along an ordered
plate one site after the other, and many latents without plates one after the other (ir/gaussian_order.py). Level and slope, intercept and weights, mean and effects, second-order chains and a
mixture of factor analysers are all of this form. Lauritzen & Jensen 2001; Särkkä 2013, chapter 4.
"""

from __future__ import annotations

from functools import partial
from math import prod

from lvspec.ir.elimination import SumStep
from lvspec.ir.plan import Integration
from lvspec.ir.words import listed
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.joint_gaussian import NAME, entries, find
from lvspec.plan.model import Model
from lvspec.plan.prices.budget import over_budget
from lvspec.plan.prices.gaussian_elimination import VectorElimination, pay_seen
from lvspec.plan.prices.price import OF_SUMS, Pricer, priced

# of an integral over all sites of a level at once, of one over a vector that goes by itself, of a site of a chain, as counted
ELIMINATION, STEP, TURN = 140, 240, 360
FACTOR_DISPATCHES = 60  # of each latent's prior, and of each variable that is seen, at all sites at once
ALIKE = 64  # sites of a chain after which the others take as many rows on average
NODES = 28_000  # what the graph of a chain's site takes beside its numbers, in numbers, as measured


def consider(view: View, latent) -> Claim | Declined:
    answers = view.shared(NAME, lambda: _answers(view))
    return answers[latent.name]


def _answers(view: View) -> dict[str, Claim | Declined]:
    """What is said of each latent; those of one block share a claim."""
    blocks = find(view)
    claims: dict[str, Claim | Declined] = {}
    for name, block in blocks.items():
        if isinstance(block, str):
            claims[name] = Declined(block)
        elif name not in claims:
            claim = _claim(view.model, block)
            claims |= {n: claim for n in block.latents}
    return claims


def _claim(model: Model, block: Integration) -> Claim | Declined:
    pay = partial(_pay, block=block)
    cost = priced(Pricer(model, set(block.parents)), pay)
    reason = over_budget(model, cost)
    if reason:
        return Declined(reason)
    chains = [level.chain for level in block.levels if level.chain]
    what = f"{listed(block.latents, ' and ')} are jointly Gaussian" if len(block.latents) > 1 else "linear-Gaussian"
    along = f" along {' and '.join(dict.fromkeys(chains))}" if chains else ""
    seen = f"seen through {listed(block.observed, ' and ')}" if block.observed else "read by nothing that is observed"
    given = f", for each value of {listed(block.parents, ' and ')}" if block.parents else ""
    why = f"{what}{along}, {seen}{given}: integrated out exactly, level by level"
    return Claim("integrated", True, why, pay, cost, integration=block)


# ---------------------------------------------------------------- price
def _pay(pricer: Pricer, block: Integration) -> None:
    """Coefficients, the rows (A | b) of what is seen, and one elimination of each level, site of a chain or vector: numbers
    of 8 bytes."""
    model, spec = pricer.model, pricer.model.spec
    size = partial(entries, model)
    values = prod(model.cardinality(n) for n in block.parents)
    for name in (*block.latents, *block.observed):
        pricer.factor(spec.variable(name))
    state = [sum(d * size(n) for n, d in zip(level.latents, level.depths, strict=True)) for level in block.levels]
    above = [0.0] * len(block.levels)  # entries of the levels around each
    for i, level in enumerate(block.levels):
        above[i] = 0.0 if level.above is None else state[level.above] + above[level.above]
    below = [0.0] * len(block.levels)  # rows that the levels within say at a site
    for i, level in reversed([*enumerate(block.levels)]):
        sites = float(model.sizes["B"] * values * prod(model.extent(p) for p in level.plates))
        seen = {n: size(n) * _inside(model, spec.variable(n).plates, level.plates) for n in level.observed}
        for name, rows in seen.items():
            read = sum(size(r) for r in _read(model, name) & {*block.latents}) if block.steps else state[i] + above[i]
            pay_seen(pricer, spec.variable(name), size(name), sites * rows, read + 1)
        new = sum(size(n) for n in level.latents)
        turns = model.extent(level.chain) if level.chain else 1
        if block.steps:
            gone = _one_after_the_other(model, block.steps, seen)
        elif level.chain:
            gone = _along(sum(seen.values()) + below[i], state[i], new, state[i] + above[i], turns)
        else:
            gone = [VectorElimination(sum(seen.values()) + below[i], new, new, above[i])]
        times = 1.0 if block.steps or not level.chain else 1 / max(len(gone), 1)  # sites of a chain that are told apart
        for one in gone:
            one.pay(pricer, sites * times, sites / turns)
        along = TURN * turns if level.chain and not block.steps else 0.0
        pricer.calls(along, 0.0)  # their nodes are counted below
        pricer.calls(STEP * len(block.steps) if block.steps else 0.0 if level.chain else ELIMINATION, OF_SUMS)
        pricer.calls(FACTOR_DISPATCHES * len((*level.latents, *level.observed)), OF_SUMS)
        pricer.holds(NODES * turns if level.chain else 0.0)
        if level.above is not None and gone:
            apart = [p for p in level.plates if p != level.chain]
            below[level.above] += gone[-1].left * _inside(model, apart, block.levels[level.above].plates)


def _along(rows: float, entries: float, new: float, others: float, turns: int) -> list[VectorElimination]:
    """The last sites of a chain, each with what is left of those after it."""
    gone: list[VectorElimination] = []
    for _ in range(min(turns, ALIKE)):
        gone.append(VectorElimination(rows + (gone[-1].left if gone else 0.0), entries, new, others, fewer=True))
    return gone


def _one_after_the_other(model: Model, steps: tuple[SumStep, ...], seen: dict[str, float]) -> list[VectorElimination]:
    """Vectors that go by themselves, each with what speaks of it: what is seen, and what is left of those before."""
    said = [(frozenset(_read(model, name)), rows) for name, rows in seen.items()]
    gone = []
    for step in steps:
        met = [(names, rows) for names, rows in said if step.axis in names]
        rest, size = step.clique - {step.axis}, entries(model, step.axis)
        one = VectorElimination(
            sum(rows for _, rows in met), size, size, sum(entries(model, n) for n in rest), fewer=True
        )
        said = [other for other in said if step.axis not in other[0]]
        if met:  # of what nothing speaks nothing is kept
            gone.append(one)
            said.append((frozenset(rest), one.left))
    return gone


def _read(model: Model, name: str) -> set[str]:
    return {r.name for r in model.reads(name)}


def _inside(model: Model, plates, outer) -> float:
    """How many sites on some plates there are at each site of others."""
    return float(prod(model.extent(p) for p in plates if p not in outer))
