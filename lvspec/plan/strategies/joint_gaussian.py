"""Jointly Gaussian latents, integrated out together: elimination on a tree of linear-Gaussian factors.

∫∫ N(mu; m, S) Π_j N(effect_j; mu, Q) N(y_j; effect_j, R_j) d effect d mu        in O(J)

Each level of plates is integrated out given those around it, which leaves a quadratic form in them; along an ordered
plate one site after the other, and many latents without plates one after the other (ir/gaussian_order.py). Level and slope, intercept and weights, mean and effects, second-order chains and a
mixture of factor analysers are all of this form. Lauritzen & Jensen 2001; Särkkä 2013, chapter 4.
"""

from __future__ import annotations

from functools import partial
from math import prod

from lvspec.ir.gaussian_levels import depths
from lvspec.ir.gaussian_order import one_by_one
from lvspec.ir.words import listed
from lvspec.plan.budget import over_budget
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.gaussian_blocks import NAME, Block, find
from lvspec.plan.model import Model
from lvspec.plan.price import FACTORISATION, SLOWER, TRAINING, Pricer, priced

DISPATCHES, FACTOR_DISPATCHES = 80, 200  # of a level, or of one site of a chain, and of each factor there, as counted
STEP_DISPATCHES = 230  # of a vector that goes by itself, as counted
NODES = 28_000  # what the graph of a chain's site takes beside its numbers, in numbers, as measured


def consider(view: View, latent) -> Claim | Declined:
    answers = view.shared(NAME, lambda: _answers(view))
    return answers[latent.name]


def _answers(view: View) -> dict[str, Claim | Declined]:
    """What is said of each latent; those of one block share a claim."""
    blocks, claims = find(view), {}
    for name, block in blocks.items():
        if isinstance(block, str):
            claims[name] = Declined(block)
        elif name not in claims:
            claims |= dict.fromkeys(block.latents, _claim(view.model, block))
    return claims


def _claim(model: Model, block: Block) -> Claim | Declined:
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
    return Claim("integrated", True, why, pay, cost, integration=block.integration)


# ---------------------------------------------------------------- price
def _pay(pricer: Pricer, block: Block) -> None:
    """Coefficients, and at each site a few products and a factorisation of all that stands there: numbers of 8 bytes."""
    model, spec = pricer.model, pricer.model.spec
    held, around = depths(spec, block.levels), {None: 0}
    steps = one_by_one(spec, block.levels, lambda name: _size(model, name))
    values = prod(model.cardinality(n) for n in block.parents)
    for name in (*block.latents, *block.observed):
        pricer.factor(spec.variable(name))
    for i, level in enumerate(block.levels):
        sizes = {n: _size(model, n) for n in level.latents}
        own = sum(held[n] * size for n, size in sizes.items())
        around[i] = own + around[level.above]
        width = around[i] + (own if level.chain else 0)
        widths = [sum(sizes[n] for n in s.clique) for s in steps] or [
            width
        ]  # of what meets, each time that something goes
        sites = float(model.sizes["B"] * values * prod(model.extent(p) for p in level.plates))
        flops, cells = (
            sum(3.0 * w**3 for w in widths),
            sum(4.0 * w**2 for w in widths),
        )  # cells: kept for backward, as counted
        for name in level.observed:
            inner = prod(model.extent(p) for p in spec.variable(name).plates if p not in level.plates)
            N, D = (
                _size(model, name),
                sum(held[n] * _size(model, n) for n in {r.name for r in model.reads(name)} & {*held}),
            )
            flops += inner * (N * N * D + N * D * D)
            cells += inner * (2.0 * N * (D + 1) + D * D)
            noise = pricer.extent(pricer.axes(spec.variable(name).general.body.arguments[1][1]))
            pricer.flops += TRAINING * noise * N**3
            pricer.holds(2 * noise * 3.0 * N * N)
        pricer.flops += TRAINING * sites * flops
        pricer.exponentials += TRAINING * sites * (FACTORISATION * len(widths) + flops / SLOWER)
        pricer.holds(2 * sites * cells, 4 * sites * (max(widths) if steps else around[i]) ** 2)
        pricer.dispatches += STEP_DISPATCHES * len(steps)
        turns = model.extent(level.chain) if level.chain else 1
        pricer.dispatches += turns * (DISPATCHES + FACTOR_DISPATCHES * len((*level.latents, *level.observed)))
        pricer.holds(NODES * turns if level.chain else 0.0)


def _size(model: Model, name: str) -> int:
    shape = model.spec.variable(name).type.shape
    return shape[0].evaluate(model.sizes) if shape else 1
