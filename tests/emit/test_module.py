"""An emitted class is an ordinary nn.Module: devices, dtypes, copies, state dicts, autocast."""

import copy
import inspect
import pickle

import pytest
import torch
from torch import nn

import lvspec
from lvspec.runtime import BadBatch
from tests.emit.small import NAMES, batch_of, compiled, draws_of, gradients, model_of, per_example


def answer(model, batch, draws=None):
    objective = model(batch, draws=draws) if draws else model(batch)
    return objective.loss, per_example(objective)


@pytest.mark.parametrize("name", NAMES)
def test_forward_gives_a_finite_loss_and_gradients_for_every_parameter(name):
    model, batch = model_of(name), batch_of(name)
    loss, values = answer(model, batch, draws_of(name, batch))
    assert loss.shape == () and loss.isfinite()
    assert values.shape == (len(batch["x"]),) and values.isfinite().all()
    found = gradients(model, loss)
    assert set(found) == {n for n, p in model.named_parameters() if p.requires_grad}
    assert all(g.isfinite().all() for g in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_meta_device_gives_shapes(name):
    model, batch = model_of(name).to("meta"), batch_of(name)
    draws = {k: v.to("meta") for k, v in draws_of(name, batch).items()}
    loss, values = answer(model, {k: v.to("meta") for k, v in batch.items()}, draws)
    assert loss.device.type == "meta" and values.shape == (len(batch["x"]),)


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_state_dicts_keep_the_answer(name):
    model, batch = model_of(name), batch_of(name)
    draws = draws_of(name, batch)
    expected = answer(model, batch, draws)
    other = model_of(name, seed=1)
    assert not torch.equal(answer(other, batch, draws)[1], expected[1])
    other.load_state_dict(model.state_dict())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), other):
        for mine, theirs in zip(answer(twin, batch, draws), expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_double_precision_is_double_throughout(name):
    model, batch = model_of(name), batch_of(name)
    single, _ = answer(model, batch, draws_of(name, batch))
    batch = batch_of(name, dtype=torch.float64)
    loss, values = answer(model.double(), batch, draws_of(name, batch, dtype=torch.float64))
    assert loss.dtype == values.dtype == torch.float64
    torch.testing.assert_close(loss.float(), single, rtol=2e-6, atol=1e-6)  # rounding of a few hundred float32 sums


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_autocast_stays_close(name):
    model, batch = model_of(name), batch_of(name)
    draws = draws_of(name, batch)
    expected, _ = answer(model, batch, draws)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = answer(model, batch, draws)
    assert loss.dtype == torch.float32  # sums of log-probabilities need the bits
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0.02)  # eight bits of mantissa: 0.4 % a product
    assert all(g.isfinite().all() for g in gradients(model, loss).values())


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_registered_and_the_step_of_a_schedule_is_a_buffer(name):
    model = model_of(name)
    assert isinstance(model, nn.Module) and "zero" not in model.state_dict()
    assert ("step" in model.state_dict()) == ("self.step" in compiled(name).source)


@pytest.mark.parametrize("name", NAMES)
def test_draws_of_what_is_not_drawn_are_refused_and_so_are_other_shapes(name):
    model, batch, draws = model_of(name), batch_of(name), draws_of(name, batch_of(name))
    if not draws:  # nothing is drawn, and there is no such argument
        assert [*inspect.signature(model.forward).parameters] == ["batch"]
        return
    with pytest.raises(BadBatch, match="`nobody`, which is not drawn: what is drawn is"):
        model(batch, draws={**draws, "nobody": torch.zeros(1)})
    for latent, x in draws.items():
        for wrong in (x[0], x.narrow(1 + latent.endswith(".steps"), 0, 1), x.unsqueeze(-1)):
            with pytest.raises(
                BadBatch, match=f"for `{latent.removesuffix('.steps')}(.steps)?`, expected \\((steps, )?S, B"
            ):
                model(batch, draws={**draws, latent: wrong})


def test_noise_of_a_students_t_is_a_pair():
    text = "lvspec: 1\nname: heavy\nlatent:\n  z: Normal(0, 1)\nobserved:\n  x: Normal(z, 1)\n"
    text += "guide:\n  z: StudentT(4, 0.5 * x, 0.7)\ninfer:\n  z: %s\n"
    x, z = torch.tensor([0.3, -1.2, 0.8]), torch.tensor([[0.1, 2.0, -0.4], [1.0, 0.2, 0.3]])
    model = lvspec.compile_spec(text % "reparameterization").Model()
    with pytest.raises(BadBatch, match=r"shape \(2, 3\) for `z`, expected \(S, B, 2\)"):
        model({"x": x}, draws={"z": z})
    pair = torch.stack([z, torch.full_like(z, 2.0)], -1)  # a normal variate, and one of Gamma(df / 2, 1)
    drawn = model({"x": x}, draws={"z": pair})
    values = 0.5 * x + 0.7 * z  # df / (2 g) = 1
    scored = lvspec.compile_spec(text % "reinforce(samples=2)").Model()({"x": x}, draws={"z": values})
    torch.testing.assert_close(drawn.elbo, scored.elbo)


def test_log_prob_of_no_draws_is_refused():
    with pytest.raises(ValueError, match="`samples` is at least 1"):
        model_of("vae").log_prob(batch_of("vae"), samples=0)


def test_kl_weight_follows_the_step():
    model, batch = model_of("sentence_vae").train(), batch_of("sentence_vae")
    draws = draws_of("sentence_vae", batch)
    start = model(batch, draws=draws)
    torch.testing.assert_close(start.loss, -start.reconstruction.mean())
    model.step.fill_(10**6)
    end = model(batch, draws=draws)
    torch.testing.assert_close(end.loss, -end.elbo.mean())
    torch.testing.assert_close(end.elbo, start.elbo)
