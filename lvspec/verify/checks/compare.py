"""All checks of one emitted module, chosen by what its plan does with the latents."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from traceback import extract_tb

from lvspec.emitted import EmittedModel
from lvspec.ir.plan import Integration, Plan
from lvspec.ir.spec import Spec
from lvspec.runtime.core.batch import BadBatch
from lvspec.user_modules import is_users
from lvspec.verify.checks.ancestral import SAMPLED, integral_samples, posterior_sample_check, sample_check
from lvspec.verify.checks.averages import averaged_gradient, exact_value
from lvspec.verify.checks.chance import weight_check, z_check
from lvspec.verify.checks.coupled import coupled_checks
from lvspec.verify.checks.deterministic import (
    bound_checks,
    exact_checks,
    first_missing,
    hidden_variants,
    log_prob_check,
    weighted_batch,
)
from lvspec.verify.checks.encoded import encoded_checks
from lvspec.verify.checks.expectation import NotNumerable
from lvspec.verify.checks.gradients import GRADIENT, are_finite, scored
from lvspec.verify.checks.importance import ImportanceDraws, weight_checks
from lvspec.verify.checks.mean_field import mean_field_checks
from lvspec.verify.checks.questions import drawn_integral_check, posterior_checks, summed_checks
from lvspec.verify.checks.structured_mean_field import chain_factor_checks
from lvspec.verify.checks.subject import Subject
from lvspec.verify.checks.unseen import read_reals, unseen_check
from lvspec.verify.oracle.enumerate import LIMIT
from lvspec.verify.oracle.functions import NoNumber
from lvspec.verify.oracle.integrals import integral_draw_check
from lvspec.verify.oracle.missing import reads_missing
from lvspec.verify.oracle.mixtures import answer_of
from lvspec.verify.oracle.world import TooMany, World
from lvspec.verify.report import Check, Report, gradient_error

BIASED = "biased by design"
POSTERIOR_DRAWS = 500  # each costs a pass over the model
# what a module that was emitted wrongly can raise when it runs
MODULE_ERRORS = (ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError)


def verify(
    spec: Spec,
    plan: Plan,
    module_class: type[EmittedModel],
    seed: int = 0,
    draws: int = 20_000,
    thorough: bool = True,
    samples: int = 0,
    seconds: float = math.inf,
    few: int | None = None,
) -> Report:
    """The emitted class against brute force. `plan` is the one that was emitted, at the sizes of `shrink(spec)`.

    draws: rows of the statistical tests (0: none). thorough: also posteriors and partly given batches; of these batches only
    a few, where that is a number. samples: rows of the test of `model.sample` alone, where there are no draws. seconds: of
    processor time, after which nothing more is begun.
    """
    subject = replace(Subject.of(plan, module_class, seed), until=time.process_time() + seconds)
    checks = comparisons(subject, seed, draws, thorough, samples, few)
    return Report(spec.name, subject.sizes, seed, tuple(checks))


def comparisons(
    subject: Subject, seed: int, draws: int, thorough: bool = True, samples: int = 0, few: int | None = None
) -> list[Check]:
    """The checks of `verify`, of a subject that is there."""
    checks = deterministic(subject, seed, thorough, few)
    if scored(subject):
        checks += [*averages(subject), *(averages_where_missing(subject, seed) if thorough else [])]
    if draws:
        checks += chances(subject, draws, seed)
    elif samples:
        checks += sampling(subject, samples, seed, SAMPLED if few is not None else LIMIT)
    return checks


def deterministic(subject: Subject, seed: int, thorough: bool, few: int | None = None) -> list[Check]:
    """Everything that no chance enters."""
    exact = subject.plan.objective in ("log_marginal", "log_joint")
    compare = exact_checks if exact else coupled_checks if subject.plan.coupled else bound_checks
    if at_optimum(subject.plan):
        compare = mean_field_checks if subject.plan.mean_field else chain_factor_checks
    checks = attempt(subject, "objective", lambda: compare(subject))
    if thorough:
        settled = subject.settled()  # whether log p of what is given counts as a KL must not matter
        variants = [(", weighted", lambda: subject, weighted_batch(subject))]
        hidden = hidden_variants(subject, seed)
        variants += [(about, cache(partial(settled.on, batch, seed)), batch) for about, batch in hidden]
        if few is not None:
            variants = random.Random(seed).sample(variants, min(few, len(variants)))
        for about, on, batch in variants:
            judge = partial(_judged, compare, on, batch, about)
            checks += attempt(subject, f"objective{about}", judge, refusable=reads_missing(subject.spec, batch))
        checks += questions(subject, seed, "")
        others = [(about, on) for about, on, batch in variants if "weight" not in batch]
        for about, on in random.Random(seed).sample(others, min(1, len(others))):
            checks += questions(on().where(subject), seed, about)
        for v in read_reals(subject) if subject.plan.objective == "log_marginal" else ():
            name = f"log p(x), {v.name} missing where it is read"
            checks += attempt(subject, name, partial(_one, unseen_check, subject, v), refusable=True)
    return checks


def questions(subject: Subject, seed: int, about: str) -> list[Check]:
    """What the module says of p(x) and p(z | x), beside the objective."""
    plan, refusable = subject.plan, reads_missing(subject.spec, subject.batch)
    asked: list[tuple[str, Callable[[], list[Check]]]] = []
    if plan.sampled:
        weights = cache(partial(ImportanceDraws.of, subject, seed))
        asked = [
            ("log importance weights", lambda: weight_checks(subject, weights(), about)),
            ("posterior", lambda: summed_checks(subject, weights(), about)),
        ]
    elif subject.spec.of_role("latent") and not at_optimum(plan):
        asked = [] if plan.points else [("log_prob", lambda: [log_prob_check(subject, about)])]
        asked.append(("posterior", partial(posterior_checks, subject, about)))
    asked.append(("q as encode says it", partial(encoded_checks, subject, seed, about)))
    return [c for name, check in asked for c in attempt(subject, f"{name}{about}", check, refusable)]


def _judged(compare, on: Callable[[], Subject], batch: dict, about: str) -> list[Check]:
    return compare(on(), batch, about)


def at_optimum(plan: Plan) -> bool:
    """Whether q stands at an optimum that the module itself finds."""
    return bool(plan.mean_field or plan.structured)


def _one(check: Callable[..., Check], *asked: object) -> list[Check]:
    return [check(*asked)]


def attempt(subject: Subject, name: str, compare: Callable[[], list[Check]], refusable: bool = False) -> list[Check]:
    """The checks; one that failed where the emitted module cannot even be run on the batch, unless it may refuse the batch
    by name, since what it hides is read. What a user's own network raises is the user's to mend, and goes on."""
    if time.process_time() > subject.until:
        return [Check(name, None, 0.0, "there was no time left")]
    try:
        return compare()
    except BadBatch as reason:
        figure = None if refusable else math.inf
        return [Check(name, figure, 0.0, f"refused: {reason}".splitlines()[0])]
    except (TooMany, NotNumerable, NoNumber) as reason:
        return [Check(name, None, 0.0, str(reason))]
    except MODULE_ERRORS as reason:
        if is_users(reason, {n.path.partition(".")[0] for n in subject.spec.networks if n.path}):
            raise
        told = f"{type(reason).__name__}: {reason}".splitlines()[0]
        own = "/verify/" in extract_tb(reason.__traceback__)[-1].filename.replace("\\", "/")
        return [Check(name, math.inf, 0.0, f"verify itself failed: {told}" if own else told, own=own)]


def averages(subject: Subject) -> list[Check]:
    """Row by row: the surrogate's gradient averaged over every joint draw."""
    checks = []
    for row in range(subject.rows):
        name = f"gradient averaged over all draws, row {row}"
        checks += attempt(subject, name, partial(_one, _average, subject, name, row))
    return checks


def averages_where_missing(subject: Subject, seed: int) -> list[Check]:
    """The same of one row, the first with few enough draws, without the first sites of an observation."""
    checks: list[Check] = []
    for about, batch in first_missing(subject):
        name = f"gradient averaged over all draws{about}"
        on = cache(partial(subject.on, batch, seed))
        for row in range(subject.rows):
            judge = partial(_average_of, on, name, row)
            checks = attempt(subject, name, judge, refusable=reads_missing(subject.spec, batch))
            if any(c.figure is not None or c.note.startswith(BIASED) for c in checks):
                break
    return checks


def _average_of(on: Callable[[], Subject], name: str, row: int) -> list[Check]:
    return [_average(on(), name, row)]


def _average(subject: Subject, name: str, row: int) -> Check:
    names = scored(subject)
    if (control := next((p.strategy for p in subject.plan.latents if p.row.control), None)) is not None:
        return Check(name, None, GRADIENT, f"{control}: right on average over the noise of relaxed draws, too")
    if subject.plan.bound.path.detached:
        return Check(name, None, GRADIENT, f"{subject.plan.bound.gradient}: right on average over the noise, too")
    try:
        found, value = averaged_gradient(subject, names, row), exact_value(subject, names, row)
    except TooMany as reason:
        return Check(name, None, GRADIENT, str(reason))
    if value == -math.inf:
        return Check(
            name,
            0.0 if are_finite(found) else math.inf,
            GRADIENT,
            "the example is impossible, and moves nothing by inf",
        )
    error = gradient_error(found, subject.gradients(-value))
    if subject.plan.biased:
        return Check(name, None, GRADIENT, f"{BIASED}: off by {error:.2g} of the largest coordinate, exactly")
    return Check(name, error, GRADIENT)


def _integral_draws(subject: Subject, integration: Integration, draws: int, seed: int) -> list[Check]:
    found = answer_of(World(subject.instance(), 0), integration)
    return [integral_draw_check(subject, integration, found, draws, seed)]


def chances(subject: Subject, draws: int, seed: int) -> list[Check]:
    """What needs many draws, where the expectation is known."""
    tests: list[tuple[str, Callable[[], list[Check]]]] = []
    if subject.plan.sampled:
        tests = [
            (
                "z of the mean gradient",
                lambda: [
                    z_check(
                        subject, [*scored(subject), *subject.plan.relaxed, *subject.plan.renormalised], 0, draws, seed
                    )
                ],
            ),
            ("z of the mean importance weight", lambda: [weight_check(subject, 0, draws, seed)]),
        ]
    of_integral = partial(drawn_integral_check, subject) if subject.plan.sampled else partial(_integral_draws, subject)
    for i in subject.plan.integrations:
        tests.append((f"posterior draws of {i.latent}", partial(of_integral, i, draws, seed)))
    exact = not subject.plan.sampled and not at_optimum(subject.plan) and not subject.plan.points
    if exact and any(v.type.support.finite for v in subject.spec.of_role("latent")):
        few = min(draws, POSTERIOR_DRAWS)
        tests.append(("z of the frequencies of posterior draws", lambda: [posterior_sample_check(subject, few, seed)]))
    found = sampling(subject, draws, seed)
    return [*found, *(c for name, check in tests for c in attempt(subject, name, check))]


def sampling(subject: Subject, draws: int, seed: int, most: int = LIMIT) -> list[Check]:
    """Whether `model.sample` draws from the model. most: joint values of an example that are compared."""
    tests: list[tuple[str, Callable[[], list[Check]]]] = [
        ("z of the frequencies of samples", lambda: [sample_check(subject, draws, seed, most)])
    ]
    for i in subject.plan.integrations:
        name = f"z of the moments of samples of {i.latent}"
        tests.append((name, partial(_one, integral_samples, subject, i, draws, seed)))
    return [c for name, check in tests for c in attempt(subject, name, check)]
