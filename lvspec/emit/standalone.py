"""One file that needs torch alone: the runtime's definitions that a module uses, taken along."""

from __future__ import annotations


def inline_runtime(text: str) -> str:
    return text
