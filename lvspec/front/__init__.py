"""A spec's text → a checked `Spec`: `load(text, name, allow_modules=())` raises `SpecError` with every problem at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lvspec.ir.spec import Spec

__all__ = ["load"]


def load(text: str, name: str, allow_modules: Iterable[str] = (), derived: str = "") -> Spec:
    """The checked spec of a text; `name` is shown in messages. allow_modules: packages whose classes a spec may name;
    derived: further lines of `networks:` and `guide:`."""
    from lvspec.front import pipeline  # YAML and the parser are read when there is something to check

    return pipeline.load(text, name, allow_modules, derived)
