"""Files as people have them: what is wrong with one is told by its place, what it holds, and what to do."""

import json

import numpy as np
import pytest

from lvspec.errors import TrainingError, UsageError
from lvspec.ir.spec import Plate
from lvspec.train.data.batches import collate
from lvspec.train.data.dataset import encoded
from lvspec.train.data.encoders import Numbers, Symbols
from lvspec.train.data.fitting import fitted
from lvspec.train.data.layout import BatchLayout, Field
from lvspec.train.data.readers import read
from lvspec.train.settings import DataSettings
from lvspec.train.start import wanted_data

WORDS = BatchLayout(
    (
        Field("y", "symbol", (), (), None, "y", categories=True, required=False, modelled=False),
        Field("x", "symbol", ("t",), (), None, "x"),
    ),
    (Plate("t", "bag"),),
    (),
)
NUMBERS = BatchLayout(
    (Field("u", "real", (), (), None, "u", modelled=False), Field("v", "real", (), (), None, "v")), (), ()
)
MAIL = {"x": DataSettings(field="text"), "y": DataSettings(field="label")}
SIZES = {"u": DataSettings(column="height"), "v": DataSettings(column="weight")}


def made(file, text, layout, data):
    file.write_text(text, encoding="utf-8")
    records = list(read(file, data))
    encoders = fitted(records, layout, data)
    return encoders, encoded(records, layout, encoders, data)


def lines(*records):
    return "".join(json.dumps(r) + "\n" for r in records)


A, B = {"text": "buy now", "label": "spam"}, {"text": "see me", "label": " ham "}
REFUSED = {
    "a key that only one record lacks": ("m.jsonl", lines(A, B, {"label": "ham"}), r"m.jsonl: record 3 has no x \(`text` is looked for, and it has label\)"),
    "a key that no record has": ("m.jsonl", lines({"body": "a", "label": "b"}), r"no record has a value of x.*`text` is looked for, and it has body, label"),
    "a list of records": ("m.jsonl", json.dumps([A, B]), "m.jsonl:1: `field: text` is for an object, and here stands a list"),
    "a label in a list": ("m.jsonl", lines(A, A | {"label": ["ham"]}), r"m.jsonl: record 2: y: expected one label, found \['ham'\]"),
    "lines of text for two variables": ("m.txt", "buy now\n", "a line of text is one value, and x and y are read"),
    "a word among numbers": ("m.csv", "height,weight\n1,2\n3,NA\n", "m.csv: record 2: v: expected numbers, found 'NA'"),
    "an infinite number": ("m.csv", "height,weight\n1,inf\n", "m.csv: record 1: v: expected numbers, found 'inf'"),
    "two columns of a name": ("m.csv", "height,weight,height\n1,2,3\n", "2 columns are named 'height'; say which by its number"),
    "a given value that is missing": ("m.csv", "height,weight\n1,2\n,3\n", "m.csv: record 2: u is given to the model"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_told_with_its_place(tmp_path, what):
    name, text, message = REFUSED[what]
    table = name.endswith("csv")
    with pytest.raises((UsageError, TrainingError), match=message):
        made(tmp_path / name, text, NUMBERS if table else WORDS, SIZES if table else MAIL)


def test_columns_count_from_1(tmp_path):
    data = {"u": DataSettings(column=0), "v": DataSettings(column=1)}
    with pytest.raises(UsageError, match="no column 0, the row has 2, counted from 1"):
        made(tmp_path / "m.csv", "1,2\n3,4\n", NUMBERS, data)


def test_in_an_array_what_is_no_number_is_missing_and_not_all_of_it_may_be(tmp_path):
    layout, data = BatchLayout((Field("x", "real", (), (None,), None, "x"),), (), ()), {"x": DataSettings(array="x")}
    values = np.array([[1.0, 2.0], [np.nan, 3.0], [5.0, 6.0]])
    np.savez(tmp_path / "m.npz", x=values)
    records = list(read(tmp_path / "m.npz", data))
    dataset = encoded(records, layout, fitted(records, layout, data), data)
    assert collate(dataset, [0, 1, 2])["x_observed"].tolist() == [True, False, True]
    np.savez(tmp_path / "n.npz", x=np.full_like(values, np.nan))
    with pytest.raises(TrainingError, match="x: the training data hold no value"):
        fitted(list(read(tmp_path / "n.npz", data)), layout, data)


def test_a_column_takes_the_place_of_columns_and_the_other_way_round():
    section = {"u": {"columns": "1-5"}, "v": {"column": "weight"}}
    found = wanted_data(NUMBERS, section, {"u": {"column": 2}, "v": {"columns": "1-2"}})
    assert (found["u"].column, found["u"].columns) == (2, None)
    assert (found["v"].column, found["v"].columns) == (None, "1-2")
    with pytest.raises(UsageError, match="data.u: `column` is one place in a table, `columns` are another"):
        wanted_data(NUMBERS, {"u": {"columns": "1-5", "column": 2}}, {})


def test_a_latent_without_a_line_of_its_own_has_no_labels():
    """The command line replaces keys of a line; that there is one is part of the model. Reals cannot be labelled."""
    classes, reals = Field("k", "symbol", (), (), 3, required=False), Field("h", "real", (), (), required=False)
    layout = BatchLayout(NUMBERS.fields, (), (), (classes, reals))
    with pytest.raises(UsageError, match=r"k is a latent: .* so, `k: \{field: class\}` under `data:`"):
        wanted_data(layout, {}, {"k": {"field": "class"}})
    with pytest.raises(UsageError, match="no variable 'h' is read from data"):
        wanted_data(layout, {}, {"h": {"field": "h"}})


def test_whole_numbers_are_shown_without_a_point():
    assert json.dumps(Numbers("binary", ()).show(np.array([1.0, 0.0]))) == "[1, 0]"
    assert json.dumps(Numbers("count", (), scale=0.5).show(np.array([3.0]))) == "[6]"
    assert json.dumps(Numbers("real", ()).show(np.array([3.0]))) == "[3.0]"


@pytest.mark.parametrize("values", [[["a", "b"]], [[1j, 2]]])
def test_arrays_of_texts_or_complex_numbers_are_no_numbers(tmp_path, values):
    np.savez(tmp_path / "m.npz", x=np.array(values))
    layout, data = BatchLayout((Field("x", "real", (), (None,), None, "x"),), (), ()), {"x": DataSettings(array="x")}
    with pytest.raises(UsageError, match="m.npz: record 1: x: expected numbers, found an array of"):
        fitted(list(read(tmp_path / "m.npz", data)), layout, data)


def test_a_number_that_is_observed_may_be_missing(tmp_path):
    _, dataset = made(tmp_path / "m.csv", "height,weight\n1,2\n3,\n", NUMBERS, SIZES)
    batch = collate(dataset, range(2))
    assert batch["v_observed"].tolist() == [True, False] and batch["v"].tolist() == [2, 0]


def test_blanks_around_a_label_are_no_part_of_it(tmp_path):
    encoders, _ = made(tmp_path / "m.jsonl", lines(A, B, {"text": "a", "label": "ham"}), WORDS, MAIL)
    assert isinstance(encoders["y"], Symbols) and encoders["y"].symbols == ("ham", "spam")


@pytest.mark.parametrize(
    ("name", "text"),
    [("m.jsonl", '{"u": 1, "v": 2}\n{"v": 4, "u": 3}\n'), ("m.csv", "v,u\n2,1\n4,3\n"), ("m.npz", "")],
)
def test_what_has_no_place_is_looked_for_by_its_own_name(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    if name == "m.npz":
        np.savez(tmp_path / name, u=np.array([1, 3]), v_train=np.array([2, 4]))
    data = {"u": DataSettings(header=name == "m.csv" or None), "v": DataSettings()}
    records = list(read(tmp_path / name, data))
    dataset = encoded(records, NUMBERS, fitted(records, NUMBERS, data), data)
    batch = collate(dataset, range(2))
    assert batch["u"].tolist() == [1, 3] and batch["v"].tolist() == [2, 4]
