"""Invertible networks that draws go through, as data: z_0 ~ base, z = f(z_0), log p(z) = log base(z_0) - log|det df/dz_0|.

Planar                  z + û tanh(w·z + b), û = u made such that w·û >= -1         Rezende & Mohamed 2015
Radial                  z + β (z - c) / (α + |z - c|), α > 0, β >= -α              the same
Coupling                the kept half as it is, the other z ⊙ σ + μ of the kept     Dinh, Sohl-Dickstein & Bengio 2017
InverseAutoregressive   z ⊙ σ + μ, both of the entries before each one              Kingma et al. 2016
MaskedAutoregressive    the inverse of such a map                                   Papamakarios et al. 2017

zuko.MAF                the same, z exp(a) + b                                      Papamakarios et al. 2017
zuko.NSF                a spline of each entry, its knots of those before it        Durkan et al. 2019
zuko.NAF                a rising network of each entry, told of those before it     Huang et al. 2018

Each is `steps` of them; coupling changes halves from step to step, the autoregressive ones the order. With a context
they depend on a vector beside what is drawn: planar and radial maps take their parameters from it.

A dotted kind is a class of a library, which is imported where an emitted module is loaded and nowhere else. z = f(z_0) is
the library's transformation; `inverted`, that is its inverse, so that the density of a given value takes one pass.
"""

from __future__ import annotations

from dataclasses import replace

from lvspec.ir.expr import Dist
from lvspec.ir.networks import NETWORKS, FlowKind
from lvspec.ir.spec import Network

FLOWS: dict[str, FlowKind] = {name: kind.flow for name, kind in NETWORKS.items() if kind.flow is not None}


def flow_of(network: Network) -> FlowKind:
    """The row of a declared flow, as it is turned."""
    row = FLOWS[network.kind]
    return replace(row, forward=row.inverse, inverse=row.forward) if network.option("inverted") else row


def library_of(network: Network) -> str | None:
    """The package whose class a flow is, or None where it is lvspec's own."""
    return network.kind.rpartition(".")[0] or None


def without_inverse(dist: Dist, networks: dict[str, Network]) -> Network | None:
    """The first flow of a distribution whose inverse has no closed form."""
    found = (networks[name] for name, _ in dist.through)
    return next((n for n in found if flow_of(n).inverse is None), None)
