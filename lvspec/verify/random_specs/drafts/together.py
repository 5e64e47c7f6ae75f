"""A mean and its covariance that are drawn together, and vectors around them."""

from __future__ import annotations

from lvspec.verify.random_specs.drafts.draft import Draft, Parent, named
from lvspec.verify.random_specs.drafts.families import distribution


def pair(d: Draft) -> None:
    """(mu, Sigma), alone or on a plate, in the batch or outside of it; last, so that the rest is as without it."""
    size, names = d.size("D", 1, 2), (d.fresh("m"), d.fresh("s"))
    indices = [p for p in d.latents if p.kind == "category" and not p.text and set(p.plates) <= set(d.here)]
    outside = d.wants("global NormalInverseWishart", 0.2) and "k" not in d.plates
    body = distribution(d, "latent", "NormalInverseWishart", [], (), size)
    if outside and indices:
        index = d.choose(*indices)
        d.plates["k"], d.kinds["k"] = index.size, "fixed"
        d.latent[f"global ({', '.join(named(n, ('k',)) for n in names)})"] = body
        mu, sigma = (f"{n}[{index.ref}]" for n in names)
        plates = index.plates
    else:
        plates = () if outside else d.stand("latent", 1)
        mu, sigma = (named(n, plates) for n in names)
        d.latent[f"{'global ' if outside else ''}({mu}, {sigma})"] = body
    seen = Parent(d.fresh("v"), d.order(dict.fromkeys((*d.here, *plates))), "vector", size)
    if len(seen.plates) <= 3:
        d.observed[seen.ref] = f"MultivariateNormal({mu}, covariance_matrix={sigma})"
