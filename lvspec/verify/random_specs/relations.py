"""What must hold of a module whatever its numbers are, without an oracle: one evaluation against another.

    an example alone, without its padding, is worth what it is worth in a batch
    examples in another order, or in two batches, are worth what they were
    sites of a bag, plates in another order and other names change nothing
    log p with a value missing = log Σ_v p(with the value v); the same of a latent that is given
    nothing but missing values has log p = 0
    float32 gives what float64 gives, but for its digits
    E_{x ~ p} ∇ log p(x) = 0: what `sample` draws is what log p is the density of

Draws, where there are any, are those of the subject, taken along with the examples and sites that they belong to.
"""

from __future__ import annotations

import copy
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lvspec.driver import compile_spec
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.expr import Dist, Number, PlateIndex, SizeRef, walk
from lvspec.ir.reads import bodies
from lvspec.ir.spec import Network, Param, Plate, Variable
from lvspec.ir.structured import structure_of
from lvspec.verify.checks.chance import critical_value
from lvspec.verify.checks.compare import attempt
from lvspec.verify.checks.subject import Subject, module_of
from lvspec.verify.oracle.draw import counted_plates, padded_extent, position_plate
from lvspec.verify.report import Check, relative_error

VALUE = 1e-9
LARGE = 1e4  # a log-density beyond comes of a number that single precision need not hold
FLOAT32 = 2e-3  # of the value, or of 1: log-densities of a few dozen sites add up roundings of 1e-7
GROUPS, ROWS = 12, 160  # of draws whose scores are averaged
Batch = dict[str, Tensor]
Relation = Callable[[Subject, int], tuple[float, float] | None]


def relation_checks(subject: Subject, seed: int) -> list[Check]:
    """Every relation that the model has."""
    checks: list[Check] = []
    for relation in RELATIONS:
        name = (relation.__doc__ or "").partition("\n")[0].rstrip(".").lower()
        checks += attempt(subject, name, partial(_checked, relation, name, subject, seed), refusable=True)
    return checks


def _checked(relation: Relation, name: str, subject: Subject, seed: int) -> list[Check]:
    found = relation(subject, seed)
    return [] if found is None else [Check(name, *found)]


def worth(subject: Subject, *at: Mapping[str, Tensor]) -> Tensor:
    """(B,): log p, log p(x, z) or the ELBO of each example, of the subject's own batch at its draws or of another at others."""
    return _worth(subject.objective(*at))


def _worth(found) -> Tensor:
    return next(v for v in (found.log_prob, found.log_joint, found.elbo, found.objective) if v is not None)


# ---------------------------------------------------------------- examples
def alone(subject: Subject, seed: int) -> tuple[float, float] | None:
    """An example alone, without padding."""
    if _together(subject):
        return None
    whole, errors = worth(subject), []
    for row in range(subject.rows):
        batch, draws = _row(subject, row)
        errors.append(relative_error(worth(subject, batch, draws), whole[row : row + 1]))
    return max(errors), VALUE


def reordered(subject: Subject, seed: int) -> tuple[float, float] | None:
    """Examples in another order."""
    order = torch.tensor([*range(1, subject.rows), 0])
    batch, draws = _rows(subject, order)
    expected = worth(subject)[order]
    return relative_error(worth(subject, batch, draws), expected), VALUE


def halved(subject: Subject, seed: int) -> tuple[float, float] | None:
    """Two batches, whose losses add up."""
    if subject.spec.free_bits or _together(subject):
        return None
    losses = []
    for rows in (torch.tensor([0]), torch.arange(1, subject.rows)):
        batch, draws = _rows(subject, rows)
        losses.append(len(rows) * subject.objective(batch, draws).loss.detach())
    whole = subject.rows * subject.objective().loss.detach()
    if not whole.isfinite():
        return None
    return relative_error(torch.stack(losses).sum(), whole), VALUE


def _together(subject: Subject) -> bool:
    """Whether examples meet: q at an optimum that is found in rounds ends where the batch's mean has settled."""
    return bool(subject.plan.mean_field or subject.plan.structured)


def _shared(subject: Subject) -> set[str]:
    return {v.name for v in subject.spec.variables if v.outside_batch}


def _rows(subject: Subject, rows: Tensor) -> tuple[Batch, Batch]:
    """Some examples of the batch, with their draws."""
    shared = _shared(subject)
    batch = {n: v if n in shared else v[rows] for n, v in subject.batch.items()}
    draws = {}
    for name, value in subject.draws.items():
        axis = 2 if name.endswith(".steps") else 1
        draws[name] = value if name.removesuffix(".steps") in shared else value.index_select(axis, rows)
    return batch, draws


def _row(subject: Subject, row: int) -> tuple[Batch, Batch]:
    """One example, cut to its own lengths: a site is left where it has none."""
    batch, draws = _rows(subject, torch.tensor([row]))
    supports = {position_plate(v) for v in subject.spec.variables}
    counted = [p for p in subject.spec.plates if p.ragged and p.name in batch and p.name not in supports]
    for plate in counted:
        extent = max(int(batch[plate.name].max()), 1)
        for v in subject.spec.variables:
            if plate.name not in v.plates:
                continue
            axis = v.plates.index(plate.name) + 1
            if v.name in batch:
                batch[v.name] = batch[v.name].narrow(axis, 0, extent)
            declared = [p.name for p in subject.spec.plates if p.name in v.plates]
            for name in (v.name, f"{v.name}.steps"):
                if name in draws:
                    lead = 3 if name.endswith(".steps") else 2
                    draws[name] = draws[name].narrow(lead + declared.index(plate.name), 0, extent)
        for inner in (p for p in counted if p.within == plate.name):
            batch[inner.name] = batch[inner.name].narrow(1, 0, extent)
    return batch, draws


# ---------------------------------------------------------------- sites and names
def renamed(subject: Subject, seed: int) -> tuple[float, float] | None:
    """Other names, and plates declared in another order."""
    spec = subject.spec
    if spec.derived:
        return None
    variables = (*spec.variables, *spec.guide, *spec.terms)
    params = [p for p in spec.params if not p.derived]  # such a name follows that of its latent
    parts = [p for v in variables for p in v.parts]
    named: Sequence[Variable | Plate | Param | Network] = (*variables, *spec.plates, *params, *spec.networks)
    names = {n.name: f"v{i}_{n.name}" for i, n in enumerate(named)}
    names |= {p: f"r_{p}" for p in parts}
    names |= {v.name: "_".join(f"r_{p}" for p in v.parts) for v in variables if v.name == "_".join(v.parts)}
    names = {old: new for old, new in names.items() if re.fullmatch(r"\w+", old) and old not in ("bag", "sequence")}
    text = re.sub(
        r"(?<![\w.])(" + "|".join(map(re.escape, names)) + r")(?![\w=])",
        lambda m: names[m[1]],
        _shuffled(spec.source.text, seed),
    )
    other = compile_spec(text)
    model = module_of(other.plan, other.Model, seed)
    model.load_state_dict({_renamed(k, names): v for k, v in subject.model.state_dict().items()})
    again = replace(subject, plan=other.plan, model=model)
    batch = {_renamed(k, names): v for k, v in subject.batch.items()}
    declared = [p.name for p in spec.plates]
    order = [next(o for o, n in names.items() if n == p.name) for p in other.plan.spec.plates]
    draws = {_renamed(k, names): _redeclared(subject, k, v, declared, order) for k, v in subject.draws.items()}
    return relative_error(worth(again, batch, draws), worth(subject)), VALUE


def _shuffled(text: str, seed: int) -> str:
    """The lines of `plates:` and of `params:` in another order."""
    rows, out = text.splitlines(), []
    while rows:
        row = rows.pop(0)
        out.append(row)
        if row in ("plates:", "params:"):
            block = []
            while rows and rows[0].startswith("  "):
                block.append(rows.pop(0))
            random.Random(seed).shuffle(block)
            out += block
    return "\n".join(out) + "\n"


def _renamed(key: str, names: Mapping[str, str]) -> str:
    """What is called after some of the names, as read_x_2.weight is after x_2 even where there is a network `read`."""
    own, dot, rest = key.partition(".")
    if own in names:
        return names[own] + dot + rest
    name = f"({'|'.join(sorted(map(re.escape, names), key=len, reverse=True))})(?![A-Za-z0-9])"
    own = re.sub(rf"(?:(?<=_)|^(?=\w+_observed$)){name}", lambda m: names[m[1]], own)
    return own + dot + re.sub(rf"(?<![A-Za-z0-9]){name}", lambda m: names[m[1]], rest)


def _redeclared(subject: Subject, name: str, value: Tensor, declared: list[str], order: list[str]) -> Tensor:
    """Draws have plates in the order of their declaration."""
    variable = subject.spec.variable(name.removesuffix(".steps"))
    mine = [p for p in declared if p in variable.plates]
    wanted = [p for p in order if p in variable.plates]
    lead = 1 + name.endswith(".steps") + (not variable.outside_batch)
    axes = list(range(value.dim()))
    axes[lead : lead + len(mine)] = [lead + mine.index(p) for p in wanted]
    return value.permute(axes)


def exchanged(subject: Subject, seed: int) -> tuple[float, float] | None:
    """Sites of a bag in another order."""
    bags = [p for p in subject.spec.plates if p.kind == "bag" and p.within is None and p.name in subject.batch]
    supports = {position_plate(v) for v in subject.spec.variables}
    nested = {p.within for p in subject.spec.plates}
    bags = [p for p in bags if p.name not in supports | nested | _numbered(subject)]
    if not bags:
        return None
    plate, batch, draws = bags[0].name, dict(subject.batch), dict(subject.draws)
    length = int(batch[plate][0])  # of the first example, whose first two sites change places
    if length < 2:
        return None
    for v in subject.spec.variables:
        if plate not in v.plates:
            continue
        if v.name in batch:
            batch[v.name] = _exchanged(batch[v.name], 0, v.plates.index(plate) + 1)
        declared = [p.name for p in subject.spec.plates if p.name in v.plates]
        for name in (v.name, f"{v.name}.steps"):
            if name in draws:
                lead = 1 + name.endswith(".steps")
                draws[name] = _exchanged(draws[name], lead, lead + 1 + declared.index(plate))
    return relative_error(worth(subject, batch, draws), worth(subject)), VALUE


def _numbered(subject: Subject) -> set[str]:
    """The plates whose own numbers something reads: of such a bag the order counts."""
    spec = subject.spec
    read = [b for v in (*spec.variables, *subject.plan.guide, *spec.terms) for c in v.clauses for b in bodies(c)]
    return {e.plate for body in read for e in walk(body) if isinstance(e, PlateIndex)}


def _exchanged(value: Tensor, rows: int, axis: int) -> Tensor:
    """The first example's first two sites, the other way round."""
    own = value.movedim((rows, axis), (0, 1)).clone()
    own[0, :2] = own[0, :2].flip(0)
    return own.movedim((0, 1), (rows, axis))


# ---------------------------------------------------------------- values by hand
def by_hand(subject: Subject, seed: int) -> tuple[float, float] | None:
    """A missing value, summed by hand."""
    if subject.plan.objective != "log_marginal":
        return None
    for v in subject.spec.of_role("observed"):
        support = v.type.support
        if support.finite and not v.type.shape and structure_of(v) is None and position_plate(v) is None:
            return _summed(subject, v.name, v.plates, subject.batch, True), VALUE
    return None


def by_hand_given(subject: Subject, seed: int) -> tuple[float, float] | None:
    """A latent's value, summed by hand."""
    if subject.plan.objective != "log_marginal":
        return None
    for v in subject.spec.of_role("latent"):
        finite = v.type.support.finite and not v.type.shape and position_plate(v) is None
        if finite and not v.outside_batch and structure_of(v) is None:
            shape = [subject.rows]
            shape += [padded_extent(subject.spec, p, subject.sizes, subject.length) for p in v.plates]
            batch = {**subject.batch, v.name: torch.zeros(shape, dtype=torch.long)}
            return _summed(subject, v.name, v.plates, batch, False), VALUE
    return None


def _summed(subject: Subject, name: str, plates: tuple[str, ...], batch: Batch, others: bool) -> float:
    """log p without the value of one site against log Σ_v p with it; `others`: whether the other sites are given."""
    support = subject.spec.variable(name).type.support
    values = support.values.evaluate(subject.sizes)
    shape = batch[name].shape[: 1 + len(plates)]
    observed = torch.full(shape, others)
    first: tuple[Any, ...] = (slice(None), *[0] * len(plates))
    hidden, given, parts = observed.clone(), observed.clone(), []
    hidden[first], given[first] = False, True
    for value in range(values):
        filled = batch[name].clone()
        filled[first] = value
        parts.append(worth(subject, {**batch, name: filled, f"{name}_observed": given}, {}))
    found = worth(subject, {**batch, f"{name}_observed": hidden}, {})
    there = _there(subject, plates)
    expected = torch.stack(parts).logsumexp(0)
    return relative_error(found[there], expected[there])


def _there(subject: Subject, plates: tuple[str, ...]) -> Tensor:
    """The examples that have a first site."""
    found = torch.ones(subject.rows, dtype=torch.bool)
    for p in plates:
        if subject.spec.plate(p).ragged:
            lengths = subject.batch[p]
            found &= (lengths if lengths.dim() == 1 else lengths[:, 0]) > 0
    return found


def all_missing(subject: Subject, seed: int) -> tuple[float, float] | None:
    """Nothing observed at all."""
    observed = subject.spec.of_role("observed")
    if subject.plan.objective != "log_marginal" or not observed or any(structure_of(v) for v in observed):
        return None
    if any(v.type.support.kind == "position" or position_plate(v) for v in subject.spec.variables):
        return None
    hidden = {
        f"{v.name}_observed": torch.zeros(subject.batch[v.name].shape[: 1 + len(v.plates)], dtype=torch.bool)
        for v in observed
    }
    found = worth(subject, {**subject.batch, **hidden}, {})
    return relative_error(found, torch.zeros_like(found)), VALUE


# ---------------------------------------------------------------- digits and draws
def single(subject: Subject, seed: int) -> tuple[float, float] | None:
    """Single precision."""
    expected = worth(subject).detach()
    subject.come_to_step()
    model = copy.deepcopy(subject.model).float()

    def narrow(values: Mapping[str, Tensor]) -> Batch:
        return {n: v.float() if v.is_floating_point() else v for n, v in values.items()}

    batch, draws = narrow(subject.batch), narrow(subject.draws)
    found = model(batch, draws=draws) if draws else model(batch)
    value = _worth(found)
    told = (expected.abs() < LARGE) | expected.isinf()
    return relative_error(value[told], expected[told]), FLOAT32


def score(subject: Subject, seed: int) -> tuple[float, float] | None:
    """The mean score of samples, in standard errors."""
    spec = subject.spec
    exact = subject.plan.objective == "log_marginal" and spec.of_role("observed")
    yields = any((s := structure_of(v)) and s.value == "yield" for v in spec.of_role("observed"))
    if not exact or yields or any(p.end or p.null for p in spec.plates) or _shared(subject) or _together(subject):
        return None
    lengths = {p.name: 2 for p in spec.plates if p.ragged and p.name in counted_plates(spec)}
    given = {v.name: subject.batch[v.name][:1] for v in spec.of_role("given")}
    if any(v.dim() > 1 and v.shape[1] < 2 for v in given.values()):
        return None
    if any(_moving_support(v) for v in spec.of_role("observed")):
        return None
    if not any(p.requires_grad for p in subject.model.parameters()):
        return None
    kept = [v.name for v in spec.of_role("observed")]
    means = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(GROUPS):
            rows = {n: v.expand(ROWS, *v.shape[1:]) for n, v in given.items()}
            drawn = subject.model.sample(ROWS, given=rows, lengths=lengths)
            batch = {**rows, **{n: drawn[n] for n in kept}, **{p: drawn[p] for p in lengths}}
            value = worth(subject, batch, {})
            means.append(subject.flat(subject.gradients(value.mean())))
    scores = torch.stack(means)
    unseen = scores.abs().max() / GROUPS  # what draws that are too rare to be seen can change
    error, spread = (scores.mean(0).abs() - unseen).clamp_min(0), scores.std(0) / math.sqrt(GROUPS)
    moved = spread > 1e-12
    z = float((error[moved] / spread[moved]).max()) if moved.any() else 0.0
    return z, 2 * critical_value(int(moved.sum()), GROUPS)


def _moving_support(variable: Variable) -> bool:
    """Whether parameters may move where a value can lie, between `low` and `high`: the mean score is not 0 there."""
    drawn = [c.body.source for c in variable.clauses if isinstance(c.body, Dist)]
    bounds = [d.argument(n) for d in drawn if all(FAMILIES[d.family].between) for n in FAMILIES[d.family].between]
    return not all(isinstance(b, Number | SizeRef) for b in bounds)


RELATIONS: tuple[Relation, ...] = (
    alone,
    reordered,
    halved,
    renamed,
    exchanged,
    by_hand,
    by_hand_given,
    all_missing,
    single,
    score,
)
