"""Latents outside the batch: one for the data set, alone or one for each value of a category."""

from __future__ import annotations

from lvspec.verify.random_specs.coverage import latecomers
from lvspec.verify.random_specs.drafts.draft import Draft, Parent, named
from lvspec.verify.random_specs.drafts.families import distribution
from lvspec.verify.random_specs.drafts.latents import body

FAMILIES = {
    "Normal": 4, "Laplace": 1, "LogNormal": 1, "Gamma": 1, "Exponential": 1, "Beta": 1, "Dirichlet": 1, "StudentT": 0.5,
    "MultivariateNormal": 0.5, "VonMisesFisher": 0.5, "SphericalUniform": 0.3, "NormalMixture": 0.3, "Uniform": 0.3,
    "Flow": 0.3,
    **dict.fromkeys((*latecomers("real"), *latecomers("real", bounded=True), *latecomers("positive")), 0),
}  # fmt: skip
GUIDED = (
    "Normal", "Laplace", "LogNormal", "Gamma", "Exponential", "Beta", "Dirichlet", "Uniform", *latecomers("real"),
    *latecomers("real", bounded=True), *latecomers("positive"),
)  # fmt: skip


def add_global(d: Draft) -> None:
    """A vector, or one for each value of a category that a latent has: mu[z]."""
    family = d.pick("global {}", list(FAMILIES), list(FAMILIES.values()))
    size = d.size("A", 2, 3) if family in ("Dirichlet", "VonMisesFisher", "SphericalUniform") else d.size("D", 1, 2)
    indices = [p for p in d.latents if p.kind == "category" and not p.text and d.meets(p, d.here)]
    table = bool(indices) and d.wants("global on a plate", 0.5)
    name = d.fresh("g")
    plates = ("k",) if table else ()
    if table:
        index = d.choose(*indices)
        if d.plates.get("k", index.size) != index.size:
            return
        d.plates["k"], d.kinds["k"] = index.size, "fixed"
    d.latent[f"global {named(name, plates)}"] = d.where(body(d, "latent", family, [], (), size))
    if family in GUIDED and d.chance(0.9):
        d.guide[named(name, plates)] = d.where(distribution(d, "guide", family, [], plates, size))
    found = Parent(name, (), "vector", size, f"{name}[{index.ref}]" if table else name, family)
    if table:
        found = Parent(name, index.plates, "vector", size, found.text, family)
    d.remember(found)
