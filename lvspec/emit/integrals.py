"""Latents that are integrated out in closed form: a method that collects what the runtime's rule needs, and its answer.

gaussian_chain_z(batch)    z[t] = A z[t-1] + b + noise, x[t] = C z[t] + d + noise, and x
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lvspec.emit.factors import Factor
from lvspec.emit.gaussian_chains import gaussian_chain_body
from lvspec.emit.lower import Lowering
from lvspec.emit.program import Program
from lvspec.emit.value import Value
from lvspec.ir.plan import Integration, Plan


@dataclass(frozen=True)
class Rule:
    """method: before the latent's name. evidence, posterior: the runtime's classes. about: the method's docstring.
    body: writes its statements."""

    method: str
    evidence: str
    posterior: str
    about: str
    body: Callable[[Program, Integration], None]


RULES = {
    "linear_gaussian": Rule(
        "gaussian_chain",
        "GaussianChain",
        "GaussianChainPosterior",
        "The linear-Gaussian chain {z}, with what was seen of it.",
        gaussian_chain_body,
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
        imports.add(rule.evidence)
        rule.body(program, integration)
        methods.append(
            [
                f"    def {method_of(integration)}(self, batch: dict) -> {rule.evidence}:",
                f'        """{rule.about.format(z=integration.latent)}"""',
                *program.text(),
            ]
        )
    return methods


def integral_factor(low: Lowering, integration: Integration) -> Factor:
    """log ∫ p(x, z) dz, one number for each example and each site of the plates around the chain."""
    latent = low.spec.variable(integration.latent)
    value = Value(f"self.{method_of(integration)}(batch).log_prob()", ("B", *latent.plates[:-1]))
    return Factor(latent.name, low.scope.assign(f"log_p_{'_'.join(integration.observed)}", value))


def integral_answers(plan: Plan, imports: set[str]) -> str:
    """`{"z": GaussianChainPosterior(self.gaussian_chain_z(batch))}`: what `posterior` says of integrated latents."""
    imports.update(RULES[i.rule].posterior for i in plan.integrations)
    items = [f'"{i.latent}": {RULES[i.rule].posterior}(self.{method_of(i)}(batch))' for i in plan.integrations]
    return f"{{{', '.join(items)}}}"
