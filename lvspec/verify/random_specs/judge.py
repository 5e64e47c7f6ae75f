"""A random spec on trial: its module against brute force, and by the relations that need no oracle."""

from __future__ import annotations

from collections.abc import Sequence

from lvspec.driver import Compiled, compile_spec
from lvspec.errors import SpecError
from lvspec.verify.checks.compare import comparisons
from lvspec.verify.checks.subject import Subject
from lvspec.verify.random_specs.relations import relation_checks, worth
from lvspec.verify.report import Report

SAMPLES = 2000  # rows that `model.sample` is judged by
FAR, TIMES = 1e5, 6  # a log-density, and how often numbers are drawn anew
FEW = 2  # batches beside the first one, of those with weights and with values given and missing


def subject_of(compiled: Compiled, seed: int) -> Subject:
    """The module at numbers that a seed draws; at others where a log-density is so far out that no digits are left beside it."""
    for shift in range(TIMES):
        subject = Subject.of(compiled.plan, compiled.Model, seed + shift * 10**6)
        try:
            value = worth(subject).detach()
        except Exception:  # noqa: BLE001 - what breaks is for the checks to tell
            break
        if not ((value.abs() > FAR) & value.isfinite()).any():
            break
    return subject


def trial(compiled: Compiled, seed: int) -> Report:
    """All checks of a compiled spec at numbers that a seed draws."""
    subject = subject_of(compiled, seed)
    found = comparisons(subject, seed, draws=0, samples=SAMPLES, few=FEW)
    return Report(compiled.spec.name, subject.sizes, seed, (*found, *relation_checks(subject, seed)))


def judged(text: str, seed: int = 0, allow_modules: Sequence[str] = ()) -> str:
    """What goes wrong with a spec: "differs", "broken: TypeError", or nothing. What is refused is not wrong."""
    try:
        failed = [c for c in trial(compile_spec(text, allow_modules=allow_modules), seed).checks if not c.passed]
    except SpecError:
        return ""
    except Exception as reason:  # noqa: BLE001 - whatever breaks is what is looked for
        return f"broken: {type(reason).__name__}"
    broken = [c.note.partition(":")[0] for c in failed if c.figure == float("inf")]
    return "" if not failed else f"broken: {broken[0]}" if broken else "differs"
