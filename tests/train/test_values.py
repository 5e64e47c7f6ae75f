"""Raw values as symbols and numbers: what is missing, what is filled up, what is refused with its place."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lvspec.errors import TrainingError, UsageError
from lvspec.ir.dims import Dim
from lvspec.ir.spec import Plate
from lvspec.train.data.batches import collate
from lvspec.train.data.dataset import encoded
from lvspec.train.data.fitting import fitted
from lvspec.train.data.layout import BatchLayout, Field
from lvspec.train.data.readers import read
from lvspec.train.data.sources import Files, records_of
from lvspec.train.data.tree_labels import TreeLabels
from lvspec.train.data.values import symbol
from lvspec.train.evaluation.gold import GOLD, gold_settings
from lvspec.train.settings import DataSettings

PLATES = (Plate("d", "sequence"), Plate("t", "sequence", within="d"), Plate("j", "fixed", Dim.of(2)))
LABEL = Field("y", "symbol", (), (), None, "y", categories=True, required=False, modelled=False)


def words(*plates, **more):
    return Field("x", "symbol", plates, (), None, "x", sites=tuple(2 if p == "j" else None for p in plates), **more)


def reals(*plates, event=()):
    return Field("x", "real", plates, event, None, "x", sites=tuple(2 if p == "j" else None for p in plates))


def made(records, *fields, data=None):
    layout = BatchLayout(fields, PLATES, ())
    data = data or {f.name: DataSettings() for f in fields}
    encoders = fitted(records, layout, data)
    return encoders, encoded(records, layout, encoders, data)


def from_lines(file, records, *fields):
    file.write_text("".join(json.dumps({"x": r}) + "\n" for r in records))
    return made(list(read(file, {"x": DataSettings(format="jsonl")})), *fields)


@pytest.mark.parametrize(
    ("raw", "found"),
    [("a", "a"), (3, "3"), (3.0, "3"), (-1, "-1"), (np.float32(2), "2"), (np.True_, "1"), (None, None), ("", None)]
    + [(math.nan, None), (np.float64("nan"), None), (10**30, "1" + "0" * 30)],
)
def test_a_symbol_is_a_text_or_the_digits_of_a_whole_number(raw, found):
    assert symbol(raw) == found


@pytest.mark.parametrize("raw", [True, 3.5, math.inf, ["a"], {"a": 1}, b"a", 1j])
def test_what_else_there_is_is_no_symbol(raw):
    with pytest.raises(UsageError, match="expected a symbol, a text or a whole number, found "):
        symbol(raw)


WHOLE = ["a", "b"]
NO_SYMBOLS = {
    "a list": ([["a", ["b"]]], words("d"), r"m: record 1: x: expected a symbol.* found \['b'\]"),
    "an object": ([WHOLE, ["a", {"b": 1}]], words("d"), r"m: record 2: x: .* found \{'b': 1\}"),
    "a truth value": ([WHOLE, ["a", True]], words("d"), "m: record 2: x: .* found true"),
    "a fraction": ([WHOLE, ["a", 0.5]], words("d"), "m: record 2: x: .* found 0.5"),
    "a number for a sequence": ([WHOLE, 3], words("d"), "m: record 2: x: expected a list of symbols, found 3"),
    "a label that is true": (["a", True], words(categories=True), "m: record 2: x: .* found true"),
    "one level too deep": ([[["a"]], [[["a"]]]], words("d", "t"), r"m: record 2: x: .* found \['a'\]"),
    "a number among texts": ([["a"], ["a", 3]], words("d", "t"), "m: record 2: x: expected a list of symbols, found 3"),
    "a label for lists": (["a b"], words("d", "t"), "m: record 1: x: expected a list of sequences, found 'a b'"),
    "no length": ([["a"], ["a", None]], words("d", "t"), "m: record 2: x: null stands for the values along t, and nothing"),
}  # fmt: skip


@pytest.mark.parametrize("what", NO_SYMBOLS)
def test_what_is_no_symbol_is_refused_with_its_place(tmp_path, what):
    records, field, message = NO_SYMBOLS[what]
    with pytest.raises(UsageError, match=message):
        from_lines(tmp_path / "m", records, field)


NO_NUMBERS = {
    "a truth value": ([[1.0], [True]], reals("d"), "m: record 2: x: expected numbers, found true$"),
    "a word": ([[1.0], ["many"]], reals("d"), "m: record 2: x: expected numbers, found 'many'; where"),
    "an object": ([[1.0], [{"a": 1}]], reals("d"), r"m: record 2: x: expected numbers, found \{'a': 1\}"),
    "a list": ([[1.0], [[1.0]]], reals("d"), r"m: record 2: x: expected numbers, found \[1.0\]"),
    "a number for a sequence": ([[1.0], 3], reals("d"), "m: record 2: x: expected a list of numbers, found 3"),
    "a number for a vector": ([[[1, 2], 3]], reals("d", event=(2,)), "m: record 1: x: expected a list of numbers, found 3"),
    "more than a float": ([1, 10**400], reals(), "m: record 2: x has a number that is infinite"),
    "short vectors": ([[[1, 2], [3]]], reals("d", event=(2,)), "m: record 1: x: 1 and 2 values in a vector stand in one record"),
    "short rows": ([[[1], [2, 3]]], reals("d", "j"), "m: record 1: x: 1 and 2 values along j stand in one record"),
    "no length": ([[[1], None]], reals("d", "t"), "m: record 1: x: null stands for the values along t, and nothing says how"),
}  # fmt: skip


@pytest.mark.parametrize("what", NO_NUMBERS)
def test_what_is_no_number_is_refused_with_its_place(tmp_path, what):
    records, field, message = NO_NUMBERS[what]
    with pytest.raises((UsageError, TrainingError), match=message):
        from_lines(tmp_path / "m", records, field)


@pytest.mark.parametrize(
    ("records", "field", "seen"),
    [
        ([[[1, 2], None, [0.5, 0.1]], [[3, 4]]], reals("d", event=(2,)), [[True, False, True], [True, False, False]]),
        ([[[1, 2]], [None, None]], reals("d", event=(None,)), [[True, False], [False, False]]),
        ([[[1, 2]], [[None, None]]], reals("d", event=(2,)), [[True], [False]]),
        ([[[1, 2], None]], reals("d", "j"), [[[True, True], [False, False]]]),
        ([[None, 2]], reals("j"), [[False, True]]),
        ([[["a", "b"], None]], words("d", "j"), [[[True, True], [False, False]]]),
        ([["a", None]], words("d"), [[True, False]]),
        ([[["a", None], ["b", "a"], None]], replace(words("d"), event=(2,)), [[False, True, False]]),
        ([[["a", None], []]], words("d", "t"), [[[True, False], [True, True]]]),
        ([[[[1, 2], None], []]], reals("d", "t", event=(2,)), [[[True, False], [True, True]]]),
    ],
)
def test_null_is_a_missing_entry_vector_or_row(tmp_path, records, field, seen):
    _, dataset = from_lines(tmp_path / "m", records, field)
    batch = collate(dataset, range(len(records)))
    found = batch["x_observed"].clone()
    if "t" in field.plates:  # beyond an example's own sites nothing is said
        found[batch["t"].unsqueeze(-1) <= torch.arange(found.shape[2])] = True
    assert found.tolist() == seen


def test_a_text_of_one_number_is_a_sequence_of_one(tmp_path):
    _, dataset = from_lines(tmp_path / "m", ["0.5", "1, 2.5"], reals("d"))
    assert [e.values["x"].tolist() for e in dataset.examples] == [[0.5], [1, 2.5]]


def test_an_empty_sequence_of_vectors_is_left_out(tmp_path):
    _, dataset = from_lines(tmp_path / "m", [[[1, 2]], []], reals("d", event=(2,)))
    assert (len(dataset), dataset.dropped) == (1, 1)


def test_blanks_around_the_labels_of_a_list_are_no_part_of_them():
    encoders, _ = made([{"x": ["N ", " V", "N"]}], words("d", categories=True))
    assert encoders["x"].symbols == ("N", "V")


def test_in_an_array_of_labels_what_is_no_number_is_missing(tmp_path):
    path, x = tmp_path / "m.npz", Field("x", "real", (), (None,), None, "x")
    np.savez(path, x=np.ones((4, 2)), lab=np.array([1.0, np.nan, 0.0, np.nan]))
    data = {"y": DataSettings(array="lab"), "x": DataSettings(array="x")}
    encoders, dataset = made(list(read(path, data)), LABEL, x, data=data)
    assert encoders["y"].symbols == ("0", "1")
    assert collate(dataset, range(4))["y_observed"].tolist() == [True, False, True, False]
    gold = list(read(path, {GOLD: gold_settings("lab", DataSettings())}))
    assert [symbol(r[GOLD]) for r in gold] == ["1", None, "0", None]


def test_a_file_without_the_array_of_a_latent_has_no_labels(tmp_path):
    path, x = tmp_path / "m.npz", Field("x", "real", (), (None,), None, "x")
    np.savez(path, x_train=np.ones((4, 2)), x_dev=np.ones((3, 2)), lab_train=np.array(["a", "b", "a", ""]))
    data = {"y": DataSettings(array="lab"), "x": DataSettings(array="x")}
    records = {part: records_of(Files(str(path)), part, data) for part in ("train", "valid")}
    encoders, dataset = made(records["train"], LABEL, x, data=data)
    assert len(dataset) == 4 and encoders["y"].symbols == ("a", "b")
    valid = encoded(records["valid"], dataset.layout, encoders, data)
    assert len(valid) == 3 and all("y" not in e.values for e in valid.examples)


@pytest.mark.parametrize("places", [{}, {"y": DataSettings(array="y"), "x": DataSettings(array="x")}])
def test_one_array_is_not_two_variables(tmp_path, places):
    """`x` stands in for the array of the only variable of which none is said."""
    np.savez(tmp_path / "m.npz", x=np.ones((3, 2)))
    records = list(read(tmp_path / "m.npz", places or {"y": DataSettings(), "x": DataSettings()}))
    assert [r["y"] for r in records] == [None] * 3 and records[0]["x"].tolist() == [1, 1]
    assert [r["v"].tolist() for r in read(tmp_path / "m.npz", {"v": DataSettings()})] == [[1, 1]] * 3


@pytest.mark.parametrize("name", ["m.npz", "m.jsonl"])
def test_what_no_record_of_a_later_file_has_is_an_error_too(tmp_path, name):
    u, v = Field("u", "real", (), (), None, "u"), Field("v", "real", (), (), None, "v")
    data = {"u": DataSettings(), "v": DataSettings()}
    encoders, dataset = made([{"u": 1.0, "v": 2.0}], u, v)
    if name == "m.npz":
        np.savez(tmp_path / name, u=np.ones(2))
    else:
        (tmp_path / name).write_text('{"u": 1}\n{"u": 2}\n')
    with pytest.raises(TrainingError, match=r"no record has a value of v; .*record 1 has none \(`v` is looked for, and it has u\)"):  # fmt: skip
        encoded(list(read(tmp_path / name, data)), dataset.layout, encoders, data)
    (tmp_path / "n.jsonl").write_text('{"u": 1, "v": null}\n{"u": 2}\n')
    assert len(encoded(list(read(tmp_path / "n.jsonl", data)), dataset.layout, encoders, data)) == 2


def test_sites_of_an_outer_plate_are_enough_and_lengths_agree():
    text, tags = words("d", "t"), Field("y", "symbol", ("d",), (), None, "y")
    records = [{"x": [["a"]], "y": ["N"]}, {"x": [[]], "y": ["V"]}, {"x": [], "y": []}]
    _, dataset = made(records, text, tags)
    assert [e.index for e in dataset.examples] == [0, 1] and dataset.dropped == 1
    batch = collate(dataset, range(2))
    assert batch["d"].tolist() == [1, 1] and batch["t"].tolist() == [[1], [0]]
    with pytest.raises(TrainingError, match="record 2: y has 2 sites along d, another variable 0"):
        made([{"x": "a", "y": "N"}, {"x": "", "y": ["N", "V"]}], words("d"), tags)


def test_heads_are_a_list_of_whole_numbers():
    heads = TreeLabels("heads")
    assert heads.read([2, 0.0, None]) == [1, 1, None] and heads.read("2 0") == [1, 1]
    for raw, told in ((3, "expected a list of heads, found 3"), ([True], "found true"), (["²"], "'²' is no head")):
        with pytest.raises(UsageError, match=told):
            heads.read(raw)
