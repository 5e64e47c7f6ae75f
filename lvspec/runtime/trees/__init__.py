"""Sums over trees: inside and outside, dependency trees, grammars."""
