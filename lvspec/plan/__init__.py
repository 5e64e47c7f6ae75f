"""Spec → Plan."""

from lvspec.plan.choose import make_plan

__all__ = ["make_plan"]
