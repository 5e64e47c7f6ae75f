"""Families of distributions, a class in a file each, and functions of their own."""

from lvspec.runtime.core.exports import exports

__all__ = exports(__name__, __path__, globals())
