"""What `model.posterior(batch)` answers about latents that are all summed, against every joint assignment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from lvspec.ir.plan import Integration
from lvspec.ir.spec import Variable
from lvspec.runtime.core.undefined import Undefined
from lvspec.verify.checks.filtered import filtered_checks
from lvspec.verify.checks.gradients import VALUE
from lvspec.verify.checks.importance import ImportanceDraws
from lvspec.verify.checks.subject import Subject
from lvspec.verify.oracle.enumerate import Posterior, log_sum
from lvspec.verify.oracle.integrals import integral_checks, integral_draw_check, moment_checks
from lvspec.verify.oracle.mixtures import answer_at_draws, answer_of
from lvspec.verify.oracle.world import BORDER, World, has_borders
from lvspec.verify.report import Check, largest, relative_error

BEST, DRAWS = 3, 3  # assignments that are asked for


def posterior_checks(subject: Subject, about: str = "") -> list[Check]:
    """p(z | x): marginals, joint mode, entropy, the best and the number of assignments, draws; moments of what is integrated.
    Of an example that is impossible there is none."""
    found = subject.model.posterior(dict(subject.batch))  # first: it refuses what hides a value that is read
    instance = subject.instance()
    latents = [v for v in subject.spec.of_role("latent") if v.type.support.finite]
    names = {n for v in latents for n in (v.name, BORDER + v.name)}
    with torch.no_grad():
        truth = [(row, exact.detached().over(names)) for row, exact in enumerate(subject.posteriors)]
    truth = [(row, exact) for row, exact in truth if len(exact.rows) and exact.log_marginal.isfinite()]
    checks = []
    for latent in (v for v in latents if not v.type.shape):
        checks += _marginals(latent, found[latent.name], truth)
    if not about:  # values that are known at later sites are no part of it
        checks += filtered_checks(subject, found)
    checks += integral_checks(subject, lambda row: World(instance, row), answer_of, VALUE)
    if latents and all(hasattr(found[v.name], "joint") for v in latents):
        checks += _assignments(latents, found, truth)
    return [Check(c.name + about, c.figure, c.bound, c.note) for c in checks]


def summed_checks(subject: Subject, weights: ImportanceDraws, about: str = "") -> list[Check]:
    """Marginals of what is summed given draws of others, p(z_i = k | x) = Σ_s w_s(z_i = k) / Σ_s w_s, at all sites of the first
    example, and whether every latent is answered."""
    spec, samples, names = subject.spec, subject.plan.samples, subject.plan.summed_beside_draws
    with torch.random.fork_rng(), torch.no_grad():
        subject.come_to_step()
        torch.manual_seed(weights.seed)
        found = subject.model.posterior(dict(subject.batch), samples=samples)
    unanswered = [v.name for v in spec.of_role("latent") if v.name not in found]
    checks = [Check(f"latents without an answer{about}", float(len(unanswered)), 0.0, ", ".join(unanswered))]
    if weights.shared or subject.plan.refined:  # of the whole data set, or of a q at noise that nobody fixes here
        return checks
    at = weights.instance
    checks += [
        replace(c, name=c.name + about)
        for i in subject.plan.integrations
        for c in moment_checks(
            subject, i, found, lambda row: World(at, row), lambda w, i: answer_at_draws(w, i, samples), VALUE
        )
    ]
    world, (sites, rows, log_weights) = World(at, 0), weights.joint(0)
    truth = Posterior(sites, rows, log_sum(log_weights.T))
    for latent in (spec.variable(n) for n in names):
        own = [s for s in sites if s[0] == latent.name]
        if latent.type.shape or not own:
            continue
        expected = [truth.marginal(site, len(world.values(*site))) for site in own]
        if not torch.cat(expected).isnan().any():  # else the example is impossible
            marginals = found[latent.name].marginals[0]
            errors = [relative_error(marginals[s[1]][: len(e)], e) for s, e in zip(own, expected, strict=True)]
            checks.append(Check(f"marginals of {latent.name}{about}", largest(errors), VALUE))
    return checks


def drawn_integral_check(subject: Subject, integration: Integration, draws: int, seed: int) -> list[Check]:
    """Are draws of an integrated latent's posterior draws of it, where other latents are drawn?"""
    samples, name = subject.plan.samples, f"posterior draws of {integration.latent}"
    weights = ImportanceDraws.of(subject, seed)
    if weights.shared or subject.plan.refined:
        return [Check(name, None, 0.0, "of the whole data set, or of a q that is refined at noise of its own")]
    truth = answer_at_draws(World(weights.instance, 0), integration, samples)
    try:
        return [integral_draw_check(subject, integration, truth, draws, seed, samples=samples)]
    except Undefined as reason:
        return [Check(name, None, 0.0, str(reason))]


def _marginals(latent: Variable, answer, truth: list[tuple[int, Posterior]]) -> list[Check]:
    """Each site's, and the entropy of all."""
    errors = []
    for row, exact in truth:
        for site in [s for s in exact.sites if s[0] == latent.name]:
            marginal = answer.marginals[(row, *site[1])]
            errors.append(relative_error(marginal, exact.marginal(site, len(marginal))))
    checks = [Check(f"marginals of {latent.name}", largest(errors), VALUE)]
    if hasattr(answer, "entropy"):  # at a point of others only each site is asked about
        entropy = torch.tensor([exact.entropy() for _, exact in truth], dtype=torch.float64)
        found = answer.entropy[[row for row, _ in truth]]
        checks.append(Check(f"entropy of {latent.name}", relative_error(found, entropy), VALUE))
    return checks


def _assignments(latents: list[Variable], found: Mapping, truth: list[tuple[int, Posterior]]) -> list[Check]:
    """The best ones, draws, and how many there are."""
    checks = []
    answers = {v.name: found[v.name] for v in latents}
    for name in [v.name for v in latents if has_borders(v)]:
        begins = answers[BORDER + name] = found[name].begins
        errors = [
            relative_error(begins.marginals[(row, *site[1])], exact.marginal(site, 2))
            for row, exact in truth
            for site in exact.sites
            if site[0] == BORDER + name
        ]
        checks.append(Check(f"where segments of {name} begin", largest(errors), VALUE))
    modes = {n: a.mode for n, a in answers.items()}
    wrong = sum(not any(m.items() >= _at(exact, row, modes).items() for m in exact.modes()) for row, exact in truth)
    checks.append(Check("joint modes that are not the best assignment", float(wrong), 0.0))
    for ask in (_best, _number, _draws):
        try:
            checks.append(ask(next(iter(answers.values())), truth))
        except Undefined:  # of several sums that are multiplied
            continue
    return checks


def _at(exact: Posterior, row: int, values: Mapping[str, Tensor]) -> dict:
    """The values of an example at the sites of its assignments."""
    return {site: int(values[site[0]][(row, *site[1])]) for site in exact.sites if site[0] in values}


def _best(answer, truth: list[tuple[int, Posterior]]) -> Check:
    scores, _ = answer.k_best(BEST)
    errors = []
    for row, exact in truth:
        best = exact.log_weights.detach().sort(descending=True).values[:BEST]
        expected = torch.cat([best, best.new_full((BEST - len(best),), -math.inf)])
        errors.append(relative_error(scores[:, row], expected))
    return Check("log p of the best assignments", largest(errors), VALUE)


def _number(answer, truth: list[tuple[int, Posterior]]) -> Check:
    counts = [(exact.log_weights > -math.inf).sum().double().log() for _, exact in truth]
    found = answer.log_count[[row for row, _ in truth]]
    return Check("log number of assignments", relative_error(found, torch.stack(counts) if counts else found), VALUE)


def _draws(answer, truth: list[tuple[int, Posterior]]) -> Check:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = answer.joint.sample(DRAWS)
    wrong = 0
    for row, exact in truth:
        possible = [i for i, w in enumerate(exact.log_weights.tolist()) if w > -math.inf]
        values = {tuple(map(int, exact.rows[i])) for i in possible}
        borders = {n: BORDER + n.removesuffix(".begins") if n.endswith(".begins") else n for n in drawn}
        for draw in range(DRAWS):
            at = _at(exact, row, {borders[n]: d[draw] for n, d in drawn.items()})
            wrong += len(at) == len(exact.sites) and tuple(at.values()) not in values
    return Check("draws that are impossible", float(wrong), 0.0)
