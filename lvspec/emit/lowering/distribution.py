"""A distribution in emitted text: the class that its family's row names, called with the arguments.

Normal(loc, scale_z).log_prob(z)            q_z.draw(z_noise)            q_z.kl(Normal(0, 1))
"""

from __future__ import annotations

from collections.abc import Iterable

from lvspec.emit.lowering.scope import Scope


def distribution(scope: Scope, family: str, arguments: Iterable[str]) -> str:
    """`Normal(loc, scale)`, or the local that it is."""
    code = f"{scope.use(family)}({', '.join(arguments)})"
    return scope.distributions.get(code, code)


def named_distribution(scope: Scope, name: str, family: str, arguments: Iterable[str]) -> str:
    """`q_z = Normal(loc, scale)`, and the name."""
    code = f"{scope.use(family)}({', '.join(arguments)})"
    if code not in scope.distributions:
        scope.distributions[code] = scope.names.fresh(name)
        scope.line(f"{scope.distributions[code]} = {code}")
    return scope.distributions[code]
