"""Whether what happens at one site of a plate can be computed without its other sites.

x[t]: Categorical(logits=emission[z[t]])          by site
x[t]: Categorical(logits=reader(words(x[<t])))    not: a stretch is read
"""

from __future__ import annotations

from lvspec.ir.expr import PlateIndex
from lvspec.ir.networks import NETWORKS
from lvspec.ir.reads import HERE, LAG, Reader, bodies, reader_of
from lvspec.ir.spec import Spec, Variable

RANDOM_NETWORKS = tuple(name for name, kind in NETWORKS.items() if not kind.certain)


def site_by_site(spec: Spec, plate: str, latents: tuple[str, ...]) -> bool:
    """Whether the factors along `plate` read their own site alone, and the latents of a chain at earlier ones."""
    there = [v for v in spec.variables if plate in v.plates]
    if any(v.plates[0] != plate for v in there) or any(v.role == "observed" and v.initial for v in there):
        return False
    if any(n.kind in RANDOM_NETWORKS or n.option("dropout") for n in spec.networks):
        return False
    if any(_numbers(b, plate) for v in there for c in v.clauses for b in bodies(c)):
        return False
    reader = reader_of(spec)
    return all(_by_site(reader, v, plate, latents) for v in there if v.role in ("latent", "observed"))


def _by_site(reader: Reader, variable: Variable, plate: str, latents: tuple[str, ...]) -> bool:
    ways = ((read.name, read.way(plate)[0]) for read in reader.of_variable(variable))
    return all(way == HERE or (way == LAG and name in latents) for name, way in ways)


def _numbers(node, plate: str) -> bool:
    """Whether an expression reads the number of the site."""
    if isinstance(node, PlateIndex):
        return node.plate == plate
    return any(_numbers(child, plate) for child in node.children())
