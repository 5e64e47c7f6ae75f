"""What exact sums pay: eliminations, chains and structures, each once for all examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import inf, isqrt, prod

from lvspec.ir.axes import axis_of, lag_of, latent_of, sites_of
from lvspec.ir.expr import Dist
from lvspec.ir.sites import site_by_site
from lvspec.ir.spec import Variable
from lvspec.ir.structured import structure_of
from lvspec.plan.prices.contractions import pay_contractions
from lvspec.plan.prices.price import FLOAT, TRAINING, VIEW, Pricer

MESSAGES = (3, 2)  # numbers for each state and site of a chain: kept; in passing
LEAN = (12, 0)  # of a block's sites: copies with the site before, where each block starts (in double), two passes
DRAW_CELLS = {"VonMisesFisher": 1000}  # numbers that a draw has beside it: proposals, nodes of a quadrature
# of a site and a summed latent, as counted: of tables that are the same at all sites, of both passes side by side, of blocks
# side by side, of others; and what is done once for all sites
CHAIN_DISPATCHES, BOTH_DISPATCHES, BLOCK_DISPATCHES, MOVING_DISPATCHES, SUM_DISPATCHES = 5, 2.5, 12, 15, 60
BOTH_BYTES = 2**20  # of both passes' messages, up to which they go side by side: runtime/chains/two_way.py
VIEWS = 2  # buffers of a chain whose rows are taken apart
# exponentials that take as long as an entry of a message is moved about, as a product with an entry of a table of its own
MOVED, OWN = 0.5, 0.15
SCORED_DISPATCHES = 80  # of draws of a finite latent: their worth, their weights
DRAW_DISPATCHES = {"VonMisesFisher": 850}


@dataclass(frozen=True)
class RepeatedSum:
    """What is done once more where scaled sums have lost mass beside arcs of no chance, up to so many sites, as measured with
    parameters drawn at random: dispatches of a site, exponentials of an arc, numbers for each one of the messages."""

    sites: float
    dispatches: float
    exponentials: float
    numbers: float


AGAIN = (
    RepeatedSum(14, 0, 0, 1.0),
    RepeatedSum(150, 25, 0.3, 2.5),
    RepeatedSum(inf, 75, 2, 2.5),
)  # nothing; in double; of logs
SHORTEST, TURN, MOVES = 13, 60_000, 170  # when blocks of a chain go side by side: runtime/chains/blocked.py


def pay_sum(pricer: Pricer, component: tuple[str, ...], chain: str | None = None) -> None:
    """Summing a connected set of latents out of every factor that reads one of them.

    chain: the plate along which it is a dynamic program. In the lean mode about sqrt T sites are there at a time, and
    the forward pass is done twice.
    """
    model = pricer.model
    if chain is None or model.settings.get("memory") != "lean" or f"|{chain}|" not in model.sizes:
        _pay_sum(pricer, component, chain)
        return
    sites = model.sizes[f"|{chain}|"]
    whole = pricer.inner()
    _pay_sum(whole, component, chain)
    block = pricer.inner(model=replace(model, sizes={**model.sizes, f"|{chain}|": isqrt(sites)}))
    _pay_sum(block, component, chain, LEAN)
    pricer.flops += whole.flops * (TRAINING + 1) / TRAINING
    pricer.calls_again(whole, (TRAINING + 1) / TRAINING)
    pricer.nodes += block.dispatches  # of a block's operations there is a graph
    # each block's gradients of parameters are there before they are added to those of the others
    pricer.holds(block.kept + block.passing + sum(block.learned.values()))
    if site_by_site(model.spec, chain, component):
        pricer.paid = whole.paid | pricer.paid
    else:  # potentials, and their gradient, are there as a whole
        pricer.holds(2 * model.sizes["B"] * sites * prod(model.cardinality(n) for n in component))


def _pay_sum(
    pricer: Pricer, component: tuple[str, ...], chain: str | None, buffers: tuple[int, int] = MESSAGES
) -> None:
    model = pricer.model
    members = set(component)
    touched = [v for v in model.random() if v.name in members or any(r.name in members for r in model.reads(v.name))]
    scopes = [s for v in touched for s in _site_scopes(pricer, v, pricer.factor(v))]
    latents = {a for s in scopes for a in s if latent_of(a) in members}
    outer = {"B"} | {p for n in component for p in model.spec.variable(n).plates if p not in pricer.unrolled}
    extent = pricer.extent(outer)
    if any(map(lag_of, latents)):
        message = extent * prod(float(pricer.length(a)) for a in latents if lag_of(a))
        arriving = [a for a in latents if not lag_of(a)]
        work_of_sites = message * sum(pricer.length(a) for a in arriving)
        sites, rows = model.extent(chain) if chain else 1, extent / (model.extent(chain) if chain else 1)
        moves = any(outer & s for s in scopes if any(map(lag_of, s)))
        turns, times, of_site = float(sites), 1.0, float(MOVING_DISPATCHES if moves else CHAIN_DISPATCHES)
        if len(latents) == 2 and len(arriving) == 1 and _one_matrix(pricer, arriving[0]):
            turns, times = in_turns(sites, rows, pricer.length(arriving[0]))
            both = 2 * FLOAT * message <= BOTH_BYTES
            of_site = BLOCK_DISPATCHES if turns < sites else BOTH_DISPATCHES if both else CHAIN_DISPATCHES
        zeros = any(_has_zeros(model.spec.variable(n)) for n in component)
        again = next(a for a in AGAIN if not zeros or sites <= a.sites)
        pricer.flops += times * TRAINING * work_of_sites
        pricer.exponentials += MOVED * message + (OWN * moves + again.exponentials) * work_of_sites
        pricer.calls((of_site * len(arriving) + again.dispatches) * turns, 0.0, looped=turns == sites)
        pricer.calls(SUM_DISPATCHES * len(arriving), 0.0)
        kept, passing = (b * again.numbers * message for b in buffers)
        pricer.holds(kept + VIEWS * VIEW * turns, passing)
    else:
        place = {n: i for i, n in enumerate(component)}
        story = sorted(latents, key=lambda a: (place[latent_of(a)], a))
        pay_contractions(pricer, [s & (latents | outer) for s in scopes], story, frozenset(outer - {"B"}))
    for name in component:
        pay_structure(pricer, model.spec.variable(name))


def _has_zeros(latent: Variable) -> bool:
    """Whether arcs of a chain may have probability 0: `probs=(1 - less(m, a[t-1])) * exp(...)`."""
    body = latent.general.body
    probs = dict(body.arguments).get("probs") if isinstance(body, Dist) else None
    if probs is None or probs.type.support.kind == "simplex":
        return False
    values = probs.type.support.range
    return values.low == 0 and not values.open[0]


def _one_matrix(pricer: Pricer, name: str) -> bool:
    """Whether the transition of a chain is one table, the same for all sites and rows."""
    name = latent_of(name)
    return {latent_of(a) for a in pricer.factor(pricer.model.spec.variable(name))} == {name}


def in_turns(sites: int, rows: float, states: int) -> tuple[float, float]:
    """How many turns a chain of one matrix takes, in those of one site after the other, and how many times as much work:
    blocks of sites go side by side where that is quicker (runtime/chains/blocked.py)."""
    size = isqrt(3 * sites)
    if sites < SHORTEST * size or (sites - 4 * size) * TURN < sites * rows * states * (states**2 + MOVES):
        return sites, 1.0
    return size + (sites - 1) // size, float(states)


def pay_structure(pricer: Pricer, variable: Variable) -> None:
    """A distribution over structures, where the variable has one: its arguments, and its algorithm for all examples."""
    structure = structure_of(variable)
    if structure is None:
        return
    model, body = pricer.model, variable.general.dist
    pricer.factor(variable)
    numbers = {"T": float(model.extent(body.plate))}
    for name, value in body.arguments:
        for letter, size in zip(structure.axes_of(name), value.type.shape, strict=True):
            numbers[letter] = float(size.evaluate(model.sizes))
    rows = prod(model.extent(p) for p in variable.plates if p != body.plate) * model.sizes["B"]
    pricer.flops += TRAINING * rows * structure.work(numbers)
    pricer.calls(structure.dispatches * numbers[structure.turns] + structure.once(numbers), 0.0)
    pricer.exponentials += structure.exponentials * rows * structure.cells(numbers)
    pricer.holds(0.0, rows * structure.cells(numbers))


def drawing(name: str) -> Callable[[Pricer], None]:
    """The rule that pays for a latent that is drawn."""
    return partial(pay_sampling, name=name)


def pay_sampling(pricer: Pricer, name: str) -> None:
    """Every factor that depends on a latent that is drawn, at S draws, and its own q."""
    model = pricer.model
    for variable in (model.spec.variable(name), *(v for v, _ in model.readers_of(name))):
        pricer.factor(variable)
    if model.spec.variable(name).type.support.finite:
        pricer.calls(SCORED_DISPATCHES)
    pay_guide(pricer, name)


def refined_drawing(name: str, steps: int) -> Callable[[Pricer], None]:
    """The same where q's parameters take steps before: each is a forward and a backward pass, differentiated once more."""

    def pay(pricer: Pricer) -> None:
        once = pricer.inner()
        pay_sampling(once, name)
        times = 1 + 2 * steps
        pricer.flops += times * once.flops
        pricer.calls_again(once, times, 0.6)
        pricer.holds(times * once.kept, once.passing)
        pricer.learned |= once.learned
        pricer.paid |= once.paid

    return pay


def pay_guide(pricer: Pricer, name: str) -> None:
    """The q of a latent, where it has one."""
    for variable in pricer.guide:
        if variable.name == name and variable.role == "guide":
            pricer.factor(variable)
            pay_structure(pricer, variable)
            draws = pricer.extent(("S", "B", *variable.plates))
            family = getattr(variable.general.body, "family", "")
            pricer.calls(DRAW_DISPATCHES.get(family, 0), 0.0)
            pricer.holds(0.0, draws * DRAW_CELLS.get(family, 0))


def pay_rest(pricer: Pricer) -> None:
    """What is left of a step: observed variables that no latent reaches, and derived guides."""
    for variable in pricer.model.spec.of_role("observed"):
        pricer.factor(variable)
        pay_structure(pricer, variable)
    for variable in pricer.guide:
        if variable.role == "guide":
            pricer.factor(variable)


def _site_scopes(pricer: Pricer, variable: Variable, axes: frozenset[str]) -> list[frozenset[str]]:
    """A factor's scope, once for each site of the unrolled plates that it lives on."""
    sites = [p for p in variable.plates if p in pricer.unrolled]
    if not sites:
        return [axes]
    count = min(prod(pricer.model.extent(p) for p in sites), 64)
    return [frozenset(_at_site(pricer, a, i) for a in axes) for i in range(count)]


def _at_site(pricer: Pricer, axis: str, site: int) -> str:
    name = latent_of(axis)
    return axis if sites_of(axis) or name not in pricer.summed else axis_of(name, (site,), lag_of(axis))
