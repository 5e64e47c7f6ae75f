"""YAML as lvspec reads it: nothing is typed behind the writer's back, and every character keeps its place."""

import random

import pytest
import yaml

from lvspec.errors import Source, SpecError
from lvspec.front import load, reader
from lvspec.front.nodes import Mapping, Text
from lvspec.front.problems import Problems
from tests import SPECS


def read(text):
    text = reader.clean(text)
    problems = Problems(Source("m.yaml", text))
    return reader.read(text, problems), [d.code for d in problems.found]


def scalar(text):
    root, codes = read(f"key: {text}\n")
    assert codes == []
    return root.get("key")


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "off", "y", "N", "1e-3", "012", "1:30", "2020-01-01", "null", "0x1F", "=", "-x"]
)
def test_plain_scalar_is_the_text_that_was_written(word):
    assert scalar(word).value == word


@pytest.mark.parametrize("word", ["on", "yes", "n", "1", "1.0", "null", "~"])
def test_key_is_the_text_that_was_written(word):
    root, codes = read(f"{word}: 1\n")
    assert codes == [] and root.entries[0].key.value == word


def test_keys_that_only_look_alike_are_two():
    root, codes = read("1: a\n1.0: b\n")
    assert codes == [] and len(root.entries) == 2


def pieces(node, text):
    """What the file holds where each character of the value is said to stand."""
    lines = text.split("\n")
    spans = [node.part(i, i + 1) for i in range(len(node.value))]
    return "".join(lines[s.line - 1][s.column - 1] for s in spans)


@pytest.mark.parametrize("value", ["a[t-1]", "'a[t-1]'", '"a[t-1]"', "a  # b"])
def test_character_of_a_one_line_scalar_keeps_its_place(value):
    text = f"key:   {value}\n"
    node = scalar(f"  {value}")
    assert node.value and pieces(node, text) == node.value


@pytest.mark.parametrize(
    "text",
    ["k: f(a,\n     b,\n     c)\n", "k: 'f(a,\n  b, c)'\n", "k: >-\n  f(a,\n  b, c)\n", "k: |-\n  f(a,\n  b, c)\n"],
)
def test_names_of_a_folded_scalar_keep_their_places(text):
    root, codes = read(text)
    node = root.get("k")
    assert codes == []
    rows = text.split("\n")
    for name in "abc":
        i = node.value.index(name)
        span = node.part(i, i + 1)
        assert rows[span.line - 1][span.column - 1] == name


def test_escapes_count_as_what_they_are_written_as():
    text = 'k: "a\\x41b"\n'
    node = read(text)[0].get("k")
    assert node.value == "aAb"
    assert [node.part(i, i + 1).column for i in range(3)] == [5, 6, 10]


def test_doubled_quote_is_two_columns():
    node = read("k: 'a''b'\n")[0].get("k")
    assert [node.part(i, i + 1).column for i in range(3)] == [5, 6, 8]


def test_windows_line_ends_and_byte_order_mark_change_nothing():
    plain, marked = read("a: 1\nb: c\n")[0], read("\ufeffa: 1\r\nb: c\r\n")[0]
    assert plain == marked


def test_alias_stands_for_what_it_names():
    root, codes = read("a: &x [K, V]\nb: *x\n")
    assert codes == [] and root.get("a") == root.get("b")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: 1\na: 2\n", "duplicate-key"),
        ("a: !!int 1\n", "yaml-tag"),
        ("a: &x {b: 1}\nc: {<<: *x}\n", "yaml-merge"),
        ("a: &x [*x]\n", "yaml-cycle"),
        ("a: 1\n---\nb: 1\n", "yaml-documents"),
        ("[a]: 1\n", "bad-key"),
        ("a:\n\t- b\n", "yaml-tab"),
        ("a: \x00\n", "control-character"),
        ("a: {s: f(t, max=8)}\n", "yaml-split"),
        ("a: {if: c[t], then: d}\n", "yaml-split"),
        ("a: `b`\n", "yaml-quote"),
        ("a: " + "[" * 65 + "]" * 65 + "\n", "too-large"),
        ("a: [" + "1," * 50_000 + "]\n", "too-large"),
        ("a: 'b", "yaml-syntax"),
        ("a" * 1_000_001, "too-large"),
    ],
)
def test_trap_has_a_diagnostic_of_its_own(text, code):
    assert read(text) == (None, [code]) or read(text)[1] == [code]


def test_deep_nesting_is_stopped_before_python_is():
    assert read("[" * 100_000)[1] == ["too-large"]
    assert read("{a: " * 100_000)[1] == ["too-large"]


def test_nodes_are_texts_and_mappings():
    root, _ = read("a: {b: c}\n")
    assert isinstance(root.get("a"), Mapping) and isinstance(root.get("a").get("b"), Text)


def test_error_inside_a_folded_expression_is_shown_where_it_stands():
    text = "lvspec: 1\nobserved:\n  x: Normal(0,\n     softplos(1))\n"
    with pytest.raises(SpecError) as caught:
        load(text, "m.yaml")
    (d,) = caught.value.diagnostics
    assert d.code == "unknown-function" and (d.span.line, d.span.column) == (4, 6)


PIECES = ["a", "b: ", "x[t]: Normal(0, 1)", "\n", "\n  ", "\n    ", "- ", "{", "}", "[", "]", ", ", ": ", ":", "'", '"',
          "#", " #c", "|", ">", "|-\n ", "é", "𝒳", "? ", "--- ", "%", "@", "\\n", "!t ", "&a ", "*a", "\t", " ", "<<", "~"]  # fmt: skip


def test_libyaml_changes_neither_values_nor_places_nor_messages(monkeypatch):
    """Against PyYAML's own parser: pieces put together at random, lines of specs with a piece in them."""
    draw, rows = random.Random(3), [r for p in sorted(SPECS.glob("*.yaml")) for r in p.read_text().splitlines() if r]
    texts = ["".join(draw.choices(PIECES, k=draw.randrange(1, 13))) for _ in range(700)]
    for _ in range(700):
        some = "\n".join(draw.choices(rows, k=4))
        cut = draw.randrange(len(some))
        texts.append(some[:cut] + draw.choice(PIECES) + some[cut + draw.randrange(3) :])
    texts += [p.read_text() for p in SPECS.glob("*.yaml")]

    def all_read():
        found = [(Problems(Source("m.yaml", t)), t) for t in map(reader.clean, texts)]
        return [(reader.read(t, problems), problems.found) for problems, t in found]

    pure = monkeypatch.context()
    quick = all_read()
    with pure as m:
        m.delattr(yaml, "CSafeLoader")
        assert all_read() == quick
    assert sum(root is not None for root, _ in quick) > 200  # of which libyaml reads most
