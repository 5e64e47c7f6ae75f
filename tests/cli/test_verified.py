"""Training asks first whether the module is what the spec says; what agreed is remembered."""

import json
import os
import re

import pytest

import lvspec.emit
from lvspec.verified import folder

SPEC = """lvspec: 1
name: mixture
sizes: {K: 3, V: vocabulary(x)}
plates: {t: bag}
params: {prior: [K], emission: [K, V]}
latent: {z: "Categorical(logits=prior)"}
observed: {"x[t]": "Categorical(logits=emission[z])"}
"""
TRAIN = (
    "train",
    "mixture.yaml",
    "--data",
    "train.txt",
    "--format",
    "text",
    "--steps",
    "2",
    "--set",
    "data.x.min_count=1",
)
AGREES = "the module agrees with brute force"


@pytest.fixture
def model(lvspec, tmp_path, monkeypatch):
    """The command in a folder with a spec and data, its cache empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mixture.yaml").write_text(SPEC)
    (tmp_path / "train.txt").write_text("a b a\nb c\n" * 10)
    return lvspec


@pytest.fixture
def broken(monkeypatch):
    """Emitted modules that double every score of a word."""
    emit = lvspec.emit.emit

    def wrongly(plan, *options, **named):
        return re.sub(r"self\.emission\b(?! =)", "(2 * self.emission)", emit(plan, *options, **named))

    monkeypatch.setattr(lvspec.emit, "emit", wrongly)


def entries(tmp_path):
    return sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file())


def test_a_spec_is_verified_once(model, tmp_path):
    code, _, told = model(*TRAIN)
    assert code == 0 and "verified in" in told and AGREES in told
    assert len(entries(tmp_path)) == 1
    code, _, told = model(*TRAIN, "--overwrite")
    assert code == 0 and f"verified: {AGREES}" in told
    assert len(entries(tmp_path)) == 1


def test_training_is_refused_where_the_module_is_wrong(model, broken, tmp_path):
    code, _, told = model(*TRAIN)
    assert code == 70
    assert "brute force disagree about log p(x)" in told and "--no-verify" in told and "bug of lvspec" in told
    assert not (tmp_path / "runs").exists() and not entries(tmp_path)
    code, _, told = model(*TRAIN, "--no-verify")
    assert code == 0 and "verified" not in told
    assert (tmp_path / "runs" / "mixture").exists() and not entries(tmp_path)


def test_tuning_is_refused_where_the_module_is_wrong(model, broken, tmp_path):
    (tmp_path / "mixture.yaml").write_text(
        SPEC + 'guide: {z: "Categorical(logits=prior)"}\ninfer: {z: "reinforce(samples=2)"}\n'
    )
    code, _, told = model("tune", "mixture.yaml", *TRAIN[2:6], "--set", "data.x.min_count=1", "--seconds", "0.1")
    assert code == 70 and "brute force disagree" in told


def test_compile_says_whether_a_spec_has_been_verified(model, tmp_path):
    code, first, told = model("compile", "mixture.yaml", "-o", "-")
    assert code == 0 and "not verified yet" in told
    code, second, told = model("compile", "mixture.yaml", "-o", "-", "--verify")
    assert code == 0 and "verified in" in told
    code, third, told = model("compile", "mixture.yaml", "-o", "-")
    assert code == 0 and f"verified: {AGREES}" in told
    assert first == second == third
    code, _, told = model(*TRAIN)
    assert f"verified: {AGREES}" in told, "compile and train ask about the same module"


def test_compile_writes_no_file_that_it_finds_wrong(model, broken, tmp_path):
    assert model("compile", "mixture.yaml", "--verify")[0] == 70
    assert not (tmp_path / "mixture.py").exists()


@pytest.mark.parametrize(
    "change",
    [
        ("--set", "sizes.K=2"),
        ("--strategy", "z=reinforce(samples=2)"),
        ("--set", "infer.guide=inverse"),
    ],
)
def test_what_the_outcome_depends_on_is_verified_anew(model, tmp_path, change):
    assert model("compile", "mixture.yaml", "-o", "-", "--verify")[0] == 0
    assert "not verified yet" in model("compile", "mixture.yaml", "-o", "-", *change)[2]


def test_another_text_is_verified_anew(model, tmp_path):
    assert model("compile", "mixture.yaml", "-o", "-", "--verify")[0] == 0
    (tmp_path / "mixture.yaml").write_text(SPEC.replace("bag", "sequence"))
    assert "not verified yet" in model("compile", "mixture.yaml", "-o", "-")[2]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"agreed": "yes"}', "null"])
def test_a_damaged_entry_counts_as_none(model, tmp_path, damage):
    model("compile", "mixture.yaml", "-o", "-", "--verify")
    (entry,) = (p for p in (tmp_path / "cache").rglob("*.json"))
    assert json.loads(entry.read_text())["agreed"] is True
    entry.write_text(damage)
    assert "not verified yet" in model("compile", "mixture.yaml", "-o", "-")[2]


def test_where_nothing_can_be_written_nothing_is_remembered(model, tmp_path):
    (tmp_path / "cache").write_text("a file, no folder")
    for _ in range(2):
        code, _, told = model("compile", "mixture.yaml", "-o", "-", "--verify")
        assert code == 0 and "verified in" in told


def test_the_folder_follows_the_rules_of_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for named, expected in (("/somewhere", "/somewhere"), ("relative", tmp_path / ".cache"), ("", tmp_path / ".cache")):
        monkeypatch.setenv("XDG_CACHE_HOME", named)
        assert os.fspath(folder()) == f"{expected}/lvspec/verified"


def test_what_cannot_be_compared_is_said_and_trained(model, tmp_path, monkeypatch):
    """A network of one's own that works in single precision alone."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "single_nets.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass Single(nn.Module):\n    def __init__(self, size, out):\n"
        "        super().__init__()\n        self.f = nn.Linear(size, out)\n\n    def forward(self, x):\n"
        "        return self.f(x.float())\n"
    )
    (tmp_path / "single.yaml").write_text(
        'lvspec: 1\nname: single\ngiven: {u: "real[2]"}\nnetworks: {f: "Module(single_nets.Single, in=[2], out=[3])"}\n'
        'observed: {x: "Normal(f(u), 1)"}\ndata: {u: {format: jsonl, field: u}, x: {format: jsonl, field: x}}\n'
    )
    (tmp_path / "single.jsonl").write_text("".join(f'{{"u": [1, {i}], "x": [1, 2, 3]}}\n' for i in range(40)))
    options = ("--data", "single.jsonl", "--allow-module", "single_nets", "--steps", "2")
    code, _, told = model("train", "single.yaml", *options)
    assert code == 0 and "not verified:" in told and "single_nets.py" in told, told
