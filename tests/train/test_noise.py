"""The gradient's variance at a latent, against closed forms."""

import numpy as np
import pytest
import torch

from lvspec.cli.main import main
from lvspec.driver import compile_spec
from lvspec.train.data.dataset import encoded
from lvspec.train.data.fitting import fitted
from lvspec.train.data.layout import layout_of
from lvspec.train.diagnosis import noise
from lvspec.train.settings import DataSettings

CPU = torch.device("cpu")
GAUSSIAN = """
lvspec: 1
name: gaussian
sizes: {P: 1}
networks:
  encoder: Linear(P, 2*P)
latent:
  z: Normal(0, 1)[P]
observed:
  x: Normal(z, 1)
guide:
  z: Normal(loc, exp(scale)) where loc, scale = split(encoder(x))
infer:
  samples: 3
"""
BIT = """
lvspec: 1
name: bit
sizes: {P: 1}
params: {low: [P], high: [P]}
networks:
  encoder: Linear(P, 1)
latent:
  z: Bernoulli(logits=0.3)
observed:
  x: Normal(low + z * high, 1)
guide:
  z: Bernoulli(logits=encoder(x)[0])
infer:
  z: reinforce(baseline=none, samples=2)
"""


def data(spec, rows):
    layout, settings = layout_of(spec), {"x": DataSettings()}
    records = [{"x": r} for r in rows]
    return encoded(records, layout, fitted(records, layout, settings), settings)


def measured(text, monkeypatch, repeats=400):
    compiled = compile_spec(text)
    torch.manual_seed(0)
    model = compiled.Model()
    x = torch.randn(16, 1)
    monkeypatch.setattr(noise, "REPEATS", repeats)
    found = noise.gradient_noise(model, compiled, data(compiled.spec, x.numpy()), CPU)["z"]
    return model, x, found


def test_pathwise_gradients_of_a_gaussian(monkeypatch):
    """∂/∂loc = loc - (x - z), ∂/∂s = (z - x) ε + s - 1/s of the scale s, averaged over 3 draws; s² V by the scale's logarithm."""
    model, x, found = measured(GAUSSIAN, monkeypatch)
    loc, log_scale = model.encoder(x).detach().chunk(2, -1)
    scale = log_scale.exp()
    # the guide is given the scale itself
    variance = (scale**2 + (loc - x) ** 2 + 2 * scale**2) / 3
    signal = (2 * loc - x) ** 2 + (2 * scale - 1 / scale) ** 2
    assert found.variance == pytest.approx(float(variance.mean()), rel=0.12)
    assert found.signal == pytest.approx(float(signal.mean()), rel=0.12)


def test_score_function_gradients_of_a_bit(monkeypatch):
    """(f(b_1) (b_1 - q) + f(b_2) (b_2 - q)) / 2, beside a KL in closed form."""
    model, x, found = measured(BIT, monkeypatch)
    q = torch.sigmoid(model.encoder(x)).detach()
    f = [-0.5 * (x - model.low - b * model.high).square().detach() - 0.5 * np.log(2 * np.pi) for b in (0, 1)]
    first = q * f[1] * (1 - q) + (1 - q) * f[0] * -q
    second = q * (f[1] * (1 - q)) ** 2 + (1 - q) * (f[0] * q) ** 2
    assert found.variance == pytest.approx(float((second - first**2).mean()) / 2, rel=0.12)


def test_nothing_random_is_left_behind(monkeypatch):
    compiled = compile_spec(GAUSSIAN)
    model, dataset = compiled.Model(), data(compiled.spec, np.ones((3, 1), dtype=np.float32))
    before = torch.get_rng_state()
    first, second = (noise.gradient_noise(model, compiled, dataset, CPU) for _ in range(2))
    assert first == second and torch.equal(before, torch.get_rng_state())
    assert model.training and all(p.grad is None for p in model.parameters())
    exact = compile_spec(BIT[: BIT.index("guide:")])
    assert noise.gradient_noise(exact.Model(), exact, dataset, CPU) == {}


def test_train_and_eval_show_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bit.yaml").write_text(BIT)
    np.savez("x.npz", x=np.random.default_rng(0).normal(size=(60, 1)).astype(np.float32))
    assert (
        main(["train", "bit.yaml", "--data", "x.npz", "--format", "npz", "--set", "data.x.array=x", "--epochs", "1"])
        == 0
    )
    assert "noise.z" in capsys.readouterr().err and '"noise.z"' in (tmp_path / "runs/bit/metrics.jsonl").read_text()
    assert main(["eval", "runs/bit"]) == 0
    assert "gradient variance" in capsys.readouterr().out
