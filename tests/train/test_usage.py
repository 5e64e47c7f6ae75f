"""Mutual information, active units and the warning of a collapsed posterior: against a Gaussian channel, whose information is known."""

import math
from types import SimpleNamespace

import pytest
import torch

import lvspec
from lvspec.runtime import Categorical, Encoded, Normal
from lvspec.shipped import shipped
from lvspec.train.diagnosis.usage import COLLAPSED, EXAMPLES, Usage, _usage, remedies
from lvspec.train.settings import TrainSettings


def channel(signal, noise, n=EXAMPLES, units=1):
    """q(z | x) = Normal(signal x, noise), x standard normal: I = log(1 + signal² / noise²) / 2 a unit."""
    x = torch.randn(n, units, generator=torch.Generator().manual_seed(0))
    return Encoded(Normal(signal * x, torch.full((n, units), noise)))


@pytest.mark.parametrize(("signal", "noise", "units"), [(1.0, 1.0, 1), (2.0, 0.5, 1), (0.0, 1.0, 2), (0.3, 1.0, 2)])
def test_information_of_a_gaussian_channel(signal, noise, units):
    torch.manual_seed(1)
    found = _usage("z", channel(signal, noise, units=units))
    expected = units * 0.5 * math.log(1 + signal**2 / noise**2)
    assert abs(found.information - expected) < 0.06
    assert (found.active, found.units) == (units if signal > 0.1 else 0, units)
    assert found.collapsed == (signal == 0.0)


def test_a_single_number_is_one_unit():
    torch.manual_seed(1)
    q = channel(2.0, 0.5)
    found = _usage("z", Encoded(Normal(*(a[:, 0] for a in q.arguments.values()))))
    assert (found.active, found.units) == (1, 1)
    assert abs(found.information - 0.5 * math.log(17)) < 0.06


def test_information_of_categories():
    logits = 20.0 * torch.eye(4).repeat(50, 1)
    found = _usage("c", Encoded(Categorical(logits)))
    assert abs(found.information - math.log(4)) < 1e-3 and found.active is None
    alike = Encoded(Categorical(torch.zeros(200, 4)))
    assert abs(_usage("c", alike).information) < 1e-6


def test_few_examples_are_drawn_often():
    """Σ_n Σ_k q(k | n) log(q(k | n) / q(k)) / N of six examples, to within the error of some 2000 draws, and never below zero."""
    torch.manual_seed(0)
    for scale in (0.1, 1.0):
        logits = scale * torch.randn(6, 3)
        q = Encoded(Categorical(logits))
        p = logits.softmax(1)
        exact = float((p * (p / p.mean(0)).log()).sum(1).mean())
        found = _usage("c", q).information
        assert found >= 0.0
        assert abs(found - exact) < 4 * math.sqrt(float((p * (p / p.mean(0)).log() ** 2).sum(1).mean()) / 1998)


def test_what_counts_as_collapsed():
    assert Usage("z", COLLAPSED / 2, 10).collapsed and Usage("z", 3.0, 10, 0, 4).collapsed
    assert not Usage("z", COLLAPSED * 2, 10).collapsed and not Usage("z", 3.0, 10, 1, 4).collapsed


def test_remedies_are_those_that_were_not_tried():
    spec = lvspec.read_spec(shipped("specs") / "sentence_vae.yaml")
    named = " ".join(remedies(spec, "z", TrainSettings()))
    assert "free_bits" in named and "word_dropout" in named and "kl_weight" not in named
    assert "word_dropout" not in " ".join(
        remedies(lvspec.read_spec(shipped("specs") / "vae.yaml"), "z", TrainSettings())
    )
    tried = " ".join(remedies(spec, "z", TrainSettings(word_dropout=0.3, inference="aggressive")))
    assert "free_bits" in tried and "word_dropout" not in tried and "inference" not in tried


@pytest.mark.parametrize("name", ["vae", "discrete_vae", "gm_vae", "naive_bayes_amortized"])
def test_encode_is_the_guide_of_the_module(name):
    compiled = lvspec.compile_spec(shipped("specs") / f"{name}.yaml", sizes={"K": 3} if name != "vae" else {"H": 5})
    sizes = {s.name: 6 for s in compiled.spec.sizes if s.of}
    model = compiled.Model(**sizes)
    x = compiled.spec.variable("x")
    batch = (
        {"x": torch.randint(2, (4, 6))}
        if not x.plates
        else {"x": torch.randint(2, (4, 5)), "t": torch.tensor([5, 2, 1, 3])}
    )
    for latent, q in model.encode(batch).items():
        drawn = q.sample(3)
        assert drawn.shape[:2] == (3, 4)
        table = q.log_prob_of_each(drawn[0])
        assert table.shape == (4, 4) and table.isfinite().all()
        objective = model(batch)
        assert latent in objective.kl


def test_a_model_without_such_latents_has_no_usage():
    from lvspec.train.diagnosis.usage import usage

    assert usage(SimpleNamespace(), [], None, torch.device("cpu")) == []
