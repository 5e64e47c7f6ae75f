"""Models without sampling: log p(x), its latents summed out exactly."""

from __future__ import annotations

from lvspec.emit.eliminate import Elimination, collapsed_axes
from lvspec.emit.integrals import integral_factor
from lvspec.emit.program import Program
from lvspec.emit.structures import log_factors
from lvspec.ir.plan import Plan


def log_marginal(plan: Plan, imports: set[str], collapsed: list[str]) -> list[str]:
    """The body of `log_marginal(self, batch, tilt, semiring)`: (B,)."""
    program = Program(plan, imports, set(collapsed), ("batch", "tilt", "semiring"))
    low, scope = program.low, program.scope
    apart = [v for v in plan.spec.variables if v.name not in plan.absorbed]
    factors = [f for v in apart if v.role == "observed" or v.name in collapsed for f in log_factors(low, v)]
    factors += [integral_factor(low, i) for i in plan.integrations]
    total = Elimination(low).run(factors, collapsed_axes(low, collapsed))
    scope.line(f"return {total.code}", scope.shape_comment(total))
    return program.text()
