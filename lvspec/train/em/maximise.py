"""The M step: new tables from gradients g of log p(x) and from how often each row of a table is used, N.

Categorical   n = g + N p, p ← n / Σ n             Poisson       λ ← λ + (g / λ'(θ)) λ / N
Bernoulli     p ← p + g / N                        Exponential   1/λ ← 1/λ - g / (λ'(θ) N)
Normal        μ ← μ + σ² g_μ / N,  then  N σ² ← σ³ g_σ / σ'(θ) + N σ² - Σ N (new μ - μ)²
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lvspec.emitted import EmittedModel
from lvspec.ir.spec import ParameterPrior, Spec
from lvspec.train.em.closed_forms import ClauseUse, ClosedForms, ParameterTable

SMALLEST_SCALE = 1e-3  # of a Gaussian: a component on a single point would have none
TINY = torch.finfo(torch.float32).tiny  # a probability that is zero: its logarithm is a number


@torch.no_grad()
def maximise(
    model: EmittedModel,
    forms: ClosedForms,
    gradients: dict[str, Tensor],
    weights: dict[tuple[int, str], Tensor],
    pseudo_count: float,
) -> None:
    """Sets the parameters; rows that are never used keep theirs, unless a prior says what they are."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    more = {n: _counts(forms.spec.priors.get(n), pseudo_count) for n in gradients}
    for i, use in enumerate(forms.uses):
        rows = {argument: weights[i, argument] for argument in use.tables}
        own = {t.parameter: gradients[t.parameter] for t in use.tables.values() if t.parameter in gradients}
        if use.family == "Normal":
            found |= _gaussian(model, use, own, rows, sizes_of(model, forms.spec))
            continue
        argument, table = next(iter(use.tables.items()))
        if table.parameter not in own:
            continue
        if table.parameter in found:  # a table of several clauses: their counts add up, g holds all of them already
            rows[argument] = rows[argument] + found[table.parameter][1]
        raw = model.get_parameter(table.parameter).double()
        weight = rows[argument].reshape((*rows[argument].shape, *[1] * table.rank))
        value = UPDATES[use.family](table, raw, own[table.parameter], weight, more[table.parameter])
        found[table.parameter] = value, rows[argument]
    for name, (value, weight) in found.items():
        parameter = model.get_parameter(name)
        known = name in forms.spec.priors and min(more[name]) > 0
        used = ((weight > 0) | known).reshape((*weight.shape, *[1] * (value.dim() - weight.dim())))
        parameter.copy_(torch.where(used, value, parameter.double()))


def _counts(prior: ParameterPrior | None, pseudo_count: float) -> tuple[float, float]:
    """What is added to the counts of ones and zeros, or of every value: for the mode under Beta(a, b) a - 1 and b - 1, under
    Dirichlet(a) a - 1."""
    numbers = prior.numbers if prior else (1.0,)
    return numbers[0] - 1 + pseudo_count, numbers[-1] - 1 + pseudo_count


def sizes_of(model: EmittedModel, spec: Spec) -> dict[str, int]:
    """The sizes that the module was made with."""
    return {size.name: getattr(model, size.name) for size in spec.sizes}


# ---------------------------------------------------------------- families of one argument
def _categorical(table: ParameterTable, raw: Tensor, g: Tensor, weight: Tensor, more: tuple[float, float]) -> Tensor:
    p = raw.softmax(-1)
    counts = ((g + weight * p).clamp_min(0) + more[0]).clamp_min(0)
    return (counts / counts.sum(-1, keepdim=True).clamp_min(TINY)).clamp_min(TINY).log()


def _bernoulli(table: ParameterTable, raw: Tensor, g: Tensor, weight: Tensor, more: tuple[float, float]) -> Tensor:
    ones = (g + weight * raw.sigmoid()).clamp_min(0)
    zeros = (weight - ones).clamp_min(0)
    return (ones + more[0]).clamp_min(TINY).log() - (zeros + more[1]).clamp_min(TINY).log()


def _poisson(table: ParameterTable, raw: Tensor, g: Tensor, weight: Tensor, more: tuple[float, float]) -> Tensor:
    rate = behind_link(table, raw)
    return before_link(table, (rate + rate * g / (slope(table, raw) * weight)).clamp_min(TINY))


def _exponential(table: ParameterTable, raw: Tensor, g: Tensor, weight: Tensor, more: tuple[float, float]) -> Tensor:
    mean = 1 / behind_link(table, raw) - g / (slope(table, raw) * weight)
    return before_link(table, 1 / mean.clamp_min(TINY))


UPDATES = {"Categorical": _categorical, "Bernoulli": _bernoulli, "Poisson": _poisson, "Exponential": _exponential}


# ---------------------------------------------------------------- Gaussians
def _gaussian(
    model: EmittedModel, use: ClauseUse, gradients: dict[str, Tensor], rows: dict[str, Tensor], sizes: dict[str, int]
) -> dict[str, tuple[Tensor, Tensor]]:
    """loc: the weighted mean; scale: the root of the weighted mean square around it. (value, row weights) by name."""
    loc, scale, found = use.tables["loc"], use.tables["scale"], {}
    copies = math.prod(d.evaluate(sizes) for d in use.variable.type.shape)
    raw = model.get_parameter(scale.parameter).double() if scale.parameter else torch.tensor(scale.value).double()
    sigma = behind_link(scale, raw) if scale.parameter else raw
    moved = None
    if loc.parameter in gradients:
        weight = _entries(rows["loc"], loc, copies)
        move = _at_rows_of(loc, scale, sigma) ** 2 * gradients[loc.parameter] / weight
        found[loc.parameter] = model.get_parameter(loc.parameter).double() + move, rows["loc"]
        moved = weight * move**2
    if scale.parameter in gradients:
        weight = _entries(rows["scale"], scale, copies)
        squares = sigma**3 * gradients[scale.parameter] / slope(scale, raw) + weight * sigma**2
        if moved is not None:
            squares = squares - _summed_onto(scale, loc, moved.nan_to_num(0.0))
        sigma = (squares.clamp_min(0) / weight).sqrt().clamp_min(SMALLEST_SCALE)
        found[scale.parameter] = before_link(scale, sigma), rows["scale"]
    return found


def _entries(weight: Tensor, table: ParameterTable, copies: int) -> Tensor:
    """How often each entry of a table is used: as its row is, once more for every copy that shares a single number."""
    return weight.reshape((*weight.shape, *[1] * table.rank)) * (1 if table.rank else copies)


def _at_rows_of(loc: ParameterTable, scale: ParameterTable, sigma: Tensor) -> Tensor:
    """The scale at every row of loc, which has all of its indices."""
    if not scale.parameter:
        return sigma
    order = [scale.indices.index(i) for i in loc.indices if i in scale.indices]
    sigma = sigma.permute((*order, *range(len(order), sigma.dim())))
    shape = iter(sigma.shape)
    lead = [next(shape) if i in scale.indices else 1 for i in loc.indices]
    return sigma.reshape((*lead, *[1] * (loc.rank - scale.rank), *sigma.shape[len(order) :]))


def _summed_onto(scale: ParameterTable, loc: ParameterTable, value: Tensor) -> Tensor:
    """Σ over the rows of loc, and the copies, that share one scale."""
    kept = [i for i in loc.indices if i in scale.indices]
    gone = [axis for axis, index in enumerate(loc.indices) if index not in scale.indices]
    gone += range(len(loc.indices), len(loc.indices) + loc.rank - scale.rank)
    value = value.sum(gone) if gone else value
    return value.permute((*(kept.index(i) for i in scale.indices), *range(len(kept), value.dim())))


# ---------------------------------------------------------------- links
def behind_link(table: ParameterTable, raw: Tensor) -> Tensor:
    return raw.exp() if table.link == "exp" else softplus(raw)


def slope(table: ParameterTable, raw: Tensor) -> Tensor:
    """The derivative of the link."""
    return raw.exp() if table.link == "exp" else raw.sigmoid()


def before_link(table: ParameterTable, value: Tensor) -> Tensor:
    """What stands behind the link at a positive value; log(e^v - 1) for softplus."""
    return value.log() if table.link == "exp" else value + torch.log(-torch.expm1(-value))
