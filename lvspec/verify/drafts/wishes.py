"""What a wish for a construct takes for granted: an argument its distribution, a flow's option the flow, a strategy its latent."""

from __future__ import annotations

import random

from lvspec.ir.distributions import FAMILIES
from lvspec.ir.flows import FLOWS
from lvspec.verify.drafts.guides import OF

STRATEGY = {
    "disarm": ("latent Bernoulli",),
    "relax": ("latent Bernoulli",),
    "sum_and_sample": ("latent Categorical",),
    "without_replacement": ("latent Categorical",),
    "subset": ("latent Categorical", "latent alone"),
    "gumbel_softmax": ("latent Categorical",),
    "straight_through": ("latent Categorical",),
    "stratified": ("guide NormalMixture", "latent Normal"),
    "point_estimate": ("guide Delta", "latent Normal"),
    "marginals": ("guide LinearChain", "z[t-1]"),
    "dynamic_programming": ("z[t-1]",),
    "structured_mean_field": ("z[t-1]",),
    "linear_gaussian": ("z[t-1]",),
    "conjugacy": ("latent Gamma", "observed Poisson"),
    "mean_field": ("latent Dirichlet",),
    "reparameterization": ("latent Normal", "guide Normal"),
}


def needs(wish: str, rng: random.Random) -> list[str]:
    """Constructs without which there is no room for it."""
    word, _, rest = wish.partition(".")
    if rest and word in FAMILIES:
        return [f"{rng.choice(('latent', 'observed'))} {word}"]
    if wish.startswith("guide ") and wish.partition(" ")[2] in FAMILIES or wish == "guide Flow":
        families = [f for f, guides in OF.items() if wish.partition(" ")[2] in guides]
        return [f"latent {rng.choice(families)}"] if families else []
    kind, _, role = wish.partition(" of a ")
    if kind in FLOWS and role:
        return ["guide Flow", "latent Normal"] if role == "guide" else [f"{role} Flow"]
    name = wish.partition("(")[0]
    if name in FLOWS:
        return [f"{name} of a guide", "guide Flow", "latent Normal"]
    if wish in ("several flows", "flow with a context"):
        return ["guide Flow", "latent Normal"]
    strategy = wish.removeprefix("infer ").partition("(")[0]
    return list(STRATEGY.get(strategy, ()))
