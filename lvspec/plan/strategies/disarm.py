"""DisARM: pairs of opposite draws of a Bernoulli latent; a pair that agrees says nothing, one that does not says much.

    ∇_α E f(b) = E[ (f(b) - f(b'))/2 (b - b') σ(|α|) ]          b = 1[u < σ(α)], b' = 1[1 - u < σ(α)]
Unbiased for any number of sites, which all have opposites in the pair. f carries what lies downstream of the draw.
Dong, Mnih & Tucker 2020.
"""

from __future__ import annotations

from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.prices.sums import drawing
from lvspec.plan.schemes import scheme_reason

NAME = "disarm"


def consider(view: View, latent) -> Claim | Declined:
    reason = scheme_reason(view, latent, "Bernoulli")
    if reason:
        return Declined(reason)
    samples = view.draws(NAME)
    if samples % 2:
        return Declined(f"opposite draws are pairs, and samples={samples} is an odd number")
    why = f"unbiased score function, {samples // 2} pairs of opposite draws against each other (DisARM)"
    return Claim("sampled", False, why, drawing(latent.name), samples=samples)
