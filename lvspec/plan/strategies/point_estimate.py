"""Point estimates: z = value(x), and the objective is log p(x, z).

    q(z | x) = δ(z - value),  value free parameters (maximum a posteriori) or a network of x

Nothing is bounded: a density at one point says nothing of how much mass is around it, and no log p(x) can be told.
"""

from __future__ import annotations

from lvspec.ir.reads import is_improper
from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.model import without_engine
from lvspec.plan.prices.sums import drawing
from lvspec.plan.sampling import point_reason


def consider(view: View, latent) -> Claim | Declined:
    model = view.model
    reason = point_reason(model, latent) or without_engine(model, latent, point=True)
    if reason:
        return Declined(reason)
    name = latent.name
    why = f"point estimate: log p(x, {name}) is maximised in {name}"
    if is_improper(latent):
        why = f"a code without a prior: log p(x | {name}) is maximised in {name}"
    return Claim("point", True, why, drawing(latent.name))
