"""All checks of one emitted module, chosen by what its plan does with the latents."""

from __future__ import annotations

from torch import nn

from lvspec.ir.plan import Plan
from lvspec.ir.spec import Spec
from lvspec.verify.averages import averaged_gradient, exact_gradient
from lvspec.verify.chance import weight_check, z_check
from lvspec.verify.deterministic import (
    GRADIENT,
    bound_checks,
    exact_checks,
    hidden_variants,
    posterior_checks,
    scored,
    weighted_batch,
)
from lvspec.verify.enumerate import TooMany
from lvspec.verify.report import Check, Report, gradient_error
from lvspec.verify.subject import Subject


def verify(
    spec: Spec, plan: Plan, module_class: type[nn.Module], seed: int = 0, draws: int = 20_000, thorough: bool = True
) -> Report:
    """The emitted class against brute force. `plan` is the one that was emitted, at the sizes of `shrink(spec)`.

    draws: rows of the statistical tests (0: none). thorough: also posteriors and partly given batches.
    """
    subject = Subject.of(plan, module_class, seed)
    checks = deterministic(subject, seed, thorough)
    if scored(subject):
        checks += averages(subject)
    if draws and plan.sampled:
        checks += chances(subject, draws, seed)
    return Report(spec.name, subject.sizes, seed, tuple(checks))


def deterministic(subject: Subject, seed: int, thorough: bool) -> list[Check]:
    exact = subject.plan.objective == "log_marginal"
    compare = exact_checks if exact else bound_checks
    checks = compare(subject)
    if thorough:
        checks += compare(subject, weighted_batch(subject), ", weighted")
        for about, batch in hidden_variants(subject, seed):
            checks += compare(subject, batch, about)
        if exact and subject.spec.of_role("latent"):
            checks += posterior_checks(subject)
    return checks


def averages(subject: Subject) -> list[Check]:
    """Row by row: the surrogate's gradient averaged over every joint draw."""
    names, checks = scored(subject), []
    for row in range(subject.rows):
        name = f"gradient averaged over all draws, row {row}"
        try:
            found, expected = averaged_gradient(subject, names, row), exact_gradient(subject, names, row)
        except TooMany as reason:
            checks.append(Check(name, None, GRADIENT, str(reason)))
            continue
        checks.append(Check(name, gradient_error(found, expected), GRADIENT))
    return checks


def chances(subject: Subject, draws: int, seed: int) -> list[Check]:
    """What needs many draws, where every sampled latent has few values."""
    finite = all(subject.spec.variable(n).type.support.finite for n in subject.plan.sampled)
    if not finite:
        return []
    try:
        return [z_check(subject, list(subject.plan.sampled), 0, draws, seed), weight_check(subject, draws, seed)]
    except TooMany as reason:
        return [Check("z of the mean gradient", None, 0.0, str(reason))]
