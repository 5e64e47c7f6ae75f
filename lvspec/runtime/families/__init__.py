"""Families of distributions: densities, draws, divergences."""
