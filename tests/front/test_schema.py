"""The editors' schema is that of the tables, and takes every good spec."""

import json
import re
from textwrap import dedent

import pytest
import yaml

from lvspec.front import schema
from lvspec.front.checks import SECTIONS
from lvspec.front.sections import DATA, INFER, OPTIONS, TRAIN
from lvspec.shipped import shipped
from tests.front.good_specs import CONSTRUCTS

GOOD = {p.stem: p.read_text(encoding="utf-8") for p in sorted(shipped("specs").glob("*.yaml"))}
GOOD |= {n: "lvspec: 1\n" + dedent(t).lstrip("\n") for n, t in CONSTRUCTS.items()}


def test_file_is_made_of_the_tables():
    # anew: python -c "from lvspec.front.schema import text; open('grammar/lvspec.schema.json', 'w').write(text())"
    assert (shipped("grammar") / "lvspec.schema.json").read_text(encoding="utf-8") == schema.text()


def test_every_section_is_in_it():
    assert set(schema.schema()["properties"]) == set(SECTIONS)


@pytest.mark.parametrize("table", [DATA, TRAIN, INFER, OPTIONS], ids=["data", "train", "infer", "strategy"])
def test_every_key_says_what_it_is(table):
    for key in table:
        assert key.meaning
        if key.default is not None and key.choices:
            assert key.default in key.choices


class CoreLoader(yaml.SafeLoader):
    """What an editor sees: numbers with an exponent are numbers, yes and no are texts, as in YAML 1.2."""


CoreLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rows if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
CoreLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))
CoreLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^-?(0|[1-9]\d*)?(\.\d*)?([eE][-+]?\d+)?$"),
    list("-.0123456789"),
)


@pytest.mark.parametrize("name", GOOD)
def test_good_spec_is_valid(name):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(yaml.load(GOOD[name], Loader=CoreLoader), json.loads(schema.text()))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("observed:", "observd:"), "section"),
        (("epochs: 20", "epoch: 20"), "key"),
        (("epochs: 20", "epochs: 0"), "bound"),
        (("format: conllu", "format: connlu"), "choice"),
    ],
    ids=["section", "key", "bound", "choice"],
)
def test_mistake_is_seen_by_an_editor(change, what):
    jsonschema = pytest.importorskip("jsonschema")
    text = GOOD["hmm"].replace(*change)
    assert text != GOOD["hmm"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.load(text, Loader=CoreLoader), json.loads(schema.text()))
