"""Models without sampling: log p(x), its latents summed out exactly."""

from __future__ import annotations

from lvspec.emit.factors.eliminate import EliminationCode, collapsed_axes
from lvspec.emit.factors.integrals import integral_factor
from lvspec.emit.factors.structures import log_factors
from lvspec.emit.lowering.program import Program
from lvspec.ir.plan import Plan
from lvspec.ir.sites import site_by_site
from lvspec.ir.structured import structure_of


def log_marginal(plan: Plan, imports: set[str], collapsed: list[str]) -> list[str]:
    """The body of `log_marginal(self, batch, tilt, semiring)`: (B,)."""
    program = Program(plan, imports, set(collapsed), ("batch", "tilt", "semiring"))
    elimination = EliminationCode(program.low, blocks=plate_in_blocks(plan))
    total = eliminated(program, elimination, collapsed)
    program.scope.returned(total)
    return program.text()


def log_potential(plan: Plan, imports: set[str], collapsed: list[str]) -> list[str]:
    """The body of `log_potential(self, batch, tilt)`: what each site's own state decides, (B, T, states)."""
    program = Program(plan, imports, set(collapsed), ("batch", "tilt"))
    elimination = EliminationCode(program.low, semiring="LOG", told=False)  # of the sum nothing is read here
    eliminated(program, elimination, collapsed)
    found = elimination.potentials
    assert found is not None  # the elimination has run
    program.scope.returned(found)
    return program.text()


def eliminated(program: Program, elimination: EliminationCode, collapsed: list[str]):
    """log p(x) as a value, its statements written."""
    plan, low = program.plan, program.low
    apart = [v for v in plan.spec.variables if v.name not in plan.absorbed]
    factors = [f for v in apart if v.role == "observed" or v.name in collapsed for f in log_factors(low, v)]
    factors += [integral_factor(low, i, asked=True) for i in plan.integrations]
    return elimination.run(factors, collapsed_axes(low, collapsed))


def plate_in_blocks(plan: Plan) -> str | None:
    """The plate of the one chain whose sites are computed some at a time, where that is asked for and can be."""
    chains = [e for e in plan.eliminations if e.chain]
    if not plan.lean or len(chains) != 1 or plan.integrations or plan.structures:
        return None
    plate, latents = chains[0].chain, chains[0].latents
    if any((row := structure_of(plan.spec.variable(n))) and not row.lean for n in latents):
        return None  # its algorithm takes the scores of all sites
    plates = [plan.spec.variable(n).plates for n in latents]
    alone = all(p[:1] == (plate,) and set(p[1:]) <= set(plan.unrolled) for p in plates)  # one chain of an example
    return plate if alone and plate and site_by_site(plan.spec, plate, latents) else None
