"""Distributions over structures as random variables: labels of a sequence, and symbols that hidden structures yield."""

from lvspec.runtime.core.exports import exports

__all__ = exports(__name__, __path__, globals())
