"""Are draws of the module draws of the model? Frequencies of every site and pair of sites against brute force.

    model.sample             p(z_1 = i, x_2 = j) = Σ over all joint assignments with z_1 = i, x_2 = j of Π p(site | parents)
    posterior[name].sample   p(z_1 = i, z_2 = j | x), the same sum with x given

Of what has few values, given one value of all else; and, by the moments of all their sites, for Gaussian latents with what
reads them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from lvspec.ir.plan import Integration
from lvspec.ir.reads import is_improper, reader_of
from lvspec.ir.spec import Variable
from lvspec.ir.structured import structure_of
from lvspec.verify.checks.chance import FALSE_ALARM, repeated
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.draw import in_numbers, padded_extent
from lvspec.verify.oracle.enumerate import LIMIT, assignments, joint_terms, posterior, table
from lvspec.verify.oracle.integrals import integral_sample_check
from lvspec.verify.oracle.lengths import summed_lengths
from lvspec.verify.oracle.linear_gaussian import gaussian_prior
from lvspec.verify.oracle.missing import read_by_the_model
from lvspec.verify.oracle.mixtures import answer_of
from lvspec.verify.oracle.world import BORDER, Site, TooMany, World
from lvspec.verify.report import Check
from lvspec.verify.shrink import joint_states

EXPECTED = 20  # cells with fewer expected draws are not looked at: no normal law holds there
LENGTH = 2  # sites of every ragged plate, or one more
SAMPLED = 2_000  # joint values of such an example, at most


def sample_check(subject: Subject, draws: int, seed: int, most: int = LIMIT) -> Check:
    """The largest |z| of a cell's frequency over all sites and pairs of sites, where these have at most so many joint values."""
    count = sampled_length(subject)
    lengths = _lengths(subject, count)
    given = _given(subject, draws, count)
    given |= _infinite(subject, given, lengths, draws, seed)
    sites, rows, weights = _exact(subject, given, lengths, most)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        found = in_numbers(subject.spec, subject.model.sample(draws, given=given, lengths=lengths))
    seen = [i for i, (name, _) in enumerate(sites) if name in found]
    rows = [tuple(row[i] for i in seen) for row in rows]
    worst, cells = _pairs([_codes(found[sites[i][0]], sites[i][1]) for i in seen], rows, weights)
    return _judged("z of the frequencies of samples", worst, cells, draws)


def _infinite(subject: Subject, given: dict[str, Tensor], lengths: dict[str, Tensor], draws: int, seed: int):
    """Values of what cannot be named value by value, the same in all draws: the frequencies are those of the others given them."""
    random = [v for v in subject.spec.variables if v.role in ("latent", "observed")]
    fixed = [v for v in random if not v.type.support.finite or _is_yield(v)]
    if len(fixed) == len(random):
        raise TooMany("no latent and no observation is finite")
    _drawable(random)
    if not fixed:
        return {}
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        first = {n: x if subject.spec.variable(n).outside_batch else x[:1] for n, x in given.items()}
        one = subject.model.sample(1, given=first, lengths=lengths)
    return {v.name: one[v.name] if v.outside_batch else one[v.name].repeat_interleave(draws, 0) for v in fixed}


def _is_yield(variable: Variable) -> bool:
    structure = structure_of(variable) if variable.role == "observed" else None
    return structure is not None and structure.value == "yield"


def sampled_length(subject: Subject) -> int:
    """Three sites, so that the last one tells the one before it from the first, where their joint values can be named."""
    spec, more = subject.spec, LENGTH + 1
    finite = [v for v in spec.variables if v.role in ("latent", "observed") and v.type.support.finite]
    ragged = [p.name for p in spec.plates if p.ragged and any(p.name in v.plates for v in spec.variables)]
    there = all(padded_extent(spec, p, subject.sizes, subject.length) >= more for p in ragged)
    return more if there and joint_states(spec, subject.sizes, more, finite) <= SAMPLED else LENGTH


def _drawable(variables: Sequence[Variable]) -> None:
    """Whether all of them can be drawn."""
    if any(map(is_improper, variables)):
        raise TooMany("from a flat prior nothing can be drawn")


def integral_samples(subject: Subject, integration: Integration, draws: int, seed: int) -> Check:
    """The same for a Gaussian latent that is integrated out, by the moments of its sites and of what reads them."""
    variables = [subject.spec.variable(n) for n in integration.names]
    if any(v.type.support.kind != "real" or v.parts for v in variables):
        raise TooMany(f"{integration.latent} is not Gaussian")
    seen = {v.name for v in subject.spec.of_role("observed")}
    read = {r.name for v in variables for r in reader_of(subject.spec).of_variable(v)}
    if read_by_the_model(subject.spec) & set(integration.observed) or read & seen - set(integration.observed):
        raise TooMany("an observation is read by something")
    _drawable(subject.spec.of_role("latent"))
    lengths = _lengths(subject)
    given = _given(subject, draws)
    world = World(subject.instance({**given, **lengths}), 0)
    found = answer_of(world, integration, gaussian_prior)
    return integral_sample_check(subject, integration, found, given, lengths, draws, seed)


def posterior_sample_check(subject: Subject, draws: int, seed: int) -> Check:
    """The same for draws of each latent given the first example; sites of one latent are drawn together."""
    found = posterior(subject.instance(), 0)
    weights, worst, cells = found.probabilities(), 0.0, 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        answers = subject.model.posterior(dict(subject.batch))
        for name in dict.fromkeys(n for n, _ in found.sites if n in answers):
            drawn = answers[name].sample(draws)[:, 0]
            own = [i for i, site in enumerate(found.sites) if site[0] == name]
            rows = [tuple(row[i] for i in own) for row in found.rows]
            z, looked_at = _pairs([_codes(drawn, found.sites[i][1]) for i in own], rows, weights)
            worst, cells = max(worst, z), cells + looked_at
    return _judged("z of the frequencies of posterior draws", worst, cells, draws)


def _judged(name: str, worst: float, cells: int, draws: int) -> Check:
    bound = NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * max(cells, 1)))
    if not cells and worst < math.inf:
        return Check(name, None, bound, f"no value is neither sure nor too rare for {draws} draws")
    return Check(name, worst, bound, f"{draws} draws, {cells} cells")


def _pairs(codes: list[Tensor], rows: list[tuple[object, ...]], weights: Tensor) -> tuple[float, int]:
    """The largest |z| over all sites and pairs of sites, and how many cells were looked at."""
    worst, cells = 0.0, 0
    sites = range(len(codes))
    exact = [torch.tensor([_code(row[i]) for row in rows]) for i in sites]
    for pair in [(i, i) for i in sites] + list(combinations(sites, 2)):
        z, looked_at = _largest_z([codes[i] for i in pair], [exact[i] for i in pair], weights)
        worst, cells = max(worst, z), cells + looked_at
    return worst, cells


def _given(subject: Subject, draws: int, count: int = LENGTH) -> dict[str, Tensor]:
    """What the first example brings along, cut to the short lengths."""
    names = [v.name for v in subject.spec.of_role("given")]
    batch = {n: v for n, v in repeated(subject, 0, draws).items() if n in names}
    for variable in subject.spec.of_role("given"):
        for axis, plate in enumerate(map(subject.spec.plate, variable.plates), start=1):
            if plate.ragged:
                batch[variable.name] = batch[variable.name].narrow(axis, 0, count)
    return batch


def _lengths(subject: Subject, count: int = LENGTH) -> dict[str, Tensor]:
    """Short lengths of one example's plates: so many sites, of a nested plate at each site of the plate around it, and no more
    than what is given has."""
    spec, found = subject.spec, {}
    given = {p for v in spec.of_role("given") for p in v.plates}
    for plate in (p for p in spec.plates if p.ragged):
        found[plate.name] = torch.full((1, count) if plate.within else (1,), count)
        if plate.name in given:
            own = subject.batch[plate.name][:1]
            found[plate.name] = torch.minimum(found[plate.name], own[:, :count] if plate.within else own)
    return found


def _exact(subject: Subject, given: dict[str, Tensor], lengths: dict[str, Tensor], most: int):
    """Every joint assignment of latents and finite observations, with its probability given what is given."""
    own = subject.instance({**given, **lengths}).treating()
    instance = replace(own, treatments=summed_lengths(subject.spec), generative=True)
    world = World(instance, 0)
    sites: list[Site] = world.hidden()
    if math.prod(len(world.values(*s)) for s in sites) > most:
        raise TooMany(f"{len(sites)} sites have more than {most:,} joint assignments")
    rows = assignments(world, sites)
    terms = joint_terms(world, [s for s in sites if not s[0].startswith(BORDER)])
    return sites, rows, table(world, sites, rows, terms, summed=True).sum(1).exp().detach()


def _codes(values: Tensor, at: tuple[int, ...]) -> Tensor:
    """One integer for the value of each draw at a site; several event axes are read as digits."""
    place: tuple[Any, ...] = (slice(None), *at)
    flat = values[place].reshape(len(values), -1).long()
    return (flat * 64 ** torch.arange(flat.shape[1])).sum(1)


@cache
def _code(value: object) -> int:
    flat = torch.tensor(value).reshape(-1)
    return int((flat * 64 ** torch.arange(len(flat))).sum())


def _largest_z(found: list[Tensor], exact: list[Tensor], weights: Tensor) -> tuple[float, int]:
    """max |frequency − p| in standard errors over the cells of one or two sites, and how many cells."""
    drawn, possible = (c[0] + 64**6 * c[1] for c in (found, exact))
    worst, cells = 0.0, 0
    for cell in possible.unique():
        p, n = float(weights[possible == cell].sum()), len(drawn)
        if n * min(p, 1 - p) < EXPECTED:
            continue
        frequency = float((drawn == cell).double().mean())
        worst, cells = max(worst, abs(frequency - p) / math.sqrt(p * (1 - p) / n)), cells + 1
    strangers = ~torch.isin(drawn, possible)
    return (math.inf if strangers.any() else worst), cells
