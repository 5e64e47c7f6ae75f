"""Latents that are integrated out in closed form: a method that collects what the runtime's rule needs, and its answer.

gaussian_chain_z(batch)    z[t] = A z[t-1] + b + noise, x[t] = C z[t] + d + noise, and x
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lvspec.emit.conjugates import conjugate_body
from lvspec.emit.factors import Factor
from lvspec.emit.gaussian_chains import gaussian_chain_body
from lvspec.emit.lower import Lowering
from lvspec.emit.program import Program
from lvspec.emit.value import Value
from lvspec.ir.conjugate import GAUSSIAN
from lvspec.ir.plan import Integration, Plan
from lvspec.ir.spec import Variable


@dataclass(frozen=True)
class Rule:
    """method: before the latent's name. evidence: the runtime's class that it gives. posterior: the class that answers
    questions, where that is another one. about: the method's docstring. body: writes its statements."""

    method: str
    evidence: Callable[[Variable], str]
    posterior: str | None
    about: str
    body: Callable[[Program, Integration], None]


RULES = {
    "linear_gaussian": Rule(
        "gaussian_chain",
        lambda latent: "GaussianChain",
        "GaussianChainPosterior",
        "The linear-Gaussian chain {z}, with what was seen of it.",
        gaussian_chain_body,
    ),
    "conjugacy": Rule(
        "conjugate",
        lambda latent: "GaussianFactors" if latent.general.body.family in GAUSSIAN else "Conjugate",
        None,
        "{z} with its conjugate prior, and the sufficient statistics of what reads it.",
        conjugate_body,
    ),
}


def method_of(integration: Integration) -> str:
    return f"{RULES[integration.rule].method}_{integration.latent}"


def integral_methods(plan: Plan, imports: set[str]) -> list[list[str]]:
    """One method for each integrated latent."""
    methods = []
    for integration in plan.integrations:
        rule = RULES[integration.rule]
        program = Program(plan, imports, set(), ("batch",))
        kind = rule.evidence(plan.spec.variable(integration.latent))
        imports.add(kind)
        rule.body(program, integration)
        methods.append(
            [
                f"    def {method_of(integration)}(self, batch: dict) -> {kind}:",
                f'        """{rule.about.format(z=integration.latent)}"""',
                *program.text(),
            ]
        )
    return methods


def integral_factor(low: Lowering, integration: Integration) -> Factor:
    """log ∫ p(x, z) dz, for each example and each site of the latent's plates; of a chain, for each chain."""
    latent = low.spec.variable(integration.latent)
    sites = latent.plates[:-1] if integration.rule == "linear_gaussian" else latent.plates
    value = Value(f"self.{method_of(integration)}(batch).log_prob()", ("B", *sites))
    return Factor(latent.name, low.scope.assign(f"log_p_{'_'.join(integration.observed)}", value))


def integral_answers(plan: Plan, imports: set[str]) -> str:
    """`{"z": GaussianChainPosterior(self.gaussian_chain_z(batch))}`: what `posterior` says of integrated latents."""
    items = []
    for integration in plan.integrations:
        known, answers = f"self.{method_of(integration)}(batch)", RULES[integration.rule].posterior
        imports |= {answers} - {None}
        items.append(f'"{integration.latent}": {answers}({known})' if answers else f'"{integration.latent}": {known}')
    return f"{{{', '.join(items)}}}"
