"""Conjugacy: a latent integrated in closed form because its prior and likelihoods match. A table, in a later issue."""

from __future__ import annotations

from lvspec.plan.claims import Claim, Declined, View

NAME = "conjugacy"


def consider(view: View, latent) -> Claim | Declined:
    family = latent.general.body.family if hasattr(latent.general.body, "family") else "a choice"
    if latent.type.support.finite:
        return Declined("the latent is finite: nothing to integrate")
    return Declined(f"{family} has no entry in the table of conjugate pairs yet")
