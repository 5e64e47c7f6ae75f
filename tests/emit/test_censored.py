"""Censored(Family(...), at=c): densities below the bound, the probability of the tail at it, draws up to it."""

import pytest
import torch
from torch import distributions as D

from lvspec import runtime as R
from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.verify import render, verify

MODEL = """lvspec: 1
sizes: {D: 2}
plates: {i: bag}
params: {w: [D], s: [], k: []}
given:
  v[i]: real[D]
  c[i]: positive
latent:
  u: Normal(0, 1)[D]
  z[i]: Bernoulli(logits=s)
observed:
  x[i]: Censored(Weibull(exp(dot(u, v[i]) + z[i]), softplus(k)), at=c[i])
  y[i]: Censored(LogNormal(u, softplus(w)), at=2)
  r[i]: Censored(Exponential(softplus(s)), c[i])
  n[i]: Censored(Normal(dot(w, v[i]), scale=softplus(s)), at=0.3)[D]
"""


def test_they_agree_with_brute_force():
    compiled = compile_spec(MODEL)
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)


F = torch.float64
CASES = {
    "Exponential": (1.3,),
    "Weibull": (1.7, 0.8),
    "Normal": (0.5, 1.7),
    "LogNormal": (0.5, 1.7),
}


@pytest.mark.parametrize("family", CASES)
def test_mass_below_and_at_the_bound_is_one(family):
    arguments = [torch.tensor(v, dtype=F, requires_grad=True) for v in CASES[family]]
    at = torch.tensor(1.5, dtype=F)
    peer = getattr(D, family)(*arguments)
    found = getattr(R, f"Censored{family}")(*arguments, at)
    x = torch.tensor([0.2, 1.4, 1.5, 9.0], dtype=F)
    expected = torch.cat([peer.log_prob(x[:2]), torch.log1p(-peer.cdf(at)).expand(2)])
    torch.testing.assert_close(found.log_prob(x), expected, rtol=1e-9, atol=1e-9)
    for a, b in zip(*(torch.autograd.grad(v.sum(), arguments) for v in (found.log_prob(x), expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    torch.manual_seed(0)
    drawn = found.sample((50_000,))
    assert drawn.max() == at
    share = float((drawn == at).double().mean())
    assert share == pytest.approx(float((1 - peer.cdf(at)).detach()), abs=5.2 * 0.5 / 50_000**0.5)


@pytest.mark.parametrize("family", CASES)
def test_far_tails_are_numbers(family):
    for far in (1e-300, 1e3, 1e6):
        arguments = [torch.tensor(v, dtype=F, requires_grad=True) for v in CASES[family]]
        found = getattr(R, f"Censored{family}")(*arguments, torch.tensor(far, dtype=F)).log_prob(
            torch.tensor(far, dtype=F)
        )
        assert found.isfinite()
        assert all(g.isfinite() for g in torch.autograd.grad(found, arguments))


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("observed:\n  x: Censored(Gamma(2, 1), at=1)\n", "`Censored` takes a distribution"),
        ("observed:\n  x: Censored(Weibull(2, 1))\n", "`Censored` takes a distribution"),
        ("observed:\n  x: Censored(Weibull(2, 1), at=-1)\n", "must be positive"),
        ("latent:\n  x: Censored(Weibull(2, 1), at=1)\nobserved:\n  y: Normal(x, 1)\n", "what is censored is observed"),
    ],
)
def test_what_it_does_not_take_is_refused(text, about):
    with pytest.raises(SpecError, match=about):
        compile_spec(f"lvspec: 1\n{text}")


def test_draws_are_no_larger_than_the_bound_of_their_site():
    model = compile_spec(
        "lvspec: 1\nplates: {i: 3}\ngiven:\n  c[i]: positive\nobserved:\n  x[i]: Censored(Exponential(0.1), at=c[i])\n"
    ).Model()
    bound = torch.tensor([[0.5, 1.0, 2.0]]).expand(50, 3)
    drawn = model.sample(50, given={"c": bound})["x"]
    assert (drawn <= bound).all() and (drawn == bound).any()
