"""What is minimised: minus the mean of an objective over the batch, and minus each example's part of log p(parameters).

loss  = - mean_b objective_b - log p(w) / N       N the examples of the data set
"""

from __future__ import annotations

from lvspec.ir.plan import Plan
from lvspec.ir.spec import Spec


def loss_line(plan: Plan, imports: set[str], objective: str) -> str:
    """`loss = ...` of an objective (B,)."""
    imports.add("weighted_mean")
    prior = " - self.log_prior() / self.dataset_size" if plan.spec.priors else ""
    return f'loss = -weighted_mean({objective}, batch.get("weight")){prior}'


def of_data(spec: Spec) -> dict[str, int]:
    """How many examples the data set of a tiny check has, where the module asks."""
    return {"dataset_size": 2} if spec.counts_examples else {}
