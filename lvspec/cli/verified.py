"""Is the module the model that the spec says? Asked once for each spec, before it is trained, and remembered."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from math import isnan

from lvspec.errors import InternalError
from lvspec.ir.plan import Plan

SECONDS = 5.0  # of processor time; what is not compared by then is left out
DRAWS = 2000  # of the statistical test of samples


def add_no_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-verify", action="store_true", help="do not compare the module with brute force first")


def state(plan: Plan) -> str:
    """What is known about a spec, without looking again."""
    from lvspec.verified import remembered

    if remembered(plan) is not None:
        return "verified: the module agrees with brute force"
    return "not verified yet: `lvspec compile --verify` compares the module with brute force, as `lvspec train` does"


def require(plan: Plan, allow_modules: Sequence[str], say: Callable[[str], None]) -> None:
    """Says what is known of the module that a spec gives; an InternalError where brute force disagrees."""
    from lvspec.runtime.networks.user_networks import UserNetworkError
    from lvspec.user_modules import explained
    from lvspec.verified import remember, remembered

    if remembered(plan) is not None:
        say(state(plan))
        return
    began = time.process_time()
    try:
        report = small_report(plan, allow_modules)
    except UserNetworkError:
        raise
    except Exception as reason:  # at small sizes, or in double precision, a user's class may refuse; or we gave up
        say(f"not verified: {explained(reason, allow_modules)}".splitlines()[0])
        return
    if report.disagrees:
        failures = [c for c in report.failures if not c.own and not isnan(c.figure)]
        raise InternalError(disagreement(failures))
    if not report.passed:
        why = [
            *(c.note or f"{c.name} is no number" for c in report.failures),
            *report.left_out,
            "nothing could be compared",
        ][0]
        say(f"not verified: {why}")
        return
    remember(plan, {"sizes": report.sizes, "covered": report.covered, "not_covered": report.left_out})
    say(f"verified in {time.process_time() - began:.1f} s: the module agrees with brute force")


def small_report(plan: Plan, allow_modules: Sequence[str]):
    """The comparison that is made by default: small sizes, the plan's own strategies, few draws."""
    from lvspec.driver import recompile
    from lvspec.verified import SEED
    from lvspec.verify import pins, shrink, verify

    compiled = recompile(plan.spec, shrink(plan.spec), pins(plan), tuple(allow_modules))
    return verify(compiled.spec, compiled.plan, compiled.Model, SEED, draws=0, samples=DRAWS, seconds=SECONDS)


def disagreement(failures: Sequence) -> str:
    """What is wrong, in one line, and what can be done about it."""
    first = failures[0]
    size = f"{first.figure:.2e}, at most {first.bound:.0e} is right" if not first.note else first.note
    more = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
    return (
        f"the module that this spec gives and brute force disagree about {first.name} ({size}){more}: "
        "`lvspec verify` shows all. Nothing was trained; --no-verify goes on all the same"
    )
