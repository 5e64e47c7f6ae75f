"""Gumbel-softmax: the model sees a point of the simplex near one of its corners, and the gradient passes through it.

    z = softmax((logits + gumbel noise) / temperature)          biased: the model's own z is a corner
The closer to 0 the temperature, the smaller the bias and the larger the variance. The KL is that of the categoricals, in
closed form; with density=relaxed that of the Concrete densities at the draw, and the bound that of the relaxed model.
Jang, Gu & Poole 2017; Maddison, Mnih & Teh 2017. Weights for evaluation, posterior and samples are the discrete model's.
"""

from __future__ import annotations

from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.relaxed import consider_relaxed

NAME = "gumbel_softmax"


def consider(view: View, latent) -> Claim | Declined:
    return consider_relaxed(view, latent, NAME)
