"""Plan → Python text."""

from __future__ import annotations

from lvspec.emit.methods.header import GENERATED
from lvspec.emit.module import module_text
from lvspec.emit.text.symbols import Symbol, listening
from lvspec.ir.plan import Plan


def emit(plan: Plan, standalone: bool = False, self_check: bool = False) -> str:
    """The module's source: an `nn.Module` over torch and lvspec.runtime, or over torch alone; with a comparison at its end."""
    text = module_text(plan, self_check)
    if standalone:
        from lvspec.emit.text.standalone import inline_runtime

        return inline_runtime(text)
    return text


def symbols(plan: Plan) -> dict[str, Symbol]:
    """What the locals of the module's methods stand for, by name."""
    with listening() as heard:
        module_text(plan)
    return heard


__all__ = ["GENERATED", "Symbol", "emit", "symbols"]
