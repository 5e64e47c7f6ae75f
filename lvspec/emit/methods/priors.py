"""`log_prior`: log p of the parameters that have priors."""

from __future__ import annotations

from lvspec.emit.methods.docstrings import described
from lvspec.emit.text.text import statement, wrap
from lvspec.ir.plan import Plan
from lvspec.ir.priors import OF_PROBABILITIES
from lvspec.ir.spec import ParameterPrior
from lvspec.ir.words import listed

OF_LOGITS = {"Beta": "beta_of_logits", "Dirichlet": "dirichlet_of_logits"}  # the runtime's functions


def prior_method(plan: Plan, imports: set[str]) -> list[str]:
    """`log_prior`, where parameters have priors."""
    priors = plan.spec.priors
    if not priors:
        return []
    tables = [n for n, p in priors.items() if p.family in OF_PROBABILITIES]
    about = f"log p({', '.join(priors)}), (), which the loss shares among the examples of the data set."
    of = f"Of {listed(tables)} it is the density of the probabilities that these logits stand for." if tables else ""
    rows = ["    def log_prior(self) -> torch.Tensor:", *described(about, of)]
    for name, prior in priors.items():
        rows += statement(f"log_p_{name} = {_density(name, prior, imports)}.sum()", "()", 2)
    return [*rows, *wrap(f"return {' + '.join(f'log_p_{n}' for n in priors)}", 2)]


def _density(name: str, prior: ParameterPrior, imports: set[str]) -> str:
    numbers = ", ".join(f"{n:g}" for n in prior.numbers)
    function = OF_LOGITS.get(prior.family)
    imports.add(function or prior.family)
    return f"{function}(self.{name}, {numbers})" if function else f"{prior.family}({numbers}).log_prob(self.{name})"
