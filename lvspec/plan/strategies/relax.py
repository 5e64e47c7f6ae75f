"""RELAX: draws against a network of relaxed draws, which learns to make the gradient vary little.

    g = (f(b) - c(ζ')) ∇ log q(b) + ∇ c(ζ) - ∇ c(ζ')            c: all that is observed, and a point near b
Unbiased whatever c is, for any model: the network sees the relaxed value, not the model. Grathwohl, Choi, Wu, Roeder &
Duvenaud 2018.
"""

from __future__ import annotations

from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.guides.derive import control_reason
from lvspec.plan.prices.sums import drawing
from lvspec.plan.schemes import scheme_reason

NAME = "relax"


def consider(view: View, latent) -> Claim | Declined:
    family = "Bernoulli" if latent.type.support.kind == "boolean" else "Categorical"
    reason = scheme_reason(view, latent, family) or control_reason(view.model.spec, latent)
    if reason:
        return Declined(reason)
    samples = view.draws(NAME)
    temperature = view.option(latent.name, NAME, "temperature")
    why = f"unbiased score function, each draw against a network of a relaxed one at temperature {temperature.text} (RELAX)"
    options = (("temperature", temperature),)
    return Claim("sampled", False, why, drawing(latent.name), samples=samples, options=options)
