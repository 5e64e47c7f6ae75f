"""What the locals of an emitted module stand for.

    loc, scale = self.encoder(state).chunk(2, -1)      loc: `loc` of q(z), over (B)
    log_p_x = Bernoulli(...).log_prob(x)               log_p_x: log p(x | ...), over (S, B)

The text itself does not say it, since a person reads it. `emit.symbols(plan)` writes the module once more and listens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Symbol:
    """node: of the spec. part: data | let | p (its factor) | q (its guide factor) | kl. axes: as emit/lowering/value.py names them.
    argument: of the distribution, where the local is one."""

    node: str
    part: str
    axes: tuple[str, ...]
    argument: str | None = None


_heard: ContextVar[dict[str, Symbol] | None] = ContextVar("heard", default=None)


@contextmanager
def listening() -> Iterator[dict[str, Symbol]]:
    """Names of locals with their meaning, of everything that is written inside; the first meaning of a name counts."""
    heard: dict[str, Symbol] = {}
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


def tell(name: str, symbol: Symbol) -> None:
    """Somebody may be listening. An argument of a distribution is that, whatever its name stood for when it was computed."""
    heard = _heard.get()
    if heard is not None and (name not in heard or symbol.argument and not heard[name].argument):
        heard[name] = symbol
