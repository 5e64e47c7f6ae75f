"""What the compiler emits, trained by the commands on small data: figures, resume, labels, word dropout."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from lvspec.cli.main import main
from lvspec.driver import compile_spec
from lvspec.train.run.directory import open_run
from lvspec.train.run.manifest import Folder, sha256
from tests import SPECS

SUBJECTS, VERBS, OBJECTS = ("cats", "dogs", "birds"), ("see", "like"), ("fish", "grass")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Sentences of a small grammar in two styles, and 8 x 8 bars, with train and held-out parts."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name, count in (("train", 300), ("dev", 60)):
        rows = []
        for _ in range(count):
            label = ("fish", "grass")[random.integers(2)]
            words = [random.choice(SUBJECTS), random.choice(VERBS), label] + ["today"] * int(random.integers(3))
            rows.append((label, " ".join(words)))
        (tmp_path / f"{name}.txt").write_text("".join(text + "\n" for _, text in rows))
        (tmp_path / f"{name}.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in rows))
    pictures = np.zeros((300, 8, 8), np.uint8)
    for i, picture in enumerate(pictures):
        picture[:, i % 8] = 16
    np.savez(tmp_path / "bars.npz", x_train=pictures[:240], x_dev=pictures[240:])
    return tmp_path


def trained(spec: str, *options: str) -> None:
    assert main(["train", str(SPECS / f"{spec}.yaml"), "--quiet", "--set", "train.batch_size=16", *options]) == 0


def figures(capsys, *options: str) -> dict:
    capsys.readouterr()
    assert main(["eval", *options, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["figures"]
    return {(row["quantity"], row["how"]): row["value"] for row in rows}


def inferred(capsys, *options: str) -> list[dict]:
    capsys.readouterr()
    assert main(["infer", *options]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


TEXT = ["--data", "train.txt", "--valid", "dev.txt", "--format", "text", "--set", "data.x.min_count=1"]


def test_hmm_learns_a_small_grammar_below_the_unigram(here, capsys):
    trained("hmm", *TEXT, "--set", "sizes.K=6", "--epochs", "8")
    found = figures(capsys, "runs/hmm")
    assert found["perplexity", "exact"] < 0.6 * found["perplexity", "unigram (add-one) of x"]
    model = open_run(here / "runs/hmm", compile_spec).model
    assert model.K == 6


def test_vae_of_pictures_beats_independent_pixels(here, capsys):
    small = ["--set", "sizes.H=32", "--set", "sizes.D=4", "--set", "train.learning_rate=0.01"]
    trained("vae", "--data", "bars.npz", "--split-dev", "--epochs", "12", *small)
    found = figures(capsys, "runs/vae", "--samples", "20")
    sampled = found["log-likelihood", "importance-sampled (S = 20)"]
    assert sampled > found["ELBO", "bound (ELBO)"] - 0.1
    assert sampled > found["log-likelihood", "independent pixels of x"]
    assert main(["sample", "runs/vae", "-n", "2", "--png", "bars.png"]) == 0
    assert (here / "bars.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("spec", ["hmm", "sentence_vae"])
def test_emitted_model_resumes_bit_for_bit(here, spec):
    if spec == "hmm":
        data = [*TEXT, "--set", "sizes.K=4"]
    else:
        small = (f"sizes.{name}=8" for name in ("E", "H", "D"))
        data = ["--data", "train.tsv", "--valid", "dev.tsv", *(o for s in small for o in ("--set", s))]
        data += ["--set", "train.word_dropout=0.3"]
    trained(spec, *data, "--steps", "20", "--out", "straight")
    trained(spec, *data, "--steps", "10", "--out", "broken")
    torch.manual_seed(7)
    trained(spec, *data, "--steps", "20", "--out", "broken", "--resume")
    a, b = (open_run(here / name, compile_spec, "last").model.state_dict() for name in ("straight", "broken"))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


SEMI_SUPERVISED = """\
lvspec: 1
name: labelled
sizes:
  K: categories(y)
  V: vocabulary(x)
plates:
  t: bag
params:
  prior: [K]
  words: [K, V]
latent:
  y: Categorical(logits=prior)
observed:
  x[t]: Categorical(logits=words[y])
data:
  x:
    format: tsv
    column: 2
  y:
    column: 1
train:
  epochs: 15
  batch_size: 16
  learning_rate: 0.1
"""


def test_a_few_labels_name_the_clusters(here, capsys):
    (here / "labelled.yaml").write_text(SEMI_SUPERVISED)
    lines = (here / "train.tsv").read_text().splitlines()
    few = [line if i < 30 else "\t" + line.split("\t")[1] for i, line in enumerate(lines)]
    (here / "few.tsv").write_text("\n".join(few) + "\n")
    unlabelled = ["\t" + line.split("\t")[1] for line in (here / "dev.tsv").read_text().splitlines()]
    (here / "unlabelled.tsv").write_text("\n".join(unlabelled) + "\n")
    assert main(["train", "labelled.yaml", "--data", "few.tsv", "--valid", "unlabelled.tsv", "--quiet"]) == 0
    capsys.readouterr()
    gold = [line.split("\t")[0] for line in (here / "dev.tsv").read_text().splitlines()]
    found = inferred(capsys, "runs/labelled", "--data", "unlabelled.tsv")
    right = [one["y"]["mode"] == label for one, label in zip(found, gold, strict=True)]
    assert sum(right) / len(right) > 0.9
    assert all("label" not in one["y"] and "marginals" not in one["y"] for one in found)
    seen = inferred(capsys, "runs/labelled", "--data", "dev.tsv")  # the labels are shown to the reader alone
    assert [one["y"].pop("label") for one in seen] == gold and seen == found
    told = figures(capsys, "runs/labelled", "--data", "dev.tsv")
    assert told["accuracy", "mode of y, labels hidden (60 labels)"] == pytest.approx(sum(right) / 60)
    assert not any(
        quantity == "accuracy" for quantity, _ in figures(capsys, "runs/labelled", "--data", "unlabelled.tsv")
    )


TAGGER = """\
lvspec: 1
name: tagger
sizes: {V: vocabulary(x), K: categories(z)}
plates: {t: sequence}
given:
  x[t]: token(V)
params:
  scores: {shape: [V, K], init: zeros}
  pairwise: {shape: [K, K], init: zeros}
latent:
  z over t: LinearChain(unary=scores[x[t]], pairwise=pairwise)
data:
  x: {format: conllu, column: form}
  z: {format: conllu, column: upos}
train: {epochs: 8, batch_size: 16, learning_rate: 0.1}
"""


def test_labels_of_a_conditional_model_are_what_it_predicts(here, capsys):
    """`see` is a noun after `the`, else a verb: only the pair of tags tells."""
    sentences = ([("the", "DET"), ("see", "NOUN")], [("we", "PRON"), ("see", "VERB"), ("cats", "NOUN")])
    lines = ["".join(f"{i + 1}\t{w}\t_\t{tag}" + "\t_" * 6 + "\n" for i, (w, tag) in enumerate(s)) for s in sentences]
    (here / "tags.conllu").write_text("\n".join(lines * 40))
    (here / "tagger.yaml").write_text(TAGGER)
    assert main(["train", "tagger.yaml", "--data", "tags.conllu", "--valid", "tags.conllu", "--quiet"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert main(["eval", "runs/tagger", "--json"]) == 0
    rows = [r for r in json.loads(capsys.readouterr().out)["figures"] if r["quantity"] == "accuracy"]
    assert [(r["unit"], r["value"]) for r in rows] == [
        ("of labels", 1),  # of the best labelling
        ("of sequences", 1),
        ("of labels", 1),  # of each word's most probable tag
        ("of labels", 0.4),  # of the most frequent one everywhere
    ]
    first, second = inferred(capsys, "runs/tagger", "--limit", "2", "--marginals")
    assert first["z"]["mode"] == ["DET", "NOUN"] and second["z"]["mode"] == ["PRON", "VERB", "NOUN"]
    assert first["z"]["values"] == ["DET", "NOUN", "PRON", "VERB"]
    assert first["z"]["probability"] == pytest.approx([max(p) for p in first["z"]["marginals"]])
    assert max(first["z"]["probability"]) < 1
    kept = inferred(capsys, "runs/tagger", "--limit", "2", "--keep-labels")
    assert [one["z"]["probability"] for one in kept] == [[1, 1], [1, 1, 1]]
    assert main(["infer", "runs/tagger", "--latent", "z", "--top-words"]) == 2


def test_sentences_of_a_language_model_end_themselves(here, capsys):
    small = [o for name in ("E", "H") for o in ("--set", f"sizes.{name}=16")]
    trained("rnn_lm", *TEXT, *small, "--epochs", "6", "--set", "train.learning_rate=0.02")
    capsys.readouterr()
    assert main(["sample", "runs/rnn_lm", "-n", "20"]) == 0
    sentences = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert len(sentences) == 20
    assert all("EOS" not in s for s in sentences)
    assert sum(3 <= len(s) <= 5 for s in sentences) >= 12


TRAIN_ONCE = "import sys; from lvspec.cli.main import main; sys.exit(main(sys.argv[1:]))"


def test_another_hash_seed_gives_the_same_run(here):
    """Two processes with differently ordered sets: the same vocabulary, the same weights, the same module."""
    command = [sys.executable, "-c", TRAIN_ONCE, "train", str(SPECS / "hmm.yaml"), *TEXT, "--steps", "8", "--quiet"]
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([*command, "--out", seed], check=True, env=environment, stdout=subprocess.DEVNULL)
    for name in ("vocabulary.json", "hmm.py", "metrics.jsonl", "run.json"):
        assert (here / "1" / name).read_bytes() == (here / "2" / name).read_bytes()


def test_a_run_cannot_allow_modules_by_itself(here, capsys):
    trained("hmm", *TEXT, "--steps", "2", "--allow-module", "somewhere")
    folder = Folder(here / "runs/hmm")
    config = json.loads((here / "runs/hmm/config.json").read_text())
    assert config["allow_modules"] == ["somewhere"]
    text = folder.read("spec.yaml").replace(b"observed:", b"networks:\n  spy: Module(somewhere.Spy, K)\nobserved:")
    state = folder.manifest()
    folder.commit(replace(state, files={**state.files, "spec.yaml": sha256(text)}), {"spec.yaml": text})
    assert main(["eval", "runs/hmm"]) in (1, 2)
    assert "somewhere" in capsys.readouterr().err
    assert "somewhere" not in sys.modules


def test_values_that_are_places_are_as_many_as_the_example_has(here, capsys):
    """An alignment: each target word comes from a source word, or from the null word at place 0."""
    lines = ["chat noir\tblack cat", "chat\tcat", "le chat noir dort\tthe black cat sleeps"]
    (here / "pairs.tsv").write_text("\n".join(lines * 10) + "\n")
    small = [o for v in "sx" for o in ("--set", f"data.{v}.min_count=1")]
    trained("ibm1", "--data", "pairs.tsv", "--valid", "pairs.tsv", "--steps", "4", *small)
    assert not any(quantity == "accuracy" for quantity, _ in figures(capsys, "runs/ibm1"))
    for line in inferred(capsys, "runs/ibm1", "--limit", "3", "--marginals"):
        places = len(line["s"])
        assert len(line["a"]["mode"]) == len(line["x"]) and max(line["a"]["mode"]) < places
        assert [len(row) for row in line["a"]["marginals"]] == [places] * len(line["x"])
        assert [sum(row) for row in line["a"]["marginals"]] == pytest.approx([1] * len(line["x"]), abs=1e-5)
    assert main(["infer", "runs/ibm1", "--top-words"]) == 2
    assert "places" in capsys.readouterr().err


def test_sentences_of_a_document_are_shown_without_padding(here, capsys):
    documents = [[["a"], ["a", "b", "c"]], [["c", "b"], ["a", "b"], ["c"]]]
    (here / "documents.jsonl").write_text("".join(json.dumps({"sentences": d}) + "\n" for d in documents * 10))
    small = ("--set", "sizes.K=3", "--set", "sizes.L=2", "--set", "data.x.min_count=1", "--steps", "2")
    trained("text_segmentation", "--data", "documents.jsonl", "--valid", "documents.jsonl", *small)
    lines = inferred(capsys, "runs/text_segmentation", "--limit", "2")
    assert [line["x"] for line in lines] == documents
    assert [len(line["z"]["mode"]) for line in lines] == [2, 3]


WALK = """
lvspec: 1
name: walk
plates: {t: sequence}
params: {a: [], b: []}
observed:
  x[0]: Normal(0, 1)
  x[t]: Normal(a + b * x[t-1], 1)
data:
  x: {format: jsonl, field: x}
train: {epochs: 1}
"""


def test_data_that_a_module_refuses_are_no_bug(tmp_path, monkeypatch, capsys):
    """A value that the next site needs is missing: exit 3, and which example it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "walk.yaml").write_text(WALK)
    rows = [[0.1, 0.5, 0.2 * i] for i in range(30)]
    rows[0][1] = None
    (tmp_path / "data.jsonl").write_text("".join(json.dumps({"x": row}) + "\n" for row in rows))
    assert main(["train", "walk.yaml", "--data", "data.jsonl", "--valid", "data.jsonl", "--out", "run"]) == 3
    said = capsys.readouterr().err
    assert "`x` is not observed at" in said and "(example 1 of the data)" in said and "bug" not in said


@pytest.mark.parametrize("method", ["gradient", "em"])
def test_priors_of_parameters_have_a_figure_of_their_own(here, capsys, method):
    spec = (SPECS / "hmm.yaml").read_text()
    shape = "  transition: [K, K]"
    assert shape in spec
    (here / "prior.yaml").write_text(spec.replace(shape, '  transition: {shape: [K, K], prior: "Dirichlet(2)"}'))
    small = ["--set", "sizes.K=4", "--set", f"train.method={method}", "--set", "train.epochs=2", "--out", "run"]
    assert main(["train", "prior.yaml", *TEXT, *small, "--quiet"]) == 0
    found = figures(capsys, "run", "--data", "dev.txt")
    model = open_run(here / "run", compile_spec, "best", "cpu").model
    assert model.dataset_size == 300
    assert found["log prior", "log p(transition), once a data set, in no other figure"] == pytest.approx(
        float(model.log_prior().detach())
    )
