"""Where opaque operators of compiled graphs are registered."""

from __future__ import annotations

OP_NAMESPACE = "lvspec"  # a standalone file has one of its own
