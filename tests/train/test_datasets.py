"""Vocabularies, encoded examples, fixed splits and batches."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from lvspec.driver import read_spec
from lvspec.errors import TrainingError, UsageError
from lvspec.ir.dims import Dim
from lvspec.ir.spec import Plate
from lvspec.train.data.batches import collate, epoch_order, sorted_order
from lvspec.train.data.dataset import digest, encoded, halves, held_out, partly_labelled
from lvspec.train.data.encoders import Numbers, Symbols, from_json
from lvspec.train.data.fitting import fitted, sizes_from_data, widened
from lvspec.train.data.layout import BatchLayout, Field, layout_of
from lvspec.train.data.sources import Files, records_of
from lvspec.train.evaluation.evaluate import Figures
from lvspec.train.settings import DataSettings, TrainSettings, data_settings, train_settings
from tests.train.toy import token_spec

WORDS = [{"x": "the cat sat"}, {"x": "the dog"}, {"x": "a cat"}, {"x": "the"}]


def made(records, layout, **settings):
    data = {f.name: DataSettings(**settings) for f in layout.fields}
    encoders = fitted(records, layout, data)
    return encoders, encoded(records, layout, encoders, data)


def test_vocabulary_is_by_frequency_then_alphabet_after_unknown():
    encoders, _ = made(WORDS, layout_of(token_spec()))
    assert encoders["x"].symbols == ("<unk>", "the", "cat", "a", "dog", "sat")
    assert encoders["x"].counts == (0, 3, 2, 1, 1, 1)


def on_null_plate(field):
    plate = Plate("m", "sequence", options=(("null", True),))
    return BatchLayout((field,), (plate,), ())


def test_a_null_site_stands_in_front_of_every_sequence():
    layout = on_null_plate(Field("x", "symbol", ("m",)))
    encoders, dataset = made(WORDS, layout, max_length=2)
    assert encoders["x"].symbols[:3] == ("<unk>", "<null>", "the") and encoders["x"].counts[1] == len(WORDS)
    assert from_json(encoders["x"].to_json()).null_id == 1
    assert [encoders["x"].show(v.values["x"]) for v in dataset.examples][:2] == [
        ["<null>", "the", "cat"],
        ["<null>", "the", "dog"],
    ]
    assert dataset.examples[3].lengths["m"] == 2


def test_numbers_have_no_null_site():
    with pytest.raises(UsageError, match="stands for nothing"):
        made([{"x": [1.0]}], on_null_plate(Field("x", "real", ("m",))))


def test_rare_words_are_unknown_and_counted_as_such():
    encoders, dataset = made(WORDS, layout_of(token_spec()), min_count=2)
    assert encoders["x"].symbols == ("<unk>", "the", "cat")
    assert encoders["x"].counts == (3, 3, 2)
    assert dataset.examples[0].values["x"].tolist() == [1, 2, 0]


def test_end_symbol_has_an_id_and_closes_every_sequence():
    layout = layout_of(token_spec(end="EOS"))
    encoders, dataset = made(WORDS, layout)
    assert encoders["x"].symbols[:2] == ("<unk>", "EOS")
    assert encoders["x"].counts[1] == len(WORDS)
    assert [e.values["x"][-1] for e in dataset.examples] == [1] * 4
    assert dataset.examples[0].lengths["t"] == 4
    assert sizes_from_data(layout, encoders) == {"V": 7}


def test_vocabulary_goes_through_json():
    table = Symbols.fit(Counter("aab"), 2, unknown=True, end="EOS", max_size=3)
    assert table.symbols == ("<unk>", "EOS", "a")
    assert from_json(table.to_json()) == table
    numbers = Numbers("binary", (2,), threshold=0.5, mean=(0.1, 0.2), variance=(0.0, 0.3))
    assert from_json(numbers.to_json()) == numbers


def test_lower_case_characters_and_longest_length():
    encoders, dataset = made([{"x": "AB b"}], layout_of(token_spec()), lower=True, tokenize="characters", max_length=3)
    assert encoders["x"].symbols == ("<unk>", "b", " ", "a")
    assert dataset.examples[0].values["x"].tolist() == [3, 1, 2]


def test_labels_are_sorted_or_as_the_data_section_lists_them():
    label = Field("y", "symbol", (), (), None, "y", categories=True)
    layout = BatchLayout((label,), (), (("C", "categories", "y"),))
    records = [{"y": str(n)} for n in (10, 2, 2, 9)]
    assert made(records, layout)[0]["y"].symbols == ("2", "9", "10")
    listed, dataset = made(records, layout, labels=("9", "10", "2", "7"))
    assert listed["y"].counts == (1, 1, 2, 0)
    assert [int(e.values["y"]) for e in dataset.examples] == [1, 2, 2, 0]
    assert sizes_from_data(layout, listed) == {"C": 4}


def test_empty_sequence_is_left_out_and_counted():
    _, dataset = made([{"x": ""}, {"x": "a"}], layout_of(token_spec()))
    assert (len(dataset), dataset.dropped) == (1, 1)
    assert dataset.examples[0].index == 1


def picture_layout(kind="binary", features=None):
    return BatchLayout((Field("x", kind, (), (features,)),), (), (("P", "features", "x"),))


def test_pictures_are_flattened_and_binarised_at_a_share_of_the_largest_value():
    records = [{"x": np.array([[0, 255], [100, 200]], np.uint8)}, {"x": np.array([[0, 0], [128, 127]], np.uint8)}]
    layout = picture_layout()
    encoders, dataset = made(records, layout, binarize=0.5)
    assert [e.values["x"].tolist() for e in dataset.examples] == [[0, 1, 0, 1], [0, 0, 1, 0]]
    assert dataset.examples[0].values["x"].dtype == np.int64
    assert encoders["x"].mean == (0.0, 0.5, 0.5, 0.5)
    assert sizes_from_data(layout, encoders) == {"P": 4}


def test_grey_pictures_for_a_binary_variable_are_refused_with_the_mend():
    with pytest.raises(TrainingError, match="binarize: 0.5"):
        made([{"x": np.array([0.0, 3.0])}], picture_layout())


def test_number_of_features_must_be_the_spec_s():
    with pytest.raises(TrainingError, match="the spec"):
        made([{"x": np.array([0.0, 1.0])}], picture_layout(features=3))


def test_real_sequences_are_scaled_and_padded():
    layout = BatchLayout((Field("x", "real", ("t",), (None,)),), (Plate("t", "sequence"),), (("D", "features", "x"),))
    records = [{"x": [[60, 50], [70, -1]]}, {"x": [[60, 60]]}]
    _, dataset = made(records, layout, scale=0.1, shift=-6.0)
    batch = collate(dataset, range(len(dataset)))
    assert batch["x"].shape == (2, 2, 2)
    assert batch["x"].dtype == torch.float32
    torch.testing.assert_close(batch["x"][0], torch.tensor([[0.0, -1.0], [1.0, -6.1]]))
    assert batch["t"].tolist() == [2, 1]


def test_missing_label_gives_an_observed_mask():
    spec = token_spec()
    layout = layout_of(spec)
    label = Field("y", "symbol", (), (), None, "y", categories=True, required=False, modelled=False)
    layout = replace(layout, fields=(*layout.fields, label))
    records = [{"x": "a b", "y": "pos"}, {"x": "a", "y": None}, {"x": "b", "y": "neg"}]
    _, dataset = made(records, layout)
    batch = collate(dataset, range(len(dataset)))
    assert batch["y_observed"].tolist() == [True, False, True]
    assert batch["y"][[0, 2]].tolist() == [1, 0]  # neg before pos
    alone = collate(dataset, [1])
    assert alone["y"].shape == (1,) and not alone["y_observed"].any()


def test_missing_site_is_masked_and_filled():
    layout = layout_of(token_spec())
    _, dataset = made([{"x": ["a", None, "b"]}, {"x": ["a"]}], layout)
    batch = collate(dataset, range(len(dataset)))
    assert batch["x_observed"].tolist() == [[True, False, True], [True, False, False]]
    assert batch["x"][0, 1] == 0


def test_sequences_inside_sequences_have_a_length_each():
    plates = (Plate("d", "sequence"), Plate("t", "sequence", within="d"))
    layout = BatchLayout((Field("x", "symbol", ("d", "t"), (), None, "x"),), plates, (("V", "vocabulary", "x"),))
    _, dataset = made([{"x": ["a b", "c"]}, {"x": ["a b c d"]}], layout)
    batch = collate(dataset, range(len(dataset)))
    assert batch["x"].shape == (2, 2, 4)
    assert batch["d"].tolist() == [2, 1]
    assert batch["t"].tolist() == [[2, 1], [4, 0]]


@pytest.mark.parametrize("event", [(), (2,)], ids=str)
def test_numbers_on_nested_plates_have_a_length_each(event):
    """x[d, t]: at each d another number of sites, or none; a null is missing, what lies beyond a length is not."""
    plates = (Plate("d", "sequence"), Plate("t", "sequence", within="d"))
    layout = BatchLayout((Field("x", "real", ("d", "t"), event, None, "x"),), plates, ())
    values = [[[1.0, 2.0, None], [], [3.0]], [[4.0]]]
    vectors = [[[[v, v] for v in row] for row in record] for record in values]
    encoders, dataset = made([{"x": record} for record in (vectors if event else values)], layout)
    batch = collate(dataset, range(2))
    assert batch["x"].shape == (2, 3, 3, *event)
    assert batch["d"].tolist() == [3, 1]
    assert batch["t"].tolist() == [[3, 0, 1], [1, 0, 0]]
    assert batch["x_observed"][0].tolist() == [[True, True, False], [True] * 3, [True] * 3]
    assert encoders["x"].mean == (2.5,) * max(sum(event), 1)


def test_numbers_of_a_fixed_plate_are_not_filled_up():
    layout = BatchLayout(
        (Field("x", "real", ("d", "j")),), (Plate("d", "sequence"), Plate("j", "fixed", Dim.of(2))), ()
    )
    with pytest.raises(UsageError, match="record 1: x: 1 and 2 values along j stand in one record"):
        made([{"x": [[1.0, 2.0], [3.0]]}], layout)


def test_unseen_label_is_refused_by_name():
    label = Field("y", "symbol", (), (), None, "y", categories=True)
    layout = BatchLayout((label,), (), (("C", "categories", "y"),))
    encoders, _ = made([{"y": "pos"}], layout)
    with pytest.raises(UsageError, match="'neutral' does not occur"):
        encoded([{"y": "neutral"}], layout, encoders, {})


def labelled_layout():
    """A latent label beside an observed vector."""
    label = Field("y", "symbol", (), (), None, "y", categories=True, required=False, modelled=False)
    return BatchLayout((label, Field("x", "count", (), (None,), None, "x")), (), (("C", "categories", "y"),))


CLASSES = """
lvspec: 1
name: classes
sizes: {V: 3, I: 3, K: categories(z)}
plates:
  t: sequence(end=EOS)
given:
  g[t]: category(I)
params:
  a: [I, K]
  w: [K, V]
latent:
  z[t]: Categorical(logits=a[g[t]])
observed:
  x[t]: Categorical(logits=w[z[t]])
data:
  z: {format: jsonl}
"""


def test_symbols_beyond_the_spec_s_number_are_told_and_classes_are_refused():
    layout, said = layout_of(read_spec(CLASSES)), []
    assert [f.categories for f in layout.fields] == [True, True, False]
    records = [
        {"g": "a b", "z": "p q", "x": "r s"},
        {"g": "a a", "z": "q q", "x": "r t"},
        {"g": "b", "z": "p", "x": "r"},
    ]
    encoders = fitted(records, layout, {}, said.append)
    assert encoders["g"].symbols == ("EOS", "a", "b") and encoders["x"].symbols == ("<unk>", "EOS", "r")
    assert (
        len(said) == 1
        and "x: with <unk> the training data have 5 symbols, the spec 3: the 2 rarest, 2 of 5 tokens" in said[0]
    )
    said.clear()
    fitted(records, layout, {"x": DataSettings(max_size=3)}, said.append)  # as somebody has said
    assert not said
    with pytest.raises(TrainingError, match="g: the data have 4 categories, the spec 3: EOS, a, b, c"):
        fitted([*records, {"g": "c", "z": "p", "x": "r"}], layout, {})
    with pytest.raises(TrainingError, match="g: the data have 4 categories, the spec 3"):
        fitted(records, layout, {"g": DataSettings(labels=("b", "a", "c"))})


def test_symbols_on_a_fixed_plate_are_classes():
    text = "lvspec: 1\nname: items\nsizes: {K: 3, J: 2}\nplates: {j: J}\nparams: {a: [J, K]}\nobserved:\n  y[j]: Categorical(logits=a[j])\n"
    layout = layout_of(read_spec(text))
    encoders, dataset = made([{"y": ["lo", "hi"]}, {"y": ["mid", "hi"]}], layout)
    assert encoders["y"].symbols == ("hi", "lo", "mid") and dataset.examples[0].values["y"].tolist() == [1, 0]
    with pytest.raises(TrainingError, match="y: the data have 4 categories, the spec 3: hi, lo, mid, none"):
        fitted([{"y": ["lo", "hi"]}, {"y": ["mid", "none"]}], layout, {})


def test_the_end_of_a_sequence_is_a_class_of_what_is_given_and_no_label_of_a_latent():
    layout = layout_of(read_spec(CLASSES))
    encoders, dataset = made([{"g": "a b", "z": "q p", "x": "r r"}], layout)
    assert encoders["z"].symbols == ("p", "q") and sizes_from_data(layout, encoders) == {"K": 2}
    batch = collate(dataset, [0])
    assert batch["g"].tolist() == [[1, 2, 0]] and batch["z_observed"].tolist() == [[True, True, False]]


def test_an_empty_text_is_a_missing_label_and_no_class():
    records = [{"y": "", "x": [1]}, {"y": "b", "x": [0]}, {"y": " ", "x": [2]}, {"y": "a", "x": [3]}, {"x": [3]}]
    encoders, dataset = made(records, labelled_layout())
    assert encoders["y"].symbols == ("a", "b")
    assert collate(dataset, range(5))["y_observed"].tolist() == [False, True, False, True, False]


def test_where_no_record_has_a_label_somebody_says_how_many_there_are():
    layout = labelled_layout()
    encoders, _ = made([{"x": [1]}, {"x": [0]}], layout)
    with pytest.raises(UsageError, match="size C: no record has a value of y.*--set sizes.C"):
        sizes_from_data(layout, encoders)
    wide = widened(layout, encoders, {"C": 3})
    assert sizes_from_data(layout, wide, {"C": 3}) == {"C": 3} and wide["y"].symbols == ("0", "1", "2")


def test_sizes_that_somebody_says_may_be_larger_than_the_data_s_and_no_smaller():
    layout = labelled_layout()
    encoders, _ = made([{"y": "a", "x": [1]}, {"y": "b", "x": [0]}], layout)
    assert widened(layout, encoders, {"C": 3})["y"].symbols == ("a", "b", "<2>")
    with pytest.raises(UsageError, match="sizes.C is 1, but the training data have 2"):
        sizes_from_data(layout, widened(layout, encoders, {"C": 1}), {"C": 1})


def test_unknown_labels_of_a_latent_are_missing_where_they_are_counted():
    layout = labelled_layout()
    encoders, _ = made([{"y": "a", "x": [1]}, {"y": "b", "x": [0]}], layout)
    unknown = Counter()
    dataset = encoded([{"y": "c", "x": [1]}, {"y": "b", "x": [0]}], layout, encoders, {}, unknown)
    assert unknown == {("y", "c"): 1}
    assert collate(dataset, range(2))["y_observed"].tolist() == [False, True]


@pytest.mark.parametrize("value", [0.5, -1])
def test_counts_are_whole_numbers_from_0_on(value):
    with pytest.raises(TrainingError, match=f"record 2: x is a count.*hold {value:g}"):
        made([{"x": [1]}, {"x": [value]}], labelled_layout())


def test_infinite_numbers_are_none():
    layout = BatchLayout((Field("x", "real", (), (None,), None, "x"),), (), ())
    with pytest.raises(TrainingError, match="x has a number that is infinite"):
        made([{"x": [1.0]}, {"x": ["1e999"]}], layout)


def test_a_missing_sequence_has_a_length_only_where_something_tells_it():
    """Padding to the longest of a batch would be another model."""
    plates = (Plate("t", "sequence"),)
    tags = Field("z", "symbol", ("t",), (), None, "z", required=False, modelled=False)
    words = Field("x", "symbol", ("t",), (), None, "x")
    alone, beside = BatchLayout((tags,), plates, ()), BatchLayout((words, tags), plates, ())
    with pytest.raises(TrainingError, match="record 2 has no z, and nothing else says how long it is"):
        made([{"z": "a b"}, {"z": None}], alone)
    _, dataset = made([{"x": "u v", "z": "a b"}, {"x": "u", "z": ""}], beside)
    batch = collate(dataset, range(2))
    assert batch["t"].tolist() == [2, 1] and batch["z_observed"].tolist() == [[True, True], [False, False]]


def test_what_is_given_cannot_be_missing():
    given = Field("g", "symbol", ("t",), (), None, "g", modelled=False)
    layout = BatchLayout((given,), (Plate("t", "sequence"),), ())
    with pytest.raises(TrainingError, match="record 2: g is given to the model"):
        made([{"g": ["a", "b"]}, {"g": ["a", None]}], layout)


def test_perplexity_of_what_is_impossible_is_infinite():
    figures = Figures(2, (), {}, 6, 0, {})
    assert figures.perplexity(-float("inf")) == float("inf") == figures.perplexity(-1e6)


def test_fixed_splits_depend_on_the_records_alone():
    records = [{"x": f"w{i}"} for i in range(400)]
    even, odd = halves(records)
    assert len(even) + len(odd) == 400 and 150 < len(even) < 250
    again, _ = halves([{**r, "gold labels": "A"} for r in reversed(records)])
    assert [{"x": r["x"]} for r in reversed(again)] == even
    kept, parts = held_out(records, 2)
    assert len(kept) + sum(map(len, parts)) == 400 and all(20 < len(p) < 65 for p in parts)


@pytest.mark.parametrize(
    "files, said", [({}, "the tenths for validation and for the test"), ({"test": "m"}, "the tenth for")]
)
def test_records_that_all_fall_into_what_is_put_aside_are_told(tmp_path, files, said):
    """Of one record, or of equal ones, nothing may be left."""
    wanted = {"x": DataSettings(format="jsonl")}
    aside = next(r for r in ({"x": f"w{i}"} for i in range(400)) if not held_out([r], 1)[0])
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(aside) + "\n")
    files = {part: str(path) for part in files}
    with pytest.raises(TrainingError, match=rf"m.jsonl: all of its records \(1\).* into {said}.*`--valid FILE`"):
        records_of(Files(str(path), **files), "train", wanted)
    assert records_of(Files(str(path), valid=str(path)), "train", wanted) == [aside]


def dataset_of(lengths):
    return made([{"x": " ".join("a" * n)} for n in lengths], layout_of(token_spec()))[1]


def test_an_epoch_sees_every_example_once_in_an_order_of_its_own():
    dataset = dataset_of(np.random.default_rng(0).integers(1, 40, 500))
    settings = TrainSettings(batch_size=16)
    first, second = epoch_order(dataset, settings, 0), epoch_order(dataset, settings, 1)
    assert sorted(np.concatenate(first)) == list(range(500))
    assert [list(b) for b in first] != [list(b) for b in second]
    assert all((a == b).all() for a, b in zip(first, epoch_order(dataset, settings, 0), strict=True))


def test_buckets_pad_little():
    dataset = dataset_of(np.random.default_rng(0).integers(1, 40, 2000))
    sizes = dataset.sizes()
    padded = sum(len(b) * sizes[b].max() for b in epoch_order(dataset, TrainSettings(batch_size=20), 0))
    assert padded < 1.06 * sizes.sum()


def test_a_budget_of_sites_is_kept():
    dataset = dataset_of([1, 50, 3, 7, 20, 2, 2, 90, 1])
    batches = sorted_order(dataset, TrainSettings(batch_tokens=60))
    sizes = dataset.sizes()
    assert sorted(np.concatenate(batches)) == list(range(9))
    assert all(len(b) * sizes[b].max() <= 60 or len(b) == 1 for b in batches)


def test_unknown_and_wrong_settings_are_usage_errors():
    with pytest.raises(UsageError, match="unknown setting 'epoch'"):
        train_settings({"epoch": 3})
    with pytest.raises(UsageError, match="none of adam"):
        train_settings({"optimizer": "lion"})
    with pytest.raises(UsageError, match="train.epochs: expected a whole number, found 'two'"):
        train_settings({"epochs": "two"})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"max_size": 0}, "data.x.max_size: must be at least 1"),
        ({"min_count": -3}, "data.x.min_count: must be at least 1"),
        ({"max_length": 0}, "data.x.max_length: must be at least 1"),
        ({"lengths": "5-2"}, "data.x.lengths: '5-2' is no range"),
        ({"tokenize": "words"}, "data.x.tokenize: 'words' is none of"),
        ({"labels": "spam"}, r"data.x.labels: expected a list, \[a, b\], found 'spam'"),
    ],
)
def test_settings_of_data_are_held_against_the_table_of_the_file_s_own(entry, message):
    with pytest.raises(UsageError, match=message):
        data_settings({"x": entry})


def test_few_labels_are_spread_over_the_values_and_are_among_more():
    layout = BatchLayout((Field("x", "real", ()), Field("y", "symbol", (), categories=True, required=False)), (), ())
    records = [{"x": float(i), "y": "abc"[min(i % 5, 2)]} for i in range(30)]
    _, dataset = made(records, layout)
    digests = [digest(r) for r in records]

    def labelled(known):
        partly = partly_labelled(dataset, digests, {"y": DataSettings(known=known)})
        assert "y" in partly.partial and len(partly) == 30
        return {e.index: int(e.values["y"]) for e in partly.examples if "y" in e.values}

    six, nine = labelled(6), labelled(9)
    assert sorted(six.values()) == [0, 0, 1, 1, 2, 2] and six.items() <= nine.items()
    assert labelled(0) == {} and len(labelled(100)) == 30
    with pytest.raises(UsageError, match="always known"):
        partly_labelled(dataset, digests, {"x": DataSettings(known=3)})


FIXED = (Plate("d", "sequence"), Plate("j", "fixed", Dim.of(2)))


@pytest.mark.parametrize(
    ("kind", "plates", "records", "told"),
    [
        ("real", ("j",), [[1.0, 2.0], [3.0]], "record 2: x has 1 value along j, and 2 are wanted"),
        ("symbol", ("j",), [["a", "b"], ["a", "b", "a"]], "record 2: x has 3 values along j, and 2 are wanted"),
        ("real", ("d", "j"), [[[1.0], [2.0], [3.0]]], "record 1: x has 1 value along j"),
        ("symbol", ("d", "j"), [[["a", "b"], ["a"]]], "record 1: x: 1 and 2 values along j stand in one record"),
        ("symbol", ("d",), [[["a", "b", "c"], ["a", "b", "c"]], [["a", "b"]]], "record 2: x has 2 values in a vector"),
        ("symbol", ("d", "t"), [[["a", "b"], ["a"]]], "record 1: x: 1 and 2 values along t stand in one record"),
    ],
)
def test_records_of_another_length_than_a_fixed_plate_are_not_filled_up(kind, plates, records, told):
    sites = tuple(2 if p == "j" else None for p in plates)
    event = (3,) if plates == ("d",) else ()
    field = Field("x", kind, plates, event, vocabulary="x", categories=kind == "symbol", sites=sites)
    layout = BatchLayout((field,), (*FIXED, Plate("t", "sequence")), (("C", "categories", "x"),))
    with pytest.raises((UsageError, TrainingError), match=told):
        made([{"x": r} for r in records], layout)
