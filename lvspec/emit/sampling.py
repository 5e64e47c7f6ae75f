"""Ancestral sampling, written after the rest of the file (a thin path first)."""

from __future__ import annotations

from lvspec.ir.plan import Plan


def sample_body(plan: Plan, imports: set[str]) -> list[str]:
    return []
