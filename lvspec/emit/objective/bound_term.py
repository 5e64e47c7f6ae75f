"""A term of the ELBO: what a factor or a divergence contributes, before it is added up."""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.emit.factors.factors import Mask
from lvspec.emit.lowering.value import Value


@dataclass(frozen=True)
class BoundTerm:
    """A term of the ELBO. latent: whose divergence it is (None: reconstruction); it counts negatively then.
    term: the term of `objective:` that it is, added to the objective, not to the ELBO. node: whose log-density it is, of the
    reconstruction; of a sum over latents, theirs."""

    latent: str | None
    value: Value
    mask: Mask | None = None
    term: str | None = None
    node: str = ""
