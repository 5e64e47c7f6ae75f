"""A path of the project that a page, a docstring or a comment names is there."""

import re

import pytest

from tests import ROOT

ROOMS = sorted(p.name for p in (ROOT / "lvspec").iterdir() if p.is_dir() and p.name != "__pycache__")
TOP = ("lvspec", "specs", "grammar", "tests", "examples", "docs", "benchmarks")
NAMED = re.compile(rf"(?<![\w./-])((?:{'|'.join((*TOP, *ROOMS))})/[\w./*-]*\w\.(?:py|md|yaml|lark|txt))\b")


@pytest.mark.parametrize("place", ["README.md", "pyproject.toml", "Makefile", "setup.py", *TOP])
def test_every_path_that_is_named_exists(place):
    lost = []
    for source in sorted((ROOT / place).rglob("*")) if (ROOT / place).is_dir() else [ROOT / place]:
        if source.suffix in (".md", ".py", ".toml", ".yaml", "") and source.is_file():
            bases = (ROOT, ROOT / "lvspec", source.parent)
            named = {m.group(1) for m in NAMED.finditer(source.read_text(encoding="utf-8"))}
            lost += [(str(source), p) for p in sorted(named) if not any(list(base.glob(p)) for base in bases)]
    assert not lost
