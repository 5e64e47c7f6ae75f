"""Plan → Python text."""

from __future__ import annotations

from lvspec.emit.header import GENERATED
from lvspec.emit.module import module_text
from lvspec.ir.plan import Plan


def emit(plan: Plan, standalone: bool = False) -> str:
    """The module's source: an `nn.Module` over torch and lvspec.runtime, or over torch alone."""
    text = module_text(plan)
    if standalone:
        from lvspec.emit.standalone import inline_runtime

        return inline_runtime(text)
    return text


__all__ = ["GENERATED", "emit"]
