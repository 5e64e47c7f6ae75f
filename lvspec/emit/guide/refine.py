"""Guides whose parameters are refined: what the guide says, steps up the ELBO from there, the ELBO at given parameters.

unrefined(batch)                    {"z": (loc_z, scale_z)}: the guide's own
refined(batch, draws)               the same after some gradient steps, each differentiated through
elbo_at(batch, draws, parameters)   the objective; `forward` is this at the refined ones
"""

from __future__ import annotations

from functools import partial

from lvspec.emit.lowering.densities import Term, lower_term, unfused
from lvspec.emit.lowering.extents import full_arguments
from lvspec.emit.lowering.lower import Lowering
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.value import Value
from lvspec.emit.text.text import wrap
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.expr import Number
from lvspec.ir.plan import Plan
from lvspec.ir.spec import Clause, Variable
from lvspec.ir.types import POSITIVE


def moved_arguments(factor: Variable) -> list[str]:
    """The arguments that are refined: all but numbers."""
    return [n for n, value in factor.general.dist.arguments if not isinstance(value, Number)]


def given_term(program: Program, factor: Variable, label: str) -> Term:
    """The q-factor with the parameters that it is given."""
    low, scope, latent = program.low, program.scope, program.plan.spec.variable(factor.name)
    axes = low.order.sort(("B", *latent.plates))
    moved = moved_arguments(factor)
    found = {n: Value(scope.names.fresh(f"{n}_{label}"), axes, latent.type.shape) for n in moved}
    names = ", ".join(v.code for v in found.values()) + "," * (len(moved) == 1)
    shape = scope.shape_comment(found[moved[0]])
    scope.line(f'{names} = parameters["{factor.name}"]', f"{shape}{' each' * (len(moved) > 1)}")
    arguments = [found.get(n) or low.concrete(low.lower(e)) for n, e in factor.general.dist.arguments]
    return Term(factor.general.dist, tuple(arguments))


def refine_methods(plan: Plan, imports: set[str]) -> list[list[str]]:
    """`unrefined` and `refined`."""
    imports.add("refine")
    first = plan.latent(plan.refined[0])
    steps, rate = first.option("refine"), first.option("rate")
    factors = [v for v in plan.guide if v.role == "guide" and v.name in plan.refined]
    listed = ", ".join(f"q({n})" for n in plan.refined)
    signs = {f.name: [_positive(f, n) for n in moved_arguments(f)] for f in factors}
    positive = ", ".join(
        f'"{n}": ({", ".join(map(str, found))}{"," * (len(found) == 1)})' for n, found in signs.items()
    )
    call = f"refine(step, self.unrefined(batch), {{{positive}}}, draws, steps={steps}, rate={rate:g})"
    refined = [
        "    def refined(self, batch: dict, draws: dict) -> dict:",
        f'        """Parameters of {listed} after {steps} gradient steps up the ELBO from the guide\'s, differentiated through."""',
        "        batch = self.prepare(batch)",
        '        alone = {n: v for n, v in batch.items() if n != "weight"}  # each example climbs its own ELBO',
        "",
        "        def step(parameters: dict, noise: dict) -> Objective:",
        "            return self.elbo_at(alone, noise, parameters)",
        "",
        *wrap(f"return {call}", 2),
    ]
    return [_unrefined(plan, imports, factors), refined]


def clause_term(low: Lowering, name: str, clause: Clause) -> Term:
    """What a clause draws from."""
    return lower_term(low, clause.dist, name)


def _positive(factor: Variable, name: str) -> bool:
    return FAMILIES[factor.general.dist.family].argument(name).support == POSITIVE


def _unrefined(plan: Plan, imports: set[str], factors: list[Variable]) -> list[str]:
    program = Program(plan, imports, set(), ("batch",))
    low, items = program.low, []
    low.unrolled = ()
    for factor in factors:
        latent = plan.spec.variable(factor.name)
        term = unfused(low, low.with_bindings(factor.general, partial(clause_term, low, factor.name)))
        named = zip(term.arguments, factor.general.dist.arguments, strict=True)
        values = [low.concrete(v) for v, (name, _) in named if name in moved_arguments(factor)]
        axes, rank = low.order.sort(("B", *latent.plates)), len(latent.type.shape)
        full = [full_arguments(program, [v], axes, latent.type.shape, rank)[0].code for v in values]
        items.append(f'"{factor.name}": ({", ".join(full)}{"," * (len(full) == 1)})')
    program.scope.line(f"return {{{', '.join(items)}}}")
    return [
        "    def unrefined(self, batch: dict) -> dict:",
        '        """The guide\'s parameters of q, before any step: (B, sites, event) each."""',
        "        batch = self.prepare(batch)",
        *program.text(),
    ]
