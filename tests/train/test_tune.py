"""`lvspec tune`: what is measured, who wins, and what is written."""

import json

import numpy as np
import pytest
import torch

import lvspec
from lvspec.cli.commands.tune import with_entries
from lvspec.cli.main import main
from lvspec.ir.estimators import STRATEGIES
from lvspec.train.tune import METHODS, Gradients, MethodRow, Tuning

SPEC = """# Two switches behind three pixels.
lvspec: 1
name: switches
sizes:
  P: features(x)
  M: 2
plates:
  m: M
params:
  prior: [M, 2]
networks:
  encoder: Linear(P, 2*M)
  decoder: Linear(2*M, P)
latent:
  z[m]: Categorical(logits=prior[m])
observed:
  x: Bernoulli(logits=decoder(flatten(onehot(z[m]) over m)))
guide:
  z[m]: Categorical(logits=reshape(encoder(x), M, 2)[m])
infer:                       # by hand
  samples: 2
  z: reinforce(samples=2)
train:
  batch_size: 10
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "switches.yaml").write_text(SPEC)
    x = np.random.default_rng(0).integers(0, 2, (80, 3)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", x=x)
    return tmp_path


def test_the_table_and_what_is_written(here, capsys):
    options = ["--format", "npz", "--set", "data.x.array=x", "--seconds", "0.05"]
    assert main(["tune", "switches.yaml", "--data", "x.npz", *options, "--json", "--write"]) == 0
    table = json.loads(capsys.readouterr().out)["z"]
    methods = {m["method"]: m for m in table["methods"]}
    exact = methods["enumeration"]
    assert exact["variance"] == 0 and exact["off"] == 0 and not exact["biased"]
    assert methods["reinforce(samples=2)"]["variance"] > methods["reinforce(samples=8)"]["variance"] > 0
    assert (
        methods["gumbel_softmax(temperature=0.5)"]["biased"]
        and "no derivative" in table["refused"]["reparameterization"]
    )
    assert [m["bound"] for m in table["methods"]] == sorted((m["bound"] for m in table["methods"]), reverse=True)
    assert not methods[table["best"]]["biased"]
    text = (here / "switches.yaml").read_text()
    assert f"  z: {table['best']}\n" in text and text.startswith("# Two switches") and "samples: 2" in text
    assert lvspec.read_spec(text).overrides[0].strategy == table["best"].partition("(")[0]


def test_a_run_that_leaves_the_numbers_is_told_with_its_place(here, capsys):
    text = SPEC.replace(
        "logits=decoder(flatten(onehot(z[m]) over m))", "logits=log(decoder(flatten(onehot(z[m]) over m)))"
    )
    (here / "switches.yaml").write_text(text)
    options = ["--format", "npz", "--set", "data.x.array=x", "--seconds", "0.05"]
    assert main(["tune", "switches.yaml", "--data", "x.npz", *options, "--write"]) == 3
    said = capsys.readouterr().err
    assert "error[non-finite]: step 1: " in said and "switches.yaml:17:" in said and "help: " in said
    assert (here / "switches.yaml").read_text() == text


def test_what_no_value_of_the_spec_explains_has_a_remedy_all_the_same(here, capsys):
    options = ["--format", "npz", "--set", "data.x.array=x", "--quiet", "--set", "train.learning_rate=1000000"]
    options += ["--set", "train.optimizer=sgd", "--set", "infer.z=reinforce(samples=1, baseline=learned)"]
    assert main(["train", "switches.yaml", "--data", "x.npz", *options, "--set", "infer.samples=1"]) == 3
    said = capsys.readouterr().err
    assert "step 2: the norm of the gradient is beyond the largest number; try a smaller `learning_rate`" in said, said


def test_biased_methods_win_only_where_they_are_admitted():
    rows = tuple(MethodRow(m, m == "b", 1.0, 1.0, None, 1, bound) for m, bound in (("b", 2.0), ("a", 1.0)))
    tuning = Tuning("z", rows, ())
    assert tuning.best().method == "a" and tuning.best(biased=True).method == "b"


def test_what_is_within_the_error_of_the_best_is_named():
    rows = tuple(
        MethodRow(m, False, 1.0, 1.0, None, 1, bound, e)
        for m, bound, e in (("a", 2.0, 0.0), ("b", 1.9, 0.1), ("c", 1.0, 0.1))
    )
    assert [r.method for r in Tuning("z", rows, ()).as_good()] == ["b"]


def test_variance_is_that_of_the_gradients():
    class Noisy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.zeros(3))
            self.drawn = []

        def forward(self, batch):
            noise = torch.randn(3)
            self.drawn.append(noise)
            return type("O", (), {"loss": (noise * self.w).sum()})()

    torch.manual_seed(0)
    model = Noisy()
    found = Gradients.of(model, {}, ["w"], 50)
    drawn = torch.stack(model.drawn).double()
    torch.testing.assert_close(found.mean, drawn.mean(0))
    assert abs(found.variance - float(drawn.var(0).sum())) < 1e-9


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: 1\n", "a: 1\ninfer:\n  z: m\n"),
        ("infer:\n  z: old\n  B: 3\ntrain:\n  epochs: 2\n", "infer:\n  B: 3\n  z: m\ntrain:\n  epochs: 2\n"),
        ("infer:   # mine\n  B: 3\n\n# next\nb: 2\n", "infer:   # mine\n  B: 3\n\n# next\n  z: m\nb: 2\n"),
    ],
)
def test_entries_are_written_into_the_section(before, after):
    assert with_entries(before, {"z": "m"}) == after


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--latent", "y"], "not drawn or averaged"), (["--data", "none.npz"], "no such file")],
)
def test_wrong_usage(here, capsys, options, said):
    assert main(["tune", "switches.yaml", "--data", "x.npz", *options]) == 2
    assert said in capsys.readouterr().err


def test_nothing_to_choose(here, capsys):
    (here / "exact.yaml").write_text(SPEC[: SPEC.index("guide:")])
    assert main(["tune", "exact.yaml", "--data", "x.npz"]) == 2
    assert "nothing is drawn" in capsys.readouterr().err


def test_every_strategy_that_draws_is_compared():
    assert {m.partition("(")[0] for m in METHODS} == {
        "enumeration",
        *(n for n, row in STRATEGIES.items() if "elbo" in row.bounds),
    }
