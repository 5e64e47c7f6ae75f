"""Networks and flows that a spec declares, and those of its user."""

from lvspec.runtime.core.exports import exports

__all__ = exports(__name__, __path__, globals())
