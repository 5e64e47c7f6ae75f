"""The wheel holds specs/ and grammar/ as lvspec.specs and lvspec.grammar; all else is in pyproject.toml."""

from setuptools import find_packages, setup

ROOMS_OUTSIDE = {"lvspec.specs": "specs", "lvspec.grammar": "grammar"}

setup(packages=[*find_packages(include=["lvspec", "lvspec.*"]), *ROOMS_OUTSIDE], package_dir=ROOMS_OUTSIDE)
