"""Point estimates: log p(x, z) at z = value(x), other latents summed or integrated out."""

from __future__ import annotations

from lvspec.emit.guide import write_guide
from lvspec.emit.objective import total
from lvspec.emit.program import Program
from lvspec.emit.terms import Terms
from lvspec.ir.plan import Plan


def point_methods(plan: Plan, imports: set[str]) -> list[list[str]]:
    """`forward`, and `posterior`: the points themselves."""
    return [_forward(plan, imports), _posterior(plan, imports)]


def _forward(plan: Plan, imports: set[str]) -> list[str]:
    terms = Terms(plan, imports)
    scope, costs = terms.scope, terms.write()
    scope.line()
    log_joint = scope.assign("log_joint", total(terms, costs, "log_joint"))
    scope.line(f'loss = -{scope.use("weighted_mean")}({log_joint.code}, batch.get("weight"))')
    scope.line(f"return {scope.use('Objective')}(loss, log_joint={log_joint.code})")
    return [
        "    def forward(self, batch: dict, draws: dict | None = None, phase: str | None = None) -> Objective:",
        f'        """{plan.formula}"""',
        "        batch = self.prepare(batch)",
        *terms.program.text(),
    ]


def _posterior(plan: Plan, imports: set[str]) -> list[str]:
    program = Program(plan, imports, set(), ("batch",))
    write_guide(program, plan, [], [], set())
    points = ", ".join(f'"{n}": {program.scope.use("Point")}({program.low.known[n].code})' for n in plan.points)
    program.scope.line(f"return {{{points}}}")
    return [
        "    def posterior(self, batch: dict) -> dict:",
        '        """The point estimate of each latent that has one: `mode` (B, ...)."""',
        "        batch = self.prepare(batch)",
        *program.text(),
    ]
