"""Latents that are integrated out in closed form: a method that collects what the runtime's rule needs, and its answer.

gaussian_chain_z(batch)    z[t] = A z[t-1] + b + noise, x[t] = C z[t] + d + noise, and x
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lvspec.emit.factors.conjugates import conjugate_body
from lvspec.emit.factors.factors import Factor
from lvspec.emit.factors.joint_gaussian import evidence_axes, gaussian_block_body
from lvspec.emit.factors.linear_gaussian import gaussian_chain_body
from lvspec.emit.lowering.lower import Lowering
from lvspec.emit.lowering.program import Program
from lvspec.emit.lowering.scope import MOST_LETTERS
from lvspec.emit.lowering.value import Value, permute
from lvspec.ir.conjugate import GAUSSIAN
from lvspec.ir.plan import Integration, Plan
from lvspec.ir.spec import Variable


@dataclass(frozen=True)
class Rule:
    """method: before the latent's name. evidence: the runtime's class that it gives. posterior: the class that answers
    questions, where that is another one; mixed: of a mixture, whose components summed latents choose; weighed: where it is known
    how probable these are. chain: whether it is of a whole chain; block: of
    latents that factors join. about: the method's docstring. body: writes its statements."""

    method: str
    evidence: Callable[[Variable], str]
    posterior: str | None
    about: str
    body: Callable[[Program, Integration], None]
    mixed: str | None = None
    weighed: str | None = None
    chain: bool = False
    block: bool = False


RULES = {
    "linear_gaussian": Rule(
        "gaussian_chain",
        lambda latent: "GaussianChain",
        "GaussianChainPosterior",
        "The linear-Gaussian chain {z} given the observations, for the Kalman filter.",
        gaussian_chain_body,
        chain=True,
    ),
    "conjugacy": Rule(
        "conjugate",
        lambda latent: "GaussianFactors" if latent.general.dist.family in GAUSSIAN else "Conjugate",
        None,
        "{z} with its conjugate prior and the sufficient statistics of its observations.",
        conjugate_body,
        "mixed_conjugate",
        "weighed_conjugate",
    ),
    "joint_gaussian": Rule(
        "gaussian_block",
        lambda latent: "GaussianBlock",
        "block_posterior",
        "{z}, jointly Gaussian, given the observations.",
        gaussian_block_body,
        "mixed_block_posterior",
        "weighed_block_posterior",
        block=True,
    ),
}


def method_of(integration: Integration) -> str:
    """The name of its method; of many latents, the first one (no other block has it) stands for all."""
    names = "_".join(integration.latents)
    if len(names) > MOST_LETTERS and len(integration.latents) > 1:
        names = f"{integration.latents[0]}_and_others"
    return f"{RULES[integration.rule].method}_{names}"


def integral_methods(plan: Plan, imports: set[str]) -> list[list[str]]:
    """One method for each integrated latent."""
    methods = []
    for integration in plan.integrations:
        rule, names = RULES[integration.rule], " and ".join(integration.latents)
        program = Program(plan, imports, set(plan.summed), ("batch",))
        kind = rule.evidence(plan.spec.variable(integration.latent))
        imports.add(kind)
        rule.body(program, integration)
        methods.append(
            [
                f"    def {method_of(integration)}(self, batch: dict) -> {kind}:",
                f'        """{rule.about.format(z=names)}"""',
                *program.text(),
            ]
        )
    return methods


def integral_factor(low: Lowering, integration: Integration, asked: bool = False) -> Factor:
    """log ∫ p(x, z) dz, for each example and each site of the latent's plates; of a chain, for each chain. asked: whether
    a tilt asks which values of summed latents choose its coefficients."""
    latent, rule = low.spec.variable(integration.latent), RULES[integration.rule]
    plates = latent.plates[:-1] if rule.chain else latent.plates
    axes = ("B", *integration.choices, *plates)
    if rule.block:
        axes = evidence_axes(integration)
    value = Value(f"self.{method_of(integration)}(batch).log_prob()", axes)
    value = low.scope.assign(f"log_p_{'_'.join(integration.observed or ('nothing',))}", value)
    if asked and integration.choices:
        with low.scope.when(f'"{latent.name}" in tilt'):
            low.scope.line(f'{value.code} = {value.code} + tilt["{latent.name}"]')
    return Factor(latent.name, permute(value, low.order.sort(axes)))


def mixtures(plan: Plan) -> list[Integration]:
    """Integrals whose coefficients summed latents choose, beside latents that are drawn, or their points: the components are
    weighed as these latents are."""
    return [i for i in plan.integrations if i.choices] if plan.sampled or plan.points else []


def asks(plan: Plan) -> bool:
    """Whether draws, or points, are asked what is summed beside them."""
    return bool(plan.summed_beside_draws or mixtures(plan))


def integral_answers(plan: Plan, imports: set[str]) -> str:
    """`{"z": GaussianChainPosterior(self.gaussian_chain_z(batch))}`: what `posterior` says of integrated latents."""
    items, found = [], []
    for integration in plan.integrations:
        known, rule = f"self.{method_of(integration)}(batch)", RULES[integration.rule]
        name = integration.latent
        if integration.choices:  # its posterior is a mixture then
            imports |= {n for n in (rule.mixed, rule.weighed) if n}
            ask = "lambda tilt, semiring: self.log_marginal(batch, tilt, semiring)"
            weighed = f'{rule.weighed}({known}, summed["{name}"].marginals, "{name}")'
            beside = plan.sampled or plan.points
            found.append(weighed if beside else f'{rule.mixed}({known}, {ask}, tilts, "{name}")')
            continue
        imports |= {rule.posterior} if rule.posterior else set()
        if rule.block:
            found.append(f"{rule.posterior}({known})")
        else:
            items.append(f'"{name}": {rule.posterior}({known})' if rule.posterior else f'"{name}": {known}')
    return " | ".join([*([f"{{{', '.join(items)}}}"] if items else []), *found]) or "{}"
