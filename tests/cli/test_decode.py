"""`lvspec decode`, and `--given` of it and of `sample`, as a person types them."""

import json
import sys
from types import SimpleNamespace

import pytest

from lvspec.cli.main import main
from lvspec.train.evaluation.corpus_figures import corpus_figures

PAIRS = """
lvspec: 1
name: pairs
sizes: {U: vocabulary(s), V: vocabulary(x), E: 4, H: 6, K: 3}
plates: {m: sequence, t: sequence(end=EOS)}
given:
  s[m]: token(U)
params: {p: [K], e: [K, V]}
networks:
  source: Embedding(U, E)
  reader: GRU(E, H)
  words: Embedding(V, E)
  writer: GRU(E + H, H)
  output: Linear(H, V)
latent:
  z: Categorical(logits=p)
observed:
  x[t]: Categorical(logits=output(writer(concat(words(x[<t]), last(reader(source(s)))))) + e[z])
data:
  s: {column: 1}
  x: {column: 2}
"""
SENTENCES = """
lvspec: 1
name: sentences
sizes: {V: vocabulary(x), C: categories(y), E: 4, H: 6, D: 2}
plates: {t: sequence(end=EOS)}
params: {p: [C], e: [C, V]}
networks:
  words: Embedding(V, E)
  writer: GRU(E + D, H)
  output: Linear(H, V)
  reader: GRU(E, H)
  head: Linear(H, 2*D)
latent:
  y: Categorical(logits=p)
  z: Normal(0, 1)[D]
observed:
  x[t]: Categorical(logits=output(writer(concat(words(x[<t]), z))) + e[y])
guide:
  z: Normal(loc, softplus(scale)) where loc, scale = split(head(last(reader(words(x)))))
data:
  x: {field: text}
  y: {field: label}
"""


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """Runs a command; gives its exit code and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main([*words])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run


def trained(said, tmp_path, spec, suffix, text):
    (tmp_path / "model.yaml").write_text(spec)
    (tmp_path / f"data.{suffix}").write_text(text)
    files = [word for part in ("data", "valid", "test") for word in (f"--{part}", f"data.{suffix}")]
    assert said("train", "model.yaml", *files, "--out", "run", "--steps", "2", "--quiet", "--no-verify")[0] == 0


@pytest.fixture
def pairs(said, tmp_path):
    trained(said, tmp_path, PAIRS, "tsv", "a b\tx y\nb\ty\na a a\tx x x\nb a\ty x\n")
    (tmp_path / "asked.tsv").write_text("a b\nb\na zebra a\n")
    return said


def test_each_record_of_a_file_has_its_strings(pairs):
    code, out, _ = pairs("decode", "run", "--given", "asked.tsv", "--length", "6")
    assert code == 0 and len(out) == 3 and all({*line.split()} <= {"x", "y", "<unk>"} for line in out)
    for more in (["--batch", "1"], ["--batch", "2"]):
        assert pairs("decode", "run", "--given", "asked.tsv", "--length", "6", *more)[1] == out
    code, out, _ = pairs("decode", "run", "--given", "asked.tsv", "--json", "--best", "3", "--length-norm", "0")
    rows = [json.loads(line)["strings"] for line in out]
    assert [len(row) for row in rows] == [3] * 3
    for row in rows:
        assert [one["log_prob"] for one in row] == sorted((one["log_prob"] for one in row), reverse=True)
        assert len({one["text"] for one in row}) == 3


@pytest.mark.parametrize(
    "how",
    (
        ["--method", "greedy"],
        ["--method", "ancestral", "--best", "4"],
        ["--method", "sample", "--top-k", "2", "--top-p", "0.9", "--temperature", "0.5"],
        ["--beam", "2", "--best", "2"],
    ),
)
def test_methods_and_their_options(pairs, how):
    code, out, _ = pairs("decode", "run", "--given", "asked.tsv", *how, "--length", "5")
    assert code == 0 and len(out) == 3 * int(how[how.index("--best") + 1] if "--best" in how else 1)
    assert out == pairs("decode", "run", "--given", "asked.tsv", *how, "--length", "5")[1]


def test_without_a_file_training_examples_lend_what_is_given(pairs):
    code, out, _ = pairs("decode", "run", "-n", "4")
    assert code == 0 and len(out) == 4


def test_a_latent_that_is_summed_may_be_given(pairs):
    each = [pairs("decode", "run", "--given", "asked.tsv", "--given", f"z={k}", "--json")[1] for k in range(3)]
    assert len({tuple(out) for out in each}) == 3


def test_draws_of_given_sources(pairs):
    code, out, _ = pairs("sample", "run", "--given", "asked.tsv", "--json", "--given", "z=2")
    rows = [json.loads(line) for line in out]
    assert code == 0 and [row["s"] for row in rows] == ["a b", "b", "a <unk> a"] and {row["z"] for row in rows} == {2}


def test_a_label_is_given_by_its_name(said, tmp_path):
    texts = [("good", "x x"), ("bad", "y"), ("bad", "y y")]
    rows = "".join(json.dumps({"text": x, "label": y}) + "\n" for y, x in texts)
    trained(said, tmp_path, SENTENCES, "jsonl", rows)
    code, out, _ = said("decode", "run", "--given", "y=bad", "-n", "2", "--given", "z=0.5,-1", "--json")
    assert code == 0 and len(out) == 2 and out[0] == out[1]
    assert out != said("decode", "run", "--given", "y=good", "-n", "2", "--given", "z=0.5,-1", "--json")[1]
    code, out, _ = said("sample", "run", "--given", "y=bad", "-n", "5", "--json")
    assert code == 0 and {json.loads(line)["y"] for line in out} == {"bad"}
    averaged = said("decode", "run", "--latents", "draw", "--draws", "5", "--json")[1]
    assert len(averaged) == 1 and averaged != said("decode", "run", "--json")[1]
    assert "does not occur in the training data" in said("decode", "run", "--given", "y=ugly")[2]
    assert "z is numbers" in said("decode", "run", "--given", "z=a")[2]
    assert "x has sites along t" in said("decode", "run", "--given", "x=y")[2]
    assert "the model is given nothing" in said("decode", "run", "--given", "data.jsonl")[2]


def test_what_cannot_be_asked(pairs):
    for words, reason in (
        (["--given", "missing.tsv"], "no such file"),
        (["--given", "asked.tsv", "--given", "asked.tsv"], "one file, and not"),
        (["--given", "asked.tsv", "--top-p", "1.5", "--method", "sample"], "top_p above 0"),
        (["--given", "z=7"], "`z`"),
    ):
        code, out, err = pairs("decode", "run", *words)
        assert code == 2 and not out and reason in err, (words, err)


def test_a_model_without_strings_says_why(said, tmp_path):
    chain = PAIRS.replace("sequence(end=EOS)", "sequence").replace("m: sequence, ", "m: sequence, ")
    trained(said, tmp_path, chain, "tsv", "a b\tx y\nb\ty\n")
    code, _, err = said("decode", "run")
    assert code == 2 and "nothing to decode: no plate ends with a symbol" in err


class Metric:
    """In place of sacrebleu's."""

    def __init__(self, **options):
        assert options in ({}, {"tokenize": "none", "force": True})

    def corpus_score(self, found, references):
        assert references == [["x y", "y", "x x z"]] and len(found) == 3
        return SimpleNamespace(score=12.5)

    def get_signature(self):
        return "version:0"


def test_figures_compare_with_the_file_itself(pairs, tmp_path, monkeypatch):
    (tmp_path / "pairs.tsv").write_text("a b\tx y\nb\ty\na a\tx x z\n")
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    code, _, err = pairs("decode", "run", "--given", "pairs.tsv", "--figures")
    assert code == 2 and "pip install 'lvspec[decode]'" in err
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", SimpleNamespace(BLEU=Metric, CHRF=Metric))
    code, out, _ = pairs("decode", "run", "--given", "pairs.tsv", "--figures")
    strings, figures = out[:3], dict(line.split(": ", 1) for line in out[3:])
    same = sum(a == b for a, b in zip(strings, ["x y", "y", "x x z"], strict=True))
    assert code == 0 and figures["BLEU"] == figures["chrF"] == "12.50"
    assert figures["exact match"] == f"{100 * same / 3:.2f}" and figures["BLEU signature"] == "version:0"
    out = pairs("decode", "run", "--given", "pairs.tsv", "--figures", "--json")[1]
    assert json.loads(out[-1])["figures"]["BLEU"] == 12.5
    assert "--given FILE names it" in pairs("decode", "run", "--figures")[2]


def test_figures_of_the_library():
    pytest.importorskip("sacrebleu")
    figures = corpus_figures(["a b c d e", "f g h i"], ["a b c d e", "f g h i"])
    assert (
        figures["BLEU"] == pytest.approx(100)
        and figures["chrF"] == pytest.approx(100)
        and figures["exact match"] == 100
    )
    assert corpus_figures(["a b"], ["c d"])["exact match"] == 0
