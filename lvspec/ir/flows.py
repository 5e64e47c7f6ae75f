"""Invertible networks that draws go through, as data: z_0 ~ base, z = f(z_0), log p(z) = log base(z_0) - log|det df/dz_0|.

Planar                  z + û tanh(w·z + b), û = u made such that w·û >= -1         Rezende & Mohamed 2015
Radial                  z + β (z - c) / (α + |z - c|), α > 0, β >= -α              the same
Coupling                the kept half as it is, the other z ⊙ σ + μ of the kept     Dinh, Sohl-Dickstein & Bengio 2017
InverseAutoregressive   z ⊙ σ + μ, both of the entries before each one              Kingma et al. 2016
MaskedAutoregressive    the inverse of such a map                                   Papamakarios et al. 2017

Each is `steps` of them; coupling changes halves from step to step, the autoregressive ones the order. With a context
they depend on a vector beside what is drawn: planar and radial maps take their parameters from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.ir.expr import Dist
from lvspec.ir.spec import Network

ONCE, EACH = "once", "each"  # passes of its network: one, or one for each entry of the vector


@dataclass(frozen=True)
class Flow:
    """forward: passes that a draw takes. inverse: those that the density of a given value takes, None where the
    inverse has no closed form: then only what is drawn has a density."""

    forward: str
    inverse: str | None


FLOWS: dict[str, Flow] = {
    "Planar": Flow(ONCE, None),
    "Radial": Flow(ONCE, None),
    "Coupling": Flow(ONCE, ONCE),
    "InverseAutoregressive": Flow(ONCE, EACH),
    "MaskedAutoregressive": Flow(EACH, ONCE),
}


def without_inverse(dist: Dist, networks: dict[str, Network]) -> Network | None:
    """The first flow of a distribution whose inverse has no closed form."""
    found = (networks[name] for name, _ in dist.through)
    return next((n for n in found if FLOWS[n.kind].inverse is None), None)
