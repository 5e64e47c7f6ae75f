"""Steps of q alone: which parameters they move, how long they go on, when aggressive training ends, and that a run resumes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import lvspec
from lvspec.driver import compile_spec
from lvspec.errors import UsageError
from lvspec.shipped import shipped
from lvspec.train.data.sources import Files
from lvspec.train.diagnosis.usage import Usage
from lvspec.train.loop import loop
from lvspec.train.loop.alternation import WINDOW, Alternation, Turn, guide_names, turns_of
from lvspec.train.loop.loop import Training
from lvspec.train.run.directory import open_run
from lvspec.train.run.request import Request
from lvspec.train.settings import TrainSettings
from lvspec.train.start import _training, prepare, train
from tests.train.toy import HMM

ALTERNATING = TrainSettings(inference="alternating", inference_steps=3)
SMALL = """
lvspec: 1
name: small
sizes: {V: vocabulary(x), D: 3}
plates: {t: bag}
params: {topics: [V, D]}
networks:
  mix: Linear(D, D)
  reader: Embedding(V, 2*D)
latent:
  z: Normal(0, 1)[D]
observed:
  x[t]: Categorical(logits=matmul(topics, mix(z)))
guide:
  z: Normal(loc, softplus(scale)) where loc, scale = split(mean(reader(x)))
data:
  x: {format: text}
"""


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("\n".join(" ".join(f"w{(i * j) % 7}" for j in range(1, 3 + i % 4)) for i in range(60)) + "\n")
    return path


def request(text, out, phases="", **settings):
    spec = text.with_name("small.yaml")
    spec.write_text(SMALL + phases)
    compiled = compile_spec(str(spec))
    given = {"batch_size": 6, "learning_rate": 0.02, "epochs": 50, **settings}
    return Request(compiled, compile_spec, Files(str(text)), out, path=str(spec), train=given)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("sentence_vae", {"reader", "encoder"}),  # `words` is read by the writer as well
        ("semi_supervised_vae", {"judge", "encoder"}),
        ("svi_vae", {"loc", "scale"}),
        ("dem_vae", {"reader", "cluster", "encoder"}),
        ("naive_bayes_amortized", {"reader", "encoder"}),
    ],
)
def test_the_guides_parameters_are_those_that_q_alone_reads(name, own):
    compiled = lvspec.compile_spec(shipped("specs") / f"{name}.yaml")
    assert guide_names(compiled.plan) == own
    found = turns_of(compiled, ALTERNATING)
    assert found[0] == Turn(frozenset(own), 3) and not found[0].names & found[1].names
    assert turns_of(compiled, TrainSettings()) == ()


def test_a_baseline_moves_with_the_guide():
    overrides = {"z": "reinforce(samples=1, baseline=learned)"}
    compiled = lvspec.compile_spec(shipped("specs") / "discrete_vae.yaml", overrides=overrides)
    found = guide_names(compiled.plan)
    assert found == {"encoder"} | {n.name for b in compiled.plan.baselines for n in b.networks} != {"encoder"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"inference": "aggressive"}, "nothing of the kind"),
        ({"inference": "alternating", "method": "em"}, "EM moves all tables"),
    ],
)
def test_a_model_without_parameters_of_q_is_refused(settings, reason):
    compiled = lvspec.compile_spec(shipped("specs") / "hmm.yaml")
    with pytest.raises(UsageError, match=reason):
        turns_of(compiled, TrainSettings(**settings))


def test_phases_and_ways_of_inference_exclude_each_other(text, tmp_path):
    wanted = request(text, tmp_path / "run", "phases: {fit: [reader]}\n", inference="alternating")
    with pytest.raises(UsageError, match="the file says with `phases:`"):
        prepare(wanted)


def test_aggressive_training_needs_a_guide_whose_information_is_known():
    compiled = lvspec.compile_spec(shipped("specs") / "sentence_vae.yaml")
    with pytest.raises(UsageError, match="q reads the data alone"):
        turns_of(
            SimpleNamespace(spec=compiled.spec, plan=compiled.plan, Model=HMM), TrainSettings(inference="aggressive")
        )


@pytest.mark.parametrize(
    ("losses", "taken"),
    [
        ([3.0] * WINDOW + [2.0] * WINDOW + [2.5] * WINDOW, 3 * WINDOW),  # the third window is no better
        ([1.0] * 100, 2 * WINDOW),
        (list(range(100, 0, -1)), 35),  # always better: as many as inference_steps says
    ],
)
def test_q_goes_on_as_long_as_that_lowers_the_loss_per_site(losses, taken):
    """Batches of one example with one site, or with two, which cost twice as much: what counts is the mean per site."""
    turns = Turn(frozenset("q"), 35, falling=True), Turn(frozenset("p"))
    sizes = np.array([1, 2])
    steps = iter(losses)
    seen = []

    def move(rows, parameters):
        seen.append(next(steps) * int(sizes[rows[0]]))
        return seen[-1], 0.0

    Alternation(turns, ((), ()), sizes, 0).lead([np.array([0]), np.array([1])], 7, move)
    assert len(seen) == taken


@pytest.mark.parametrize(
    ("phases", "settings", "expected"),
    [
        ("", {"inference": "alternating", "inference_steps": 4}, 4 * [{"reader"}] + [{"mix", "topics"}]),
        (
            "phases:\n  fit: {moves: [reader], steps: 2}\n  tables: {moves: [topics], steps: 2}\n",
            {},  # `mix` is in no phase, and moves in all of them
            2 * [{"reader", "mix"}] + 2 * [{"topics", "mix"}],
        ),
    ],
)
def test_each_step_moves_its_own_parameters(text, tmp_path, phases, settings, expected):
    ready = prepare(request(text, tmp_path / "run", phases, **settings))
    training = _training(ready, ready.model(0), ready.config.train, lambda event: None)
    moved, taken = [], training._move

    def recorded(rows, parameters):
        before = {n: p.clone() for n, p in training.model.named_parameters()}
        result = taken(rows, parameters)
        moved.append({n.split(".")[0] for n, p in training.model.named_parameters() if not torch.equal(p, before[n])})
        return result

    training._move = recorded
    training._step()
    training._step()
    assert moved == 2 * expected
    assert training.progress.step == 2  # of the model's own epochs


def test_aggressive_training_ends_when_information_stops_rising(text, tmp_path, monkeypatch):
    looks = iter([0.5, 0.9, 0.8])
    monkeypatch.setattr(loop, "usage", lambda *arguments: [Usage("z", next(looks), 10)])
    asked, taken = [], Training._move
    monkeypatch.setattr(Training, "_move", lambda self, rows, own: (asked.append(own), taken(self, rows, own))[1])
    train(request(text, tmp_path / "run", inference="aggressive", epochs=5), lambda event: None)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    found = [(r.get("information"), r.get("aggressive")) for r in rows if "valid" in r]
    assert found == [(0.5, True), (0.9, True), (0.8, False), (None, None), (None, None)]
    together = [own is None for own in asked]
    steps = max(r["step"] for r in rows)
    assert together == sorted(together) and sum(together) == steps * 2 // 5
    assert len(asked) > 2 * steps  # q had more steps than the model


@pytest.mark.parametrize("inference", ["alternating", "aggressive"])
def test_resumed_run_equals_an_uninterrupted_one_bit_for_bit(text, tmp_path, inference):
    def last(out):
        return open_run(out, compile_spec, "last").model.state_dict()

    train(request(text, tmp_path / "a", inference=inference, steps=21), lambda event: None)
    train(request(text, tmp_path / "b", inference=inference, steps=10), lambda event: None)
    resumed = request(text, tmp_path / "b", inference=inference, steps=21)
    train(Request(**{**resumed.__dict__, "resume": True}), lambda event: None)
    a, b = last(tmp_path / "a"), last(tmp_path / "b")
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
