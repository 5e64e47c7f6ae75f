"""docs/language.md holds every word of the language, and its examples read."""

import re

import pytest

from lvspec.errors import Source
from lvspec.front import load, reader
from lvspec.front.checks import SECTIONS
from lvspec.front.declarations import NOMINAL
from lvspec.front.names import TAKEN
from lvspec.front.nodes import Mapping, Text
from lvspec.front.params import INITS
from lvspec.front.parser import parse_target, parse_value
from lvspec.front.problems import Problems
from lvspec.front.sections import INFER
from lvspec.front.variables import GIVEN
from lvspec.ir.distributions import FAMILIES
from lvspec.ir.functions import FUNCTIONS
from lvspec.ir.networks import NETWORKS
from tests import ROOT

PAGE = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
WORDS = {
    "section": SECTIONS,
    "distribution": FAMILIES,
    "argument": {a.name for f in FAMILIES.values() if f.engine for a in f.arguments},
    "function": set(FUNCTIONS) - {"stack"},
    "network": NETWORKS,
    "taken name": set(TAKEN),
    "option": {name for k in NETWORKS.values() for name, _ in k.options},
    "rule": INITS,
    "source": NOMINAL,
    "given": GIVEN,
    "setting": {k.name for k in INFER},
}


@pytest.mark.parametrize("kind", WORDS)
def test_every_word_is_on_the_page(kind):
    shown = re.findall(r"`([^`]+)`", PROSE) + EXAMPLES
    code = set(re.findall(r"\w+", " ".join(shown)) + re.findall(r"\w+\.\w+", " ".join(shown)))
    assert set(WORDS[kind]) <= code


@pytest.mark.parametrize("text", [e for e in EXAMPLES if "lvspec:" in e], ids=lambda e: e.split("\n")[0])
def test_complete_example_has_no_problem(text):
    assert load(text, "example.yaml").warnings == ()


@pytest.mark.parametrize("text", [e for e in EXAMPLES if "lvspec:" not in e], ids=lambda e: e.split("\n")[0])
def test_fragment_can_be_parsed(text):
    problems = Problems(Source("example.yaml", text))
    root = reader.read(text, problems)
    for section in root.entries:
        for entry in section.value.entries if section.key.value != "params" else ():
            assert parse_target(entry.key, problems)
            values = [e.value for e in entry.value.entries] if isinstance(entry.value, Mapping) else [entry.value]
            assert all(isinstance(v, Text) and parse_value(v, problems) for v in values)
    assert problems.found == []
