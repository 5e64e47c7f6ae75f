"""Which sites count of a plate whose length is a variable, by its value in the world at hand."""

from __future__ import annotations

from lvspec.ir.spec import Variable


def counts(world, variable: Variable, at: tuple[int, ...]) -> int:
    """1 where the site of a variable counts, else 0. Of a length that is summed out, as many sites have factors as there
    can be: those that nothing reads are integrated out by their own distribution."""
    for plate, site in zip(variable.plates, at, strict=True):
        options = dict(world.spec.plate(plate).options)
        length = options.get("length")
        if length is None or world.instance.treatments.get(length) == "collapsed":
            continue
        if site >= int(world.value(length, ())) + int(options.get("more", 0)):
            return 0
    return 1
