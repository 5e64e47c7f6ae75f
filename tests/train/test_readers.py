"""Every format, plain and gzipped, and what is said of files that are not what they should be."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from lvspec.errors import UsageError
from lvspec.train.data.readers import read
from lvspec.train.data.readers.tables import column_range
from lvspec.train.settings import DataSettings


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_bytes(text.encode())
    return path


def values(path: Path, **settings) -> list:
    return [record["x"] for record in read(path, {"x": DataSettings(**settings)})]


CONLLU = (
    "# sent_id = 1\n"
    "1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "1\tdo\tdo\tAUX\tVBP\t_\t0\troot\t_\t_\n"
    "2\tn't\tnot\tPART\tRB\t_\t1\tadvmod\t_\t_\n"
    "2.1\tgone\tgo\tVERB\tVBN\t_\t_\t_\t_\t_\n"
    "\n"
    "1\t_\t_\tPUNCT\t_\t_\t0\troot\t_\t_\n"
)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_text_skips_blank_lines_and_headings(tmp_path, name):
    path = write(tmp_path, name, "= Anarchism =\n\none two\r\n  three \n = = Origin = =\n")
    assert values(path) == ["one two", "three"]
    assert len(values(path, headings=True)) == 4


def test_conllu_leaves_out_multiword_and_empty_lines(tmp_path):
    path = write(tmp_path, "a.conllu", CONLLU)
    assert values(path) == [["do", "n't"], ["_"]]
    assert values(path, column="upos") == [["AUX", "PART"], ["PUNCT"]]
    assert values(path, column="xpos") == [["VBP", "RB"], [None]]
    with pytest.raises(UsageError, match="no column 'pos'"):
        values(path, column="pos")


def test_tsv_columns_count_from_one_or_have_names(tmp_path):
    plain = write(tmp_path, "a.tsv", 'pos\ta "quoted" text\nneg\t\n')
    assert values(plain, column=2) == ['a "quoted" text', None]
    named = write(tmp_path, "b.tsv", "label\ttext\npos\tfine\n")
    assert values(named, column="text") == ["fine"]
    with pytest.raises(UsageError, match="say which"):
        values(plain)
    with pytest.raises(UsageError, match=r"a.tsv:1: no column 3"):
        values(plain, column=3)


def test_csv_with_quotes_ranges_and_header(tmp_path):
    path = write(tmp_path, "a.csv.gz", '1,2,"x, y"\n3,4,z\n')
    assert values(path, columns="1-2") == [["1", "2"], ["3", "4"]]
    assert values(path, column=3) == ["x, y", "z"]
    headed = write(tmp_path, "b.csv", "a,b\n1,2\n")
    assert values(headed, columns="1-2", header=True) == [["1", "2"]]
    assert column_range("1-3, 7") == [1, 2, 3, 7]


@pytest.mark.parametrize(
    ("name", "text", "header", "message"),
    [
        ("a.csv", "a,b\n1,2\n\n1,5,2\n", True, "a.csv:4: 3 cells, the header has 2"),
        ("a.csv", "1,2\n1,5,2\n", None, "a.csv:2: 3 cells, the first row has 2"),
        ("a.tsv", "1\t2\n1\t5\t2\n", None, "a.tsv:2: 3 cells, the first row has 2"),
        ("a.csv", 'a,b\n1,"2\n3,4\n5,6\n', True, "a.csv:2: a quote opens that nothing closes"),
        ("a.csv", 'a,b\n1,"2\n3"\n4,"5"6\n', True, "a.csv:4: ',' expected after"),
        ("a.csv", '1,"2\n3"\n4\n', None, r"a.csv:3: no column 2"),
    ],
)
def test_a_row_that_is_torn_apart_is_named_by_its_line(tmp_path, name, text, header, message):
    with pytest.raises(UsageError, match=message):
        values(write(tmp_path, name, text), column=2, header=header)


def test_json_lines_are_split_at_newlines_only(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"m": {"t": ["a b", "c\u2028d"]}, "n": null}\n\n{"m": {"t": []}}\n')
    assert values(path, field="m.t") == [["a b", "c\u2028d"], []]
    assert values(path, field="m.t.1") == ["c\u2028d", None]
    assert values(path, field="n") == [None, None]
    with pytest.raises(UsageError, match="is an object"):
        values(path, field="m")


def test_trees_give_words_tags_and_themselves(tmp_path):
    text = "( (S (NP (DT the)\n (NN cat)) (VP (VBZ sits) (-NONE- *T*)) (. .)) )\n(X (Y -LRB-))"
    path = write(tmp_path, "a.mrg", text)
    assert values(path) == [["the", "cat", "sits", "."], ["("]]
    assert values(path, column="tags")[0] == ["DT", "NN", "VBZ", "."]
    assert values(path, column="tree")[1] == "(X (Y -LRB-))"
    with pytest.raises(UsageError, match="never closed"):
        values(write(tmp_path, "b.mrg", "(S (A b)"))


def test_npz_parts_are_found_inside_one_file(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x_train=np.zeros((3, 2, 2), np.uint8), x_dev=np.ones((1, 2, 2), np.uint8))
    counted = {part: len(list(read(path, {"x": DataSettings(array="x")}, part))) for part in ("train", "valid", "test")}
    assert counted == {"train": 3, "valid": 1, "test": 1}
    with pytest.raises(UsageError, match="no array 'y'"):
        list(read(path, {"x": DataSettings(array="y")}))


def test_npz_with_pickled_objects_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UsageError, match="cannot be read as npz"):
        list(read(path, {"x": DataSettings()}))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'1\n{"x"\n', r"a\.jsonl:2: not JSON"),
        ("a.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("a.txt.gz", b"no gzip", "cannot be read"),
        ("a.npz", b"no zip", "cannot be read as npz"),
        ("a.conllu", b"1\tonly\n", r"a\.conllu:1: 2 columns"),
        ("a.dat", b"", "cannot tell the format"),
    ],
)
def test_unusable_file_is_a_usage_error_that_names_it(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        values(tmp_path / name)


def test_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        values(tmp_path / "nothing.txt")


@pytest.mark.parametrize("name", ["empty.npz", "single.npz", "text.npz", "cut.npz", "halves.npz"])
def test_array_file_that_is_none_is_named(tmp_path, name):
    path = tmp_path / name
    np.savez(tmp_path / "whole.npz", x=np.zeros((40, 3)))
    contents = {"empty.npz": b"", "text.npz": b"a b c\n", "cut.npz": (tmp_path / "whole.npz").read_bytes()[:300]}
    if name == "single.npz":
        with path.open("wb") as file:
            np.save(file, np.zeros((4, 3)))
    elif name == "halves.npz":
        np.savez(path, x=np.array(["a", "b\ud800"]))
    else:
        path.write_bytes(contents[name])
    with pytest.raises(UsageError, match=name):
        list(read(path, {"x": DataSettings(format="npz")}))


def test_half_a_character_is_no_text(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"x": "fine \\ud83d\\ude00"}\n{"x": ["cut \\ud83d"]}\n')
    with pytest.raises(UsageError, match="a.jsonl:2: half a character"):
        values(path, field="x")
