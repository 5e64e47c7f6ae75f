"""The loop: resumed runs equal uninterrupted ones bit for bit, and a loss that is no number stops it with a name."""

import json
import signal

import pytest
import torch

from lvspec.errors import TrainingError, UsageError
from lvspec.train.data.sources import Files
from lvspec.train.loop.optimise import rate_factor
from lvspec.train.run.directory import open_run
from lvspec.train.run.request import Request
from lvspec.train.settings import TrainSettings
from lvspec.train.start import train
from tests.train.toy import HMM, BagVAE, Compiler, token_spec

SENTENCES = [" ".join(f"w{(i * j) % 17}" for j in range(1, 2 + i % 7)) for i in range(1, 120)]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("\n".join(SENTENCES) + "\n")
    return path


def request(text, out, model=BagVAE, spec=None, **changes) -> Request:
    spec = spec or token_spec()
    compiler = Compiler(spec, model)
    settings = {"batch_size": 8, "learning_rate": 0.01, "epochs": 50, **changes.pop("train", {})}
    return Request(compiler("x"), compiler, Files(str(text)), out, train=settings, **changes)


def quiet(event):
    pass


def weights(out, compiler, which="last"):
    return open_run(out, compiler, which).model.state_dict()


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("model", [HMM, BagVAE])
def test_resumed_run_equals_an_uninterrupted_one_bit_for_bit(text, tmp_path, optimizer, model):
    compiler = Compiler(token_spec(), model)
    settings = {"optimizer": optimizer, "clip": 1.0, "warmup": 15}
    straight = request(text, tmp_path / "a", model, train={**settings, "steps": 20})
    train(straight, quiet)
    train(request(text, tmp_path / "b", model, train={**settings, "steps": 10}), quiet)
    torch.manual_seed(99)  # what happens in between does not matter
    assert not same(weights(tmp_path / "a", compiler), weights(tmp_path / "b", compiler))
    train(request(text, tmp_path / "b", model, train={**settings, "steps": 20}, resume=True), quiet)
    assert same(weights(tmp_path / "a", compiler), weights(tmp_path / "b", compiler))
    assert weights(tmp_path / "b", compiler)["step"] == 20


def test_interrupted_run_saves_and_goes_on_as_if_nothing_had_happened(text, tmp_path):
    compiler = Compiler(token_spec(), BagVAE)

    def interrupt(event):
        if event.kind == "step" and event.progress.step == 7:
            signal.raise_signal(signal.SIGINT)

    train(request(text, tmp_path / "a", train={"steps": 30, "schedule": "cosine"}), quiet)
    stopped = request(text, tmp_path / "b", train={"steps": 30, "schedule": "cosine"})
    with pytest.raises(KeyboardInterrupt):
        train(stopped, interrupt)
    assert [p.name for p in (tmp_path / "b/checkpoints").glob("step*")] == ["step-00000007.safetensors"]
    train(request(text, tmp_path / "b", train={"steps": 30, "schedule": "cosine"}, resume=True), quiet)
    assert same(weights(tmp_path / "a", compiler), weights(tmp_path / "b", compiler))
    assert same(weights(tmp_path / "a", compiler, "best"), weights(tmp_path / "b", compiler, "best"))


def test_same_seed_same_weights_other_seed_other_weights(text, tmp_path):
    compiler = Compiler(token_spec(), BagVAE)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(request(text, tmp_path / name, train={"steps": 5, "seed": seed}), quiet)
    assert same(weights(tmp_path / "a", compiler), weights(tmp_path / "b", compiler))
    assert not same(weights(tmp_path / "a", compiler), weights(tmp_path / "c", compiler))


def test_resume_refuses_another_spec_unless_told(text, tmp_path):
    train(request(text, tmp_path / "a", train={"steps": 2}), quiet)
    other = token_spec(name="other")
    with pytest.raises(UsageError, match="the spec has changed"):
        train(request(text, tmp_path / "a", spec=other, resume=True), quiet)
    train(request(text, tmp_path / "a", spec=other, resume=True, other_spec=True, train={"steps": 4}), quiet)
    assert (tmp_path / "a/other.py").is_file()


def test_a_run_is_never_overwritten_unasked(text, tmp_path):
    train(request(text, tmp_path / "a", train={"steps": 2}), quiet)
    with pytest.raises(UsageError, match="holds a run already"):
        train(request(text, tmp_path / "a"), quiet)
    train(request(text, tmp_path / "a", train={"steps": 3}, replace_run=True), quiet)
    assert [p.name for p in (tmp_path / "a/checkpoints").glob("step*")] == ["step-00000003.safetensors"]


class Spoiled(BagVAE):
    """BagVAE whose KL is no number from step 3 on."""

    def forward(self, batch, draws=None, phase=None):
        objective = super().forward(batch)
        if self.step >= 3:
            objective.kl["z"] = objective.kl["z"] * float("nan")
            objective.loss = -(objective.reconstruction - objective.kl["z"]).mean()
        return objective


def test_loss_that_is_no_number_names_step_and_term_and_keeps_the_last_checkpoint(text, tmp_path):
    spoiled = request(text, tmp_path / "a", Spoiled, train={"validate_every": 2})
    with pytest.raises(TrainingError, match=r"step 4: kl\.z is nan.*step-00000002"):
        train(spoiled, quiet)
    assert weights(tmp_path / "a", Compiler(token_spec(), Spoiled))["step"] == 2


class Exploding(HMM):
    """HMM with a finite loss whose gradient is not."""

    def forward(self, batch, draws=None, phase=None):
        objective = super().forward(batch)
        objective.loss = objective.loss + (self.transition - self.transition.detach()).abs().sqrt().sum()
        return objective


def test_gradient_that_is_no_number_names_its_parameter(text, tmp_path):
    with pytest.raises(TrainingError, match="step 1: the gradient of transition is not finite"):
        train(request(text, tmp_path / "a", Exploding), quiet)


def test_training_stops_when_validation_no_longer_improves(text, tmp_path):
    _, progress = train(request(text, tmp_path / "a", HMM, train={"learning_rate": 0.5, "patience": 2}), quiet)
    assert progress.epoch < 50
    assert progress.waited == 2
    rows = [json.loads(line) for line in (tmp_path / "a/metrics.jsonl").read_text().splitlines()]
    scores = {row["step"]: row["valid"] for row in rows if "valid" in row}
    assert max(scores, key=scores.get) == progress.best_step
    best = open_run(tmp_path / "a", Compiler(token_spec(), HMM), "best")
    assert best.step == progress.best_step


def test_best_of_several_starts_goes_on(text, tmp_path):
    told = []
    settings = {"restarts": 3, "restart_steps": 5, "steps": 6}
    train(request(text, tmp_path / "a", HMM, train=settings), quiet, told.append)
    assert len(told) == 3 and len({line.split(":")[1] for line in told}) == 3


def test_parameters_are_initialised_as_the_settings_say(text, tmp_path):
    settings = {"init": {"transition": "constant(0.25)"}, "steps": 1, "learning_rate": 0.0}
    train(request(text, tmp_path / "a", HMM, train=settings), quiet)
    found = weights(tmp_path / "a", Compiler(token_spec(), HMM))
    assert (found["transition"] == 0.25).all()
    with pytest.raises(UsageError, match="no parameter 'transitions'"):
        train(request(text, tmp_path / "b", HMM, train={"init": {"transitions": "zeros"}}), quiet)


def test_emissions_can_start_at_the_words_frequencies(text, tmp_path):
    settings = {"init": {"emission": "unigram(0)"}, "steps": 1, "learning_rate": 0.0}
    ready, _ = train(request(text, tmp_path / "a", HMM, train=settings), quiet)
    found = weights(tmp_path / "a", Compiler(token_spec(), HMM))["emission"].softmax(-1)
    counts = torch.tensor(ready.encoders["x"].counts) + 1.0
    torch.testing.assert_close(found, (counts / counts.sum()).expand_as(found))
    with pytest.raises(UsageError, match="no vocabulary"):
        train(request(text, tmp_path / "b", HMM, train={"init": {"transition": "unigram"}}), quiet)


def test_what_a_run_leaves_behind(text, tmp_path):
    train(request(text, tmp_path / "a", train={"steps": 3}), quiet)
    names = {p.name for p in (tmp_path / "a").iterdir()}
    assert names == {
        "run.json",
        "spec.yaml",
        "hmm.py",
        "vocabulary.json",
        "config.json",
        "metrics.jsonl",
        "checkpoints",
    }
    config = json.loads((tmp_path / "a/config.json").read_text())
    assert config["train"]["batch_size"] == 8 and config["train"]["optimizer"] == "adam"
    assert config["files"]["train"] == str(text)
    assert config["sizes"] == {"V": 18}
    assert {"lvspec", "torch", "python"} <= config["versions"].keys()


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        ("constant", 50, 1.0),
        ("linear", 5, 0.6),
        ("linear", 55, 0.5),
        ("cosine", 55, 0.5),
        ("cosine", 100, 0.0),
    ],
)
def test_learning_rate_rises_then_follows_its_schedule(schedule, step, factor):
    settings = TrainSettings(schedule=schedule, warmup=10)
    assert rate_factor(settings, 0, 100) == pytest.approx(0.1)
    assert rate_factor(settings, step, 100) == pytest.approx(factor)
