"""Point estimates: log p(x, z) at z = value(x), other latents summed or integrated out."""

from __future__ import annotations

from lvspec.emit.factors.integrals import integral_answers
from lvspec.emit.guide.factors import write_guide
from lvspec.emit.lowering.program import Program
from lvspec.emit.methods.docstrings import joint_doc
from lvspec.emit.methods.posterior import mixture_tilts, with_parts, zero_tilts
from lvspec.emit.objective.loss import loss_line
from lvspec.emit.objective.objective import exact_body, total
from lvspec.emit.objective.terms import Terms
from lvspec.emit.text.text import wrap
from lvspec.ir.plan import Plan


def point_methods(plan: Plan, imports: set[str]) -> list[list[str]]:
    """`forward`, and `posterior`: the points themselves, and what is known of the others at them."""
    if not plan.summed:
        return [_forward(plan, imports), _posterior(plan, imports)]
    return [_log_joint(plan, imports), _forward(plan, imports), _posterior(plan, imports)]


def _log_joint(plan: Plan, imports: set[str]) -> list[str]:
    """What questions about summed latents are asked of."""
    terms = Terms(plan, imports, asked=True)
    costs = terms.write()
    terms.scope.line()
    terms.scope.line(f"return {total(terms, costs, 'log_joint').code}")
    return [
        "    def log_joint(self, batch: dict, ask: dict | None = None) -> torch.Tensor:",
        f'        """{plan.formula}: (B,).',
        '        `ask` adds to log-factors of summed latents: questions about them come in here."""',
        *terms.program.text(),
    ]


def _forward(plan: Plan, imports: set[str]) -> list[str]:
    head = [
        "    def forward(self, batch: dict) -> Objective:",
        *joint_doc(plan),
        "        batch = self.prepare(batch)",
    ]
    if not plan.summed or plan.spec.terms:
        return [*head, *exact_body(plan, imports, "log_joint")]
    terms = Terms(plan, imports)
    scope, log_joint = terms.scope, "log_joint"
    scope.line("log_joint = self.log_joint(batch)", "(B,)")
    scope.line(loss_line(plan, imports, log_joint))
    scope.line(f"return {scope.use('Objective')}(loss, log_joint={log_joint})")
    return [*head, *terms.program.text()]


def _posterior(plan: Plan, imports: set[str]) -> list[str]:
    program = Program(plan, imports, set(), ("batch",))
    write_guide(program, plan, [], [], set())
    points = ", ".join(f'"{n}": {program.scope.use("Point")}({program.low.known[n].code})' for n in plan.points)
    about = "The point estimate of each latent that has one: `mode` (B, ...)"
    answers, rows = [f"{{{points}}}"], program.text(whole=False)
    if plan.summed:
        imports.add("summed_posterior")
        rows += [*zero_tilts(plan, imports, plan.summed_beside_draws), *mixture_tilts(plan)]
        rows += wrap("summed = summed_posterior(lambda ask: (self.log_joint(batch, ask)[None], {}), tilts)[0]", 2)
        answers.append("summed")
    if plan.integrations:
        answers.append(integral_answers(plan, imports))
    if len(answers) > 1:
        about += "; p of the others given x and these"
    return [
        "    def posterior(self, batch: dict) -> dict:",
        f'        """{about}."""',
        "        batch = self.prepare(batch)",
        *rows,
        *with_parts(plan, imports, " | ".join(answers)),
    ]
