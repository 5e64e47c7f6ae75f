"""Which sites count of a plate whose length is a variable, by its value in the world at hand."""

from __future__ import annotations

from lvspec.ir.spec import Spec, Variable


def counts(world, variable: Variable, at: tuple[int, ...]) -> int:
    """1 where the site of a variable counts, else 0. Of a length that is summed out, as many sites have factors as there
    can be: those that nothing reads are integrated out by their own distribution. So is what is summed out itself."""
    for plate, site in zip(variable.plates, at, strict=True):
        options = dict(world.spec.plate(plate).options)
        length = options.get("length")
        if length is None or world.is_summed(length):
            continue
        if variable.role == "latent" and world.is_summed(variable.name):
            return 1
        if site >= int(world.value(length, ())) + int(options.get("more", 0)):
            return 0
    return 1


def summed_lengths(spec: Spec) -> dict[str, str]:
    """The treatment under which all sites have factors: that of p(z | x), whose z is all that there can be."""
    return {length: "collapsed" for p in spec.plates if (length := dict(p.options).get("length"))}
