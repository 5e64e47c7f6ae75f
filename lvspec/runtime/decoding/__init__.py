"""Strings from a model: greedy, by beam search, drawn."""

from lvspec.runtime.core.exports import exports

__all__ = exports(__name__, __path__, globals())
