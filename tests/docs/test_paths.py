"""A path of the project that a page, a docstring or a comment names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = sorted(p.name for p in (ROOT / "lvspec").iterdir() if p.is_dir() and p.name != "__pycache__")
TOP = ("lvspec", "specs", "grammar", "tests", "examples", "docs", "benchmarks")
NAMED = re.compile(rf"(?<![\w./-])((?:{'|'.join((*TOP, *ROOMS))})/[\w./*-]*\w\.(?:py|md|yaml|lark|txt))\b")
SOURCES = [
    *(ROOT / top for top in ("README.md", "pyproject.toml", "Makefile", "setup.py")),
    *(
        p
        for top in ("docs", "lvspec", "tests", "benchmarks", "examples")
        for p in sorted((ROOT / top).rglob("*"))
        if p.suffix in (".md", ".py")
    ),
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_path_that_is_named_exists(source):
    found = {m.group(1) for m in NAMED.finditer(source.read_text(encoding="utf-8"))}
    lost = [p for p in found if not any(list(base.glob(p)) for base in (ROOT, ROOT / "lvspec", source.parent))]
    assert not lost, lost
