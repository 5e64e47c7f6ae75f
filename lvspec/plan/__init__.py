"""Spec → Plan."""

from lvspec.plan.choose import make_plan
from lvspec.plan.complete import guide_lines, shared_lines

__all__ = ["guide_lines", "make_plan", "shared_lines"]
