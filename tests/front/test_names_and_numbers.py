"""Suggestions, reserved names, class names, and what counts as a number."""

import inspect
import keyword
import re

import pytest

from lvspec.driver import plan_spec
from lvspec.emit import emit
from lvspec.errors import Source, Span
from lvspec.front.names import RESERVED, check_name, class_name, distance, nearest
from lvspec.front.problems import Problems
from lvspec.front.reader import read
from lvspec.front.scalars import number, truth
from lvspec.shipped import shipped
from lvspec.verify.random_specs.generate import generate


def problems():
    return Problems(Source("m.yaml", ""))


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [
        ("emission", "emission", 0),
        ("emision", "emission", 1),
        ("transitoin", "transition", 1),
        ("abc", "xyz", 3),
        ("", "ab", 2),
    ],
)
def test_distance_counts_edits(a, b, edits):
    assert distance(a, b, 5) == distance(b, a, 5) == edits


def test_distance_stops_at_its_limit():
    assert distance("aaaaaaaa", "bbbbbbbb", 2) == 3


def test_nearest_name_is_close_or_none():
    known = ["emission", "transition", "start"]
    assert nearest("emision", known) == "emission"
    assert nearest("prior", known) is None
    assert nearest("K", ["V"]) is None


def test_reserved_names_hold_python_s_and_the_module_s():
    assert set(keyword.kwlist) <= RESERVED
    torch = pytest.importorskip("torch")
    public = {n for n, _ in inspect.getmembers(torch.nn.Module) if not n.startswith("_")}
    assert public <= RESERVED


def test_no_name_of_a_spec_hides_a_method_of_its_module():
    """But for methods that are named after a variable, and those whose names give way to the spec's."""
    texts = [path.read_text() for path in sorted(shipped("specs").glob("*.yaml"))]
    texts += [generate(seed) for seed in range(20)]
    found = set()
    for plan in (plan_spec(text) for text in texts):
        names = [v.name for v in plan.spec.variables]
        names += [f"{word}_{plate}" for word in ("above", "at") for plate in plan.spec.plate_names]
        for method in re.findall(r"^    def (\w+)\(self", emit(plan), re.MULTILINE):
            if not any(f"_{method}".endswith(f"_{name}") for name in names) and not re.match(
                r"computed_of_|\w+_at_draws", method
            ):
                found.add(re.sub(r"_\d+$", "", method))
    assert found - RESERVED == {
        "__init__",
        "at_draws",
        "at_one_site",
        "computed",
        "computed_together",
        "expected",
    }  # the last is a function of the language: refused as such


@pytest.mark.parametrize("name", ["z", "on", "no", "T", "a_b", "x1", "prior", "mean", "state"])
def test_name_is_fine(name):
    found = problems()
    assert check_name(name, Span(1, 1, 1, 2), found) and not found.errors


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1x",
        "_x",
        "x_",
        "a__b",
        "é",
        "ﬁx",
        "a.b",
        "a b",
        "x" * 65,
        "class",
        "forward",
        "x_observed",
        "self",
        "match",
    ],
)
def test_name_is_refused(name):
    found = problems()
    check_name(name, Span(1, 1, 1, 2), found)
    assert len(found.errors) == 1


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("hmm", "HMM"),
        ("sentence_vae", "SentenceVAE"),
        ("naive_bayes", "NaiveBayes"),
        ("mixture_of_rnns", "MixtureOfRNNs"),
        ("x", "X"),
    ],
)
def test_class_is_the_name_in_camel_case(name, cls):
    assert class_name(name) == cls


def text(written):
    return read(f"k: {written}\n", problems()).get("k")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", 0),
        ("-3", -3),
        ("1e-3", 1e-3),
        ("1e3", 1000.0),
        ("12e03", 12000.0),
        ("1.0e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
    ],
)
def test_number_is_read(written, value):
    found = problems()
    assert number(text(written), found, "it") == value and not found.errors
    assert isinstance(number(text(written), found, "it"), type(value))


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("010", "bad-number"), ("0o10", "bad-number"), ("0x1F", "bad-number"), ("1_000", "bad-number"), ("1:30", "bad-number"),
        (".inf", "bad-number"), ("nan", "bad-number"), ("2020-01-01", "bad-number"), ("+1", "bad-number"), ("1e999", "bad-number"),
        ("9" * 33, "bad-number"), ("'1'", "wrong-value"), ("one", "wrong-value"), ("1 2", "wrong-value"), ("٣", "wrong-value"),
    ],
)  # fmt: skip
def test_ambiguous_number_is_refused(written, code):
    found = problems()
    assert number(text(written), found, "it") is None
    assert [d.code for d in found.errors] == [code]


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("yes", "write-true-or-false"),
        ("True", "write-true-or-false"),
        ("'true'", "write-true-or-false"),
        ("1", "wrong-value"),
    ],
)
def test_only_true_and_false_are_truth_values(written, code):
    assert truth(text("true"), problems(), "it") is True
    assert truth(text("false"), problems(), "it") is False
    found = problems()
    assert truth(text(written), found, "it") is None
    assert [d.code for d in found.errors] == [code]
