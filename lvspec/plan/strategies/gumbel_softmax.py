"""Gumbel-softmax: a relaxed categorical draw, biased; only on request, and its engine comes in a later issue."""

from __future__ import annotations

from lvspec.plan.claims import Claim, Declined, View

NAME = "gumbel_softmax"


def consider(view: View, latent) -> Claim | Declined:
    if not latent.type.support.finite:
        return Declined("the latent is not categorical")
    return Declined("biased: only on request, and it has no engine yet")
