"""Training loops that a user writes: what the module asks of them."""

import warnings

import pytest
import torch

import lvspec

ANNEALED = """lvspec: 1
name: annealed
sizes: {P: 4, D: 2}
networks: {enc: "Linear(P, 2*D)", dec: "Linear(D, P)"}
latent:
  z: Normal(0, 1)[D]
observed:
  x: Bernoulli(logits=dec(z))
guide:
  z: Normal(loc, softplus(scale)) where loc, scale = split(enc(x))
train:
  kl_weight: linear(0, 1, steps=10)
"""


def steps(model, count, advance):
    x = torch.bernoulli(torch.full((6, 4), 0.5))
    for _ in range(count):
        model({"x": x}).loss.backward()
        if advance:
            model.step += 1


def weight_of_kl(model):
    step = model({"x": torch.ones(6, 4)})
    return ((step.loss + step.reconstruction.mean()) / step.kl["z"].mean()).item()


def test_schedule_that_nobody_advances_is_told_once():
    model = lvspec.compile_spec(ANNEALED).Model()
    with pytest.warns(UserWarning, match=r"`model.step \+= 1`") as told:
        steps(model, 20, advance=False)
    assert len(told) == 1


def test_schedule_follows_the_step():
    model = lvspec.compile_spec(ANNEALED).Model()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps(model, 8, advance=True)
        assert weight_of_kl(model) == pytest.approx(0.8, abs=1e-5)
        with torch.no_grad():
            fresh = lvspec.compile_spec(ANNEALED).Model()
            assert [weight_of_kl(fresh) for _ in range(20)] == pytest.approx([0] * 20, abs=1e-5)


@pytest.mark.parametrize(
    ("weight", "in_training", "in_evaluation"),
    [("linear(0, 1, steps=10)", 0.0, 1.0), ("cyclical(0, 4, period=10)", 0.0, 4.0), ("4", 4.0, 4.0)],
)
def test_a_weight_that_rises_is_at_its_end_in_evaluation(weight, in_training, in_evaluation):
    """Of linear(0, 1) the loss is the mean of -ELBO then; a constant weight is part of the objective."""
    model = lvspec.compile_spec(ANNEALED.replace("linear(0, 1, steps=10)", weight)).Model()
    assert weight_of_kl(model) == pytest.approx(in_training, abs=1e-4)
    assert weight_of_kl(model.eval()) == pytest.approx(in_evaluation, abs=1e-4)
    step = model({"x": torch.ones(6, 4)})
    assert in_evaluation != 1 or torch.equal(step.loss, -step.elbo.mean())
