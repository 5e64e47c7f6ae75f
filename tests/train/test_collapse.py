"""The warning of a collapsed posterior on runs that are known to collapse, and on runs that are known not to.

The data: sentences of four kinds, whose words do not overlap, so that log 4 nats say which kind one is of. A recurrent decoder
that has read a word knows the kind: z may say it for the first word, at the price of what that is worth, and at a loss where the KL
weighs twice. A decoder that sees no word needs z for every one.
"""

import json
import random
import runpy
from pathlib import Path

import pytest

from lvspec.cli.main import main
from lvspec.driver import compile_spec
from tests import ROOT

SPEC = """
lvspec: 1
name: kinds
sizes: {V: vocabulary(x), D: 2}
plates: {t: sequence}
networks:
  %sreader: Embedding(V, 2*D)
  writer: %s
  output: Linear(16, V)
latent:
  z: Normal(0, 1)[D]
let:
  h%s: writer(%s)
observed:
  x[t]: Categorical(logits=output(h%s))
guide:
  z: Normal(loc, softplus(scale)) where loc, scale = split(mean(reader(x)))
data:
  x: {format: text}
train: {epochs: 12, batch_size: 16, learning_rate: 0.02, patience: 0}
"""
SEEING = SPEC % ("words: Embedding(V, 8)\n  ", "GRU(8 + D, 16)", "[t]", "concat(words(x[<t]), z)", "[t]")
BLIND = SPEC % ("", "MLP(D, 16)", "", "z", "")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chance = random.Random(0)
    for name, n in (("train", 300), ("dev", 60), ("test", 60)):
        kinds = [chance.randrange(4) for _ in range(n)]
        lines = [" ".join(f"w{k}{chance.randrange(4)}" for _ in range(chance.randint(4, 8))) for k in kinds]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def warnings(spec, capsys, *settings):
    """What `lvspec eval` warns of, and the information, after a short run."""
    Path("kinds.yaml").write_text(spec)
    files = ["--data", "train.txt", "--valid", "dev.txt", "--test", "test.txt"]
    options = [x for s in settings for x in ("--set", s)]
    assert main(["train", "kinds.yaml", *files, "--quiet", *options]) == 0
    capsys.readouterr()
    assert main(["eval", "runs/kinds", "--checkpoint", "last", "--samples", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    return report["warnings"], next(r["value"] for r in report["figures"] if r["quantity"] == "information")


def test_a_decoder_that_reads_all_words_collapses_and_the_warning_names_remedies(here, capsys):
    found, information = warnings(SEEING, capsys, "train.kl_weight=2")
    assert len(found) == 1 and found[0].startswith("posterior collapse: z says next to nothing about the data")
    assert information < 0.05
    assert all(remedy in found[0] for remedy in ("free_bits", "word_dropout", "inference: aggressive"))


def test_a_decoder_that_sees_no_word_does_not(here, capsys):
    found, information = warnings(BLIND, capsys)
    assert not found and information > 0.5


def test_nor_does_one_that_reads_all_words_when_the_kl_costs_nothing(here, capsys):
    found, information = warnings(SEEING, capsys, "train.free_bits=dimension(1)")
    assert not found and information > 0.5


def test_every_remedy_of_the_table_is_a_model():
    """The specs and settings of examples/reproduce/remedies.py compile, and each is another than the untreated one."""
    example = runpy.run_path(str(ROOT / "examples/reproduce/remedies.py"))
    found = set()
    for name, row in example["ROWS"].items():
        inside = {
            k.removeprefix("train."): v for k, v in row.settings.items() if k in ("train.kl_weight", "train.free_bits")
        }
        source = compile_spec(example["edited"](row), overrides=inside).source
        found.add((source, str({k: v for k, v in row.settings.items() if k.removeprefix("train.") not in inside})))
        assert name in ("rnn_lm", "untreated") or row.settings or row.edits
    assert len(found) == len(example["ROWS"])
