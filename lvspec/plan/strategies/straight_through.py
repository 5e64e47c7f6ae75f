"""Straight-through Gumbel-softmax: the model sees a corner of the simplex, the gradient is that of a point near it.

    z = onehot(argmax(logits + gumbel noise))     dz = d softmax((logits + gumbel noise) / temperature)
Biased, with values that the model knows. Bengio, Léonard & Courville 2013; Jang, Gu & Poole 2017.
"""

from __future__ import annotations

from lvspec.plan.claims import Claim, Declined, View
from lvspec.plan.relaxed import consider_relaxed

NAME = "straight_through"


def consider(view: View, latent) -> Claim | Declined:
    return consider_relaxed(view, latent, NAME)
