"""Observations that are missing at some sites, where latents are drawn and scored: a site that is not observed is no cost of its draw."""

import itertools
import math

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.emit.objective import score
from lvspec.verify import render, verify

SITES = """
lvspec: 1
name: sites
sizes: {V: 3}
plates: {t: sequence}
params: {prior: [], emission: [2, V], q: [V]}
latent:
  z[t]: Bernoulli(logits=prior)
observed:
  x[t]: Categorical(logits=emission[z[t]])
guide:
  z[t]: Bernoulli(logits=q[x[t]])
infer:
"""
WAYS = (
    "z: reinforce",
    "z: reinforce(samples=1, baseline=moving_average)",
    "z: reinforce(samples=2, baseline=learned)",
    "z: reinforce(samples=2, baseline=none)",
    "z: disarm",
)


@pytest.mark.parametrize("way", WAYS)
def test_gradients_agree_with_brute_force_where_something_is_missing(way):
    one = compile_spec(f"{SITES}  {way}\n")
    report = verify(one.spec, one.plan, one.Model, draws=0)
    assert report.passed, render(report)
    assert any(c.name == "gradient averaged over all draws, x partly missing" for c in report.checks)


def test_verify_tells_of_missing_sites_that_count_as_costs(monkeypatch):
    monkeypatch.setattr(score, "masked", lambda low, value, mask: value)
    one = compile_spec(f"{SITES}  {WAYS[0]}\n")
    report = verify(one.spec, one.plan, one.Model, draws=0)
    assert [c.name for c in report.checks if not c.passed] == ["gradient averaged over all draws, x partly missing"]


@pytest.mark.parametrize(
    ("family", "read", "value", "filler"),
    [
        ("Poisson(exp(z))", "log(n)", 3, 1),
        ("Geometric(logits=z)", "1 / (n + 1)", 3, 1),
        ("Binomial(5, logits=z)", "sqrt(n)", 3, 1),
        ("Uniform(0, 5)", "log(n)", 3.0, 1),
        ("Uniform(2, 5)", "log(n - 1)", 3.0, 3.5),
        ("Uniform(-5, -2)", "log(-n)", -3.0, -3.5),
        ("Beta(2, 2)", "log(1 - n)", 0.25, 0.5),
        ("Gamma(2, 1)", "log(n)", 3.0, 1),
        ("Normal(z, 1)", "n", 3.0, 0),
    ],
)
def test_the_guide_reads_a_value_of_the_support_where_none_is_observed(family, read, value, filler):
    """log N(x; z, 1) - KL(N(m, 1), N(0, 1)) at z = m + e, m what q reads; KL = m^2 / 2."""
    text = f"""
lvspec: 1
name: filled
latent:
  z: Normal(0, 1)
observed:
  n: {family}
  x: Normal(z, 1)
guide:
  z: Normal({read}, 1)
"""
    one = compile_spec(text)
    x, e = torch.tensor([0.3, -0.2]).double(), torch.tensor([[0.5, -1.5]]).double()
    batch = {"n": torch.tensor([value, value]), "n_observed": torch.tensor([True, False]), "x": x}
    found = one.Model().double()({k: v.double() if v.is_floating_point() else v for k, v in batch.items()}, {"z": e})
    m = eval(read, {"log": math.log, "sqrt": math.sqrt, "n": filler})
    density = torch.distributions.Normal(m + e[0, 1], 1.0).log_prob(x[1])
    assert float(found.elbo[1]) == pytest.approx(float(density) - m**2 / 2, abs=1e-6)
    if family in ("Poisson(exp(z))", "Uniform(2, 5)"):
        report = verify(one.spec, one.plan, one.Model, draws=0)
        assert report.passed, render(report)
        assert any(c.name == "ELBO, n partly missing" for c in report.checks)


def test_the_mean_gradient_is_that_of_the_bound():
    """∇ Σ_z q(z) (Σ_t log p(z_t) + [t observed] log p(x_t given z_t) - log q(z_t)), by the mean over every draw; a missing x_t is read
    as symbol 0 by q."""
    torch.manual_seed(0)
    model = compile_spec(f"{SITES}  {WAYS[3]}\n").Model().double()
    x, seen = torch.tensor([1, 2, 0]), torch.tensor([True, False, True])
    logits = model.q[torch.where(seen, x, 0)]
    emission = model.emission.log_softmax(1)[:, x] * seen  # (2, T)
    zs = torch.tensor(list(itertools.product((0, 1), repeat=3)))  # (8, T)
    log_q = torch.distributions.Bernoulli(logits=logits).log_prob(zs.double()).sum(1)
    log_p = torch.distributions.Bernoulli(logits=model.prior).log_prob(zs.double()).sum(1)
    bound = (log_q.exp() * (log_p + emission[zs, torch.arange(3)].sum(1) - log_q)).sum()
    expected = torch.autograd.grad(-bound, (model.prior, model.emission, model.q))

    pairs = torch.tensor(list(itertools.product(range(8), repeat=2)))  # of the two draws
    batch = {"x": x.expand(64, 3), "x_observed": seen.expand(64, 3), "weight": (log_q[pairs].sum(1)).exp().detach()}
    loss = model(batch, draws={"z": zs[pairs].transpose(0, 1)}).loss
    found = torch.autograd.grad(loss, (model.prior, model.emission, model.q))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
