"""A spec's text → a checked `Spec`: `load(text, name, allow_modules=())` raises `SpecError` with every problem at once."""

from lvspec.front.load import load

__all__ = ["load"]
