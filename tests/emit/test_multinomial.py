"""Multinomial: vectors of counts that add up to a number of draws."""

import pytest
import torch
from torch import distributions as D

from lvspec import runtime as R
from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.verify import render, verify

MODEL = """lvspec: 1
sizes: {K: 2, V: 3, D: 2}
plates: {i: bag}
params: {w: [V], e: [K, V], m: [V, D]}
given:
  n[i]: count
latent:
  u: Normal(0, 1)[D]
  z[i]: Categorical(logits=0 over k)
observed:
  x[i]: Multinomial(n[i], logits=e[z[i]] + matmul(m, u))
  y[i]: Multinomial(4, probs=softmax(w))
  s: Multinomial(3, logits=w)[D]
""".replace("0 over k", "q").replace("params: {", "params: {q: [K], ")


def test_it_agrees_with_brute_force():
    compiled = compile_spec(MODEL)
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)


def test_log_density_and_its_gradient():
    logits = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.5, -0.5]], dtype=torch.float64, requires_grad=True)
    n = torch.tensor([5.0, 2.0], dtype=torch.float64)
    x = torch.tensor([[1.0, 0.0, 4.0], [0.0, 2.0, 0.0]], dtype=torch.float64)
    found = R.Multinomial(n, logits).log_prob(x)
    expected = torch.stack([D.Multinomial(int(n[i]), logits=logits[i]).log_prob(x[i]) for i in range(2)])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    slopes = [torch.autograd.grad(v.sum(), logits, retain_graph=True)[0] for v in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-9)


def test_counts_that_do_not_add_up_and_categories_without_probability():
    logits = torch.tensor([0.0, -torch.inf, 1.0], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[1, 0, 2], [1, 1, 1], [1, 0, 1], [-1, 0, 4]])
    found = R.Multinomial(torch.tensor(3), logits).log_prob(x)
    assert found.isfinite().tolist() == [True, False, False, False]
    assert (found[1:] == -torch.inf).all()
    (slope,) = torch.autograd.grad(found[0], logits)
    assert slope.isfinite().all()


def test_draws_add_up_and_have_the_right_mean():
    torch.manual_seed(0)
    logits, n = torch.tensor([[0.0, 1.0, -torch.inf, 0.5], [3.0, 0.0, 0.0, 0.0]]).double(), torch.tensor([7, 0])
    drawn = R.Multinomial(n, logits).sample((20_000,))
    assert drawn.dtype == torch.int64 and drawn.shape == (20_000, 2, 4)
    assert (drawn.sum(-1) == n).all() and (drawn[..., 0, 2] == 0).all()
    p = logits.softmax(-1)
    error = (n[:, None] * p * (1 - p) / 20_000).sqrt()
    assert ((drawn.double().mean(0) - n[:, None] * p).abs() <= 5.2 * error).all()


def test_a_latent_of_it_is_refused():
    with pytest.raises(SpecError, match="what is Multinomial is observed"):
        compile_spec(
            "lvspec: 1\nparams: {w: [3]}\nlatent:\n  z: Multinomial(3, logits=w)\nobserved:\n  x: Normal(sum(z), 1)\n"
        )


def test_a_total_that_is_no_count_is_refused():
    with pytest.raises(SpecError, match="must be a count"):
        compile_spec("lvspec: 1\nparams: {w: [3]}\nobserved:\n  x: Multinomial(2.5, logits=w)\n")
