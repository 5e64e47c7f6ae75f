"""Latents of a random spec: of every family that a latent can have, alone or on plates."""

from __future__ import annotations

from lvspec.verify.random_specs.coverage import latecomers
from lvspec.verify.random_specs.drafts.chains import chain
from lvspec.verify.random_specs.drafts.draft import Draft, Parent, named
from lvspec.verify.random_specs.drafts.families import distribution, through
from lvspec.verify.random_specs.drafts.layout import beside
from lvspec.verify.random_specs.drafts.position import aligned
from lvspec.verify.random_specs.drafts.structures import labels

FINITE = {"Categorical": 6, "Bernoulli": 4}
SINGLE = {
    "Binomial": 1, "Geometric": 1, "Poisson": 1, "OneHotCategorical": 1, **dict.fromkeys(latecomers("count"), 0),
}  # fmt: skip
REAL = {
    "Normal": 6, "Laplace": 1, "StudentT": 1, "Uniform": 1, "LogNormal": 1, "Exponential": 1, "Gamma": 1, "Beta": 1,
    "Dirichlet": 1, "MultivariateNormal": 1, "NormalMixture": 1, "VonMisesFisher": 1, "SphericalUniform": 1, "Flow": 1,
    "ImproperUniform": 0.3,
    **dict.fromkeys((*latecomers("real"), *latecomers("real", bounded=True), *latecomers("positive")), 0),
}  # fmt: skip
PLAIN = (*FINITE, *SINGLE, *REAL)
STRUCTURED = ("LinearChain", "SemiMarkov", "DependencyCRF", "NonProjectiveCRF", "TreeCRF")


def add_latent(d: Draft) -> None:
    """One latent more: a wished family, or any."""
    families = {**FINITE, **SINGLE, **REAL}
    wished = d.wished("latent {}", list(families))
    if d.alone and (d.wished("latent {}", STRUCTURED) or (not wished and d.chance(0.12))):
        return labels(d)
    if any(d.kinds[p] == "sequence" for p in d.here) and (chained(d) or (not wished and d.chance(0.35))):
        return chain(d)
    if d.wants("!position", 0.06):
        found = aligned(d)
        if found:
            return d.remember(found)
    if d.chance(0.1):
        beside(d)
    family = d.choose(*wished) if wished else d.pick("latent {}", list(families), list(families.values()))
    return latent(d, family)


def chained(d: Draft) -> bool:
    return d.wants("!chain") or bool(
        d.wished(
            "{}", ("z[t-1]", "z[t-2]", "first clause of latent", "second clause of latent", "chains within a plate")
        )
    )


def latent(d: Draft, family: str) -> None:
    """A latent of the family, where brute force can bear it; else a real vector."""
    wished = f"latent {family}" in d.wishes
    d.wishes.discard(f"latent {family}")
    plates = d.stand("latent", 3 if "latent on three plates" in d.wishes else 2)
    if family in FINITE:
        size = "2" if family == "Bernoulli" else d.size("K", 2, 3)
        if not d.room(d.number(size), plates):
            return latent(d, "Normal")
        here = Parent(d.fresh("z"), plates, "switch" if family == "Bernoulli" else "category", size, family=family)
        width = "" if family == "Bernoulli" else size
    elif family in SINGLE or (family in ("Normal", "Gamma", "Beta", "Laplace", "Exponential") and d.chance(0.25)):
        size = d.size("K", 2, 3) if family == "OneHotCategorical" else ""
        if family in ("OneHotCategorical", "Binomial") and not d.room(3, plates):
            if not (wished and d.room(3, ())):
                return latent(d, "Normal")
            plates = ()
        here = Parent(d.fresh("g"), plates, "vector" if size else "number", size, family=family)
        width = size
    else:
        width = (
            d.size("D", 1, 2)
            if family not in ("Dirichlet", "VonMisesFisher", "SphericalUniform")
            else d.size("A", 2, 3)
        )
        here = Parent(d.fresh("g"), plates, "vector", width, family=family)
    index = next((p for p in d.parents if p.kind == "category" and not p.text and p.plates == plates), None)
    if family == "Bernoulli" and index and d.wants("probability 0", 0.06):
        sure = d.choose("{}", f"sigmoid({d.param()}) * {{}}", f"1 - sigmoid({d.param()}) * {{}}")
        d.latent[here.ref] = f"Bernoulli(probs={sure.format(f'equal({index.ref}, 1)')})"
        return d.remember(here)
    d.binds = True
    d.latent[here.ref] = d.where(body(d, "latent", family, d.readable(plates), plates, width))
    d.remember(here)


def body(d: Draft, role: str, family: str, over: list[Parent], plates: tuple[str, ...], size: str) -> str:
    """A distribution, through flows where the family is Flow."""
    if family != "Flow":
        return distribution(d, role, family, over, plates, size)
    base = "Normal(0, 1)" + f"[{size}]" if d.chance(0.6) else distribution(d, role, "Normal", over, plates, size)
    return through(d, role, base, size, over, plates)


def many(d: Draft, count: int) -> None:
    """A tree of latents, each of which reads one before it: wide models of small parts."""
    first = len(d.latents)
    for _ in range(count):
        before = [p for p in d.latents[first:] if not p.plates]
        over = [d.choose(*before[-4:])] if before and d.chance(0.9) else []
        if d.room(2, ()) if d.chance(0.25) else False:
            here = Parent(d.fresh("z"), (), "switch", "2", family="Bernoulli")
            d.latent[here.ref] = d.where(distribution(d, "latent", "Bernoulli", over, (), ""))
        else:
            here = Parent(d.fresh("g"), (), "number", "", family="Normal")
            mean = " + ".join([f"0.5 * {p.ref}" for p in over]) or "0"
            d.latent[here.ref] = f"Normal({mean}, {d.choose('1', '0.5', f'softplus({d.param()})')})"
        d.remember(here)


def ref(name: str, plates: tuple[str, ...]) -> str:
    return named(name, plates)
