"""Estimators of gradients and bounds: control variates, relaxed draws, schemes of draws, importance weights."""

from lvspec.runtime.core.exports import exports

__all__ = exports(__name__, __path__, globals())
