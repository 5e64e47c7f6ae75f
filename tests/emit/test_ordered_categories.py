"""OrderedLogistic and `ordered(...)`: categories in an order, as observations, as latents that are summed, and in a guide."""

import pytest
import torch

from lvspec import runtime as R
from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.verify import render, verify

MODEL = """lvspec: 1
sizes: {D: 2, G: 2, K: 3}
plates: {i: bag}
params: {w: [D], c: [K], d: [G, K], s: []}
given:
  v[i]: real[D]
  g[i]: category(G)
latent:
  u: Normal(0, 1)[D]
  z[i]: OrderedLogistic(dot(w, v[i]), ordered(c))
let:
  cut: ordered(d)
observed:
  x[i]: OrderedLogistic(dot(u, v[i]) + z[i], cut[g[i]])
  y[i]: OrderedLogistic(u, cutpoints=ordered(c))
  k[i]: Categorical(logits=ordered_logits(s * z[i], ordered(d[g[i]])))
guide:
  z[i]: OrderedLogistic(s * y[i, 0], ordered(c))
"""


def test_they_agree_with_brute_force():
    compiled = compile_spec(MODEL.replace("s * y[i, 0]", "s * v[i, 0]"))
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)


def test_probabilities_are_differences_of_sigmoids():
    torch.manual_seed(0)
    eta, cutpoints = torch.randn(5, 1).double(), R.ordered(torch.randn(5, 3).double())
    assert (cutpoints.diff() > 0).all()
    edges = torch.cat([torch.zeros(5, 1), (cutpoints - eta).sigmoid(), torch.ones(5, 1)], -1)
    torch.testing.assert_close(R.ordered_logits(eta, cutpoints).exp(), edges.diff(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("far", [-800.0, 0.0, 800.0, 1e30])
def test_far_from_all_cutpoints_values_and_gradients_are_numbers(far):
    eta = torch.tensor([far], dtype=torch.float64, requires_grad=True)
    free = torch.tensor([0.3, -900.0, 1.0], dtype=torch.float64, requires_grad=True)  # two cutpoints are one
    found = R.ordered_logits(eta, R.ordered(free))
    assert found[1] == -torch.inf and found[[0, 2, 3]].isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(found[[0, 2, 3]].sum(), [eta, free]))
    assert found.exp().sum().item() == pytest.approx(1)


@pytest.mark.parametrize("cutpoints", ["c", "2 * ordered(c)", "softmax(c)"])
def test_cutpoints_that_may_not_increase_are_refused(cutpoints):
    text = f"lvspec: 1\nparams: {{c: [3]}}\nobserved:\n  x: OrderedLogistic(0, {cutpoints})\n"
    with pytest.raises(SpecError, match="`cutpoints` of OrderedLogistic must be a vector whose entries increase"):
        compile_spec(text)


def test_the_refusal_says_how_to_write_them():
    with pytest.raises(SpecError, match="cutpoints=ordered\\(c\\)"):
        compile_spec("lvspec: 1\nparams: {c: [3]}\nobserved:\n  x: OrderedLogistic(0, c)\n")


def test_draws_are_as_frequent_as_they_are_probable():
    model = compile_spec("lvspec: 1\nparams: {c: [2]}\nobserved:\n  x: OrderedLogistic(0.5, ordered(c))\n").Model()
    torch.manual_seed(0)
    drawn = model.sample(50_000)["x"]
    frequency = torch.bincount(drawn, minlength=3) / 50_000
    chance = model.log_prob({"x": torch.arange(3)}).exp().detach()
    assert (frequency - chance).abs().max() < 5.2 * 0.5 / 50_000**0.5
