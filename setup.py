"""Packages, the folders beside them that are installed with them, and what a source release holds."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.sdist import sdist

ROOMS_OUTSIDE = {"lvspec.specs": "specs", "lvspec.grammar": "grammar"}
RELEASED = ("specs", "grammar", "tests", "docs", "examples", "benchmarks")
ALSO = ("Makefile", "constraints.txt", "LICENSE")


class SourceRelease(sdist):
    """Everything that the tests read, so that they pass from an unpacked release."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        found = [
            p for folder in RELEASED for p in Path(folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts
        ]
        super().make_release_tree(base_dir, sorted({*files, *map(str, found), *ALSO}))


setup(
    packages=[*find_packages(include=["lvspec", "lvspec.*"]), *ROOMS_OUTSIDE],
    package_dir=ROOMS_OUTSIDE,
    cmdclass={"sdist": SourceRelease},
)
