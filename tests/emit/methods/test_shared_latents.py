"""Latents outside the batch plate, one value for all examples: what their posterior, log p of the data set and predictions are."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from lvspec.driver import compile_spec
from lvspec.verify import render, verify

LOCATION = """
lvspec: 1
name: location
params: {m: [], s: []}
latent:
  global b: Normal(0, 2)
observed:
  y: Normal(b, 1)
"""
WRITTEN = "guide:\n  b: Normal(m, softplus(s))\n"
MIXTURE = """
lvspec: 1
name: mixture
plates: {k: 2}
params: {w: [2], m: [2], s: [2]}
latent:
  global mu[k]: Normal(0, 2)
  c: Categorical(logits=w)
observed:
  y: Normal(mu[c], 1)
guide:
  mu[k]: Normal(m[k], softplus(s[k]))
"""
COINS = """
lvspec: 1
name: coins
plates: {k: 2}
given: {which: category(2)}
latent:
  global theta[k]: Beta(2.0, 1.5)
observed:
  y: Bernoulli(probs=theta[which])
"""
LOGISTIC = """
lvspec: 1
name: logistic
sizes: {D: 3}
given:
  u: real[D]
latent:
  global b: Normal(0, 1)[D]
observed:
  y: Bernoulli(logits=dot(u, b))
"""
Y = torch.tensor([0.5, 1.2, -0.3, 0.7], dtype=torch.float64)
DRAWS = 100_000


def inverse_softplus(value):
    return math.log(math.expm1(value))


@pytest.fixture
def location():
    """The module, its q a little off the posterior N(mean, variance); and these."""
    precision = 1 / 4 + len(Y)
    mean, variance = Y.sum() / precision, 1 / precision
    model = compile_spec(LOCATION + WRITTEN).Model(dataset_size=len(Y)).double()
    with torch.no_grad():
        model.m.fill_(mean + 0.1)
        model.s.fill_(inverse_softplus(1.2 * math.sqrt(variance)))
    torch.manual_seed(0)
    return model, mean, variance


def test_log_prob_is_that_of_the_whole_data_set(location):
    model, _, _ = location
    exact = MultivariateNormal(torch.zeros(4).double(), torch.eye(4).double() + 4.0).log_prob(Y)
    found = model.importance({"y": Y}, DRAWS)
    assert found.log_prob.shape == ()
    assert abs(found.log_prob - exact) < 5 * found.standard_error + 1e-9 < 0.02
    assert model.log_prob({"y": Y}).shape == ()


def test_the_posterior_weighs_a_draw_by_all_examples(location):
    model, mean, variance = location
    found = model.posterior({"y": Y}, DRAWS)["b"]
    assert found.mean.shape == () and abs(found.mean - mean) < 0.01
    assert abs(found.variance - variance) < 0.01
    assert found.sample(7).shape == (7,) and found.mode.shape == () and found.effective_sample_size.shape == ()


def test_what_q_predicts_of_each_example(location):
    model, mean, variance = location
    exact = Normal(mean + 0.1, math.sqrt(1 + 1.44 * variance)).log_prob(Y)
    assert torch.allclose(model.predictive({"y": Y}, DRAWS).log_prob, exact, atol=0.01)


def test_batches_at_the_same_shared_draws_add_up(location):
    model, _, _ = location
    draws = model.shared_draws(50)
    parts = [model.log_weights(model.prepare({"y": y}), 50, draws) for y in (Y[:1], Y[1:])]
    whole = model.log_weights(model.prepare({"y": Y}), 50, draws)
    assert torch.allclose(torch.cat([p[0] for p in parts], 1), whole[0])
    assert torch.equal(parts[0][2], whole[2])


def grid_of_mixture(weight):
    """p(mu_0, mu_1 | y) on a grid, log p(y), and p(c_i = 1 | y)."""
    mu = torch.linspace(-9, 9, 721).double()
    log_prior = Normal(0.0, 2.0).log_prob(mu)
    log_y = Normal(mu[:, None], 1.0).log_prob(Y)  # (grid, B)
    first, second = weight[0] + log_y[:, None], weight[1] + log_y[None]
    log_joint = log_prior[:, None] + log_prior + torch.logaddexp(first, second).sum(-1)
    log_evidence = log_joint.flatten().logsumexp(0) + 2 * math.log(float(mu[1] - mu[0]))
    posterior = log_joint.flatten().softmax(0).reshape(len(mu), len(mu))
    share = (second - torch.logaddexp(first, second)).exp()
    return log_evidence, (posterior.sum(1) * mu).sum(), torch.einsum("ij,ijb->b", posterior, share)


def test_summed_latents_beside_shared_draws():
    model = compile_spec(MIXTURE).Model(dataset_size=len(Y)).double()
    with torch.no_grad():
        model.w.copy_(torch.tensor([0.3, -0.2]))
        model.m.copy_(torch.tensor([0.5, 0.3]))
        model.s.fill_(inverse_softplus(1.8))
    log_evidence, mean, share = grid_of_mixture(model.w.detach().log_softmax(0))
    torch.manual_seed(0)
    found = model.importance({"y": Y}, DRAWS)
    assert abs(found.log_prob - log_evidence) < 5 * found.standard_error < 0.1
    answer = model.posterior({"y": Y}, DRAWS)
    assert abs(answer["mu"].mean[0] - mean) < 0.03
    assert torch.allclose(answer["c"].marginals[:, 1], share, atol=0.01)


def test_factors_of_the_data_set_give_its_log_prob():
    """Beta and Bernoulli: log p(data) = Σ_k log B(a + heads, b + tails) / B(a, b)."""
    compiled = compile_spec(COINS)
    assert compiled.plan.latent("theta").treatment == "mean_field"
    model = compiled.Model(dataset_size=6).double()
    batch = {"which": torch.tensor([0, 0, 0, 1, 1, 1]), "y": torch.tensor([1, 1, 0, 0, 0, 1])}
    model.ascend(batch, 1.0)

    def log_beta(a, b):
        return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)

    heads, tails = torch.tensor([2.0, 1.0]).double(), torch.tensor([1.0, 2.0]).double()
    two, half = torch.tensor(2.0).double(), torch.tensor(1.5).double()
    exact = (log_beta(two + heads, half + tails) - log_beta(two, half)).sum()
    # q is the posterior, and every draw has the same weight
    assert abs(model.log_prob(batch, 3) - exact) < 1e-9
    draws = model.shared_draws(4)
    halves = [{k: v[part] for k, v in batch.items()} for part in (slice(0, 3), slice(3, 6))]
    weights = [model.log_weights(model.prepare(h), 4, draws) for h in halves]
    total = sum(w[0].sum(1) for w in weights) + weights[0][2]
    assert torch.allclose(total, exact.expand(4))


@pytest.mark.parametrize("family", [None, "structured", "inverse"])
def test_a_shared_latent_without_a_guide_has_free_parameters(family):
    compiled = compile_spec(LOGISTIC, overrides={"guide": family} if family else None)
    assert "b: Normal(loc=loc_b, scale=softplus(scale_b))" in compiled.plan.derived
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=0, draws=0)
    assert report.passed, render(report)
    model = compiled.Model(dataset_size=10)
    assert set(dict(model.named_parameters())) == {"loc_b", "scale_b"}


def test_a_guide_is_derived_beside_those_of_examples():
    spec = LOGISTIC.replace("latent:\n", "plates: {k: 2}\nlatent:\n  global r[k]: Gamma(2.0, 1.0)\n  z: Normal(0, 1)\n")
    compiled = compile_spec(spec.replace("dot(u, b)", "dot(u, b) + z * r[0] - r[1]"))
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=0, draws=0)
    assert report.passed, render(report)
    assert {"loc_r", "scale_r", "loc_b", "scale_b"} <= set(dict(compiled.Model(dataset_size=10).named_parameters()))


def test_a_point_estimate_is_the_posterior_mode():
    """The mean over the data of log p(y, b) / N has its maximum at the mode; log p(b) counts once for all examples."""
    compiled = compile_spec(LOCATION.replace(", s: []", "") + "guide:\n  b: Delta(m)\n")
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=0, draws=0)
    assert report.passed, render(report)
    model = compiled.Model(dataset_size=len(Y)).double()
    mode = Y.sum() / (1 / 4 + len(Y))
    with torch.no_grad():
        model.m.copy_(mode)
    step = model({"y": Y})
    step.loss.backward()
    assert abs(model.m.grad) < 1e-12
    exact = Normal(0.0, 2.0).log_prob(mode) + Normal(mode, 1.0).log_prob(Y).sum()
    assert torch.isclose(step.log_joint.sum(), exact)
    assert model.posterior({"y": Y})["b"].mode == mode
