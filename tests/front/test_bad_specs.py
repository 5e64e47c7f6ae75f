"""Each spec under tests/bad against its transcript; every diagnostic code has such a spec.

New or changed: `python -m tests.front.transcripts` writes the transcripts, and a person reads the difference.
"""

import re
from pathlib import Path

import pytest

import lvspec.front
from lvspec.front.problems import CODES
from tests.front.transcripts import BAD, diagnostics, transcript

SPECS = sorted(BAD.glob("*.yaml"))


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_transcript(path):
    assert transcript(path) == path.with_suffix(".txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_every_diagnostic_has_its_place_in_the_file(path):
    source, found = diagnostics(path)
    assert found
    for d in found:
        assert 1 <= d.span.line <= len(source.lines)
        assert 1 <= d.span.column <= len(source.lines[d.span.line - 1]) + 1
        assert (d.span.line, d.span.column) <= (d.span.end_line, d.span.end_column)


def test_there_are_enough_bad_specs():
    assert len(SPECS) >= 80
    assert {p.stem for p in SPECS} == {p.stem for p in BAD.glob("*.txt")}


def test_every_code_of_the_source_has_a_bad_spec():
    written = set()
    for path in Path(lvspec.front.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        written |= set(re.findall(r'(?:error|warning|stop)\(\s*"([a-z-]+)"', text)) & set(CODES)
    shown = {d.code for p in SPECS for d in diagnostics(p)[1]}
    assert written <= shown
    assert set(CODES) == shown


def test_problems_of_a_file_are_shown_at_once():
    (path,) = BAD.glob("*two_mistakes_at_once.yaml")
    assert [d.code for d in diagnostics(path)[1]] == ["bad-size", "unknown-name", "unknown-name"]
