"""The version that generated files carry."""

from lvspec import __version__ as VERSION

__all__ = ["VERSION"]
