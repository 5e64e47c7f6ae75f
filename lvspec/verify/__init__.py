"""Is an emitted module the model that its spec says? Brute force, in code of its own, answers."""

from lvspec.verify.checks.compare import verify
from lvspec.verify.report import Check, Report, render
from lvspec.verify.shrink import pins, shrink

__all__ = ["Check", "Report", "pins", "render", "shrink", "verify"]
