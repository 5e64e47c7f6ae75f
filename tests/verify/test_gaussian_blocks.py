"""Jointly Gaussian latents that are integrated out together: textbook models against the oracle's dense Gaussian, and
against covariances written down by hand."""

import math

import numpy as np
import pytest
import torch

import lvspec
from lvspec.driver import plan_spec, recompile
from lvspec.load import load_module
from lvspec.verify import pins, render, shrink, verify
from lvspec.verify.checks.importance import ImportanceDraws
from lvspec.verify.checks.questions import drawn_integral_check, summed_checks
from lvspec.verify.checks.subject import Subject
from tests.verify.gaussian_models import random_model

HEAD = """lvspec: 1
name: model
sizes:
  D: 2
  N: 2
  J: 3
  K: 3
plates:
  j: J
  t: sequence
  i: bag
  k: 2
  q: K
params:
  a: []
  b: []
  s: [N]
  A: [D, D]
  G: [D, D]
  C: [N, D]
  W: [K, N, D]
  e: [K, N]
  R: [K, D, D]
  pi: [K]
  P: [K, K]
  L: [N, N]
"""

MODELS = {
    "mean and effects": """given:
  s_j[j]: positive
latent:
  mu: Normal(0, 5)
  effect[j]: Normal(mu, softplus(a))
observed:
  y[j]: Normal(effect[j], s_j[j])
""",
    "intercept and weights": """given:
  f[i]: real[N]
latent:
  w: Normal(0, 1)[N]
  intercept: Normal(0, 10)
observed:
  y[i]: Normal(dot(w, f[i]) + intercept, softplus(a))
""",
    "level and slope": """latent:
  level[0]: Normal(1, 3)
  level[t]: Normal(level[t-1] + slope[t-1], softplus(a))
  slope[0]: Normal(0, 1)
  slope[t]: Normal(slope[t-1], softplus(b))
observed:
  y[t]: Normal(level[t], 1)
""",
    "level and slope of the same site": """latent:
  slope[0]: Normal(0, 1)
  slope[t]: Normal(0.9 * slope[t-1], softplus(b))
  level[0]: Normal(slope[0], 3)
  level[t]: Normal(level[t-1] + slope[t], softplus(a))
observed:
  y[0]: Normal(level[0], 1)
  y[t]: Normal(level[t] + 0.5 * level[t-1], 1)
""",
    "second order": """latent:
  z[0]: Normal(0, 1)[D]
  z[1]: Normal(matmul(A, z[0]), 2)
  z[t]: Normal(0.3 * matmul(A, z[t-1]) + matmul(G, z[t-2]), 0.4)
observed:
  x[t]: Normal(matmul(C, z[t]) + s, 1)
""",
    "a chain with an unknown drift, and noise of its own": """latent:
  drift: Normal(0, 1)
  z[0]: Normal(0, 1)
  z[t]: Normal(z[t-1] + drift, softplus(a))
  u[t]: Normal(0, 2)
observed:
  x[t]: Normal(z[t] + u[t], 1)
  y[t]: Normal(u[t] - drift, 1)
""",
    "an autoregression about an unknown mean": """latent:
  mu: Normal(0, 3)
observed:
  x[0]: Normal(mu, 2)
  x[t]: Normal(mu + 0.6 * (x[t-1] - mu), softplus(a))
""",
    "three levels": """latent:
  w: Normal(0, 1)[D]
  m: Normal(0, 10)
  g[j]: Normal(matmul(C, w), 1.5)
  h[j, i]: Normal(2 * g[j] + m, 0.7)
observed:
  y[j, i]: Normal(h[j, i] - m, softplus(s))
  v[j]: MultivariateNormal(g[j] + s, scale_tril=L)
""",
    "chains side by side": """latent:
  m: Normal(0, 1)[D]
  z[j, 0]: Normal(m, 1)
  z[j, t]: Normal(matmul(A, z[j, t-1]) + m, 0.5)
observed:
  x[j, t]: Normal(matmul(C, z[j, t]), 1)
""",
    "effects of groups beside weights": """given:
  g[i]: category(K)
  f[i]: real[N]
latent:
  mu: Normal(0, 5)
  w: Normal(0, 1)[N]
  u[q]: Normal(mu, 2)
  v[q]: Normal(1, 1)[N]
observed:
  y[i]: Normal(u[g[i]] + dot(w, f[i]), 1)
  x[i]: Normal(matmul(L, v[g[i]]) + u[g[i]], softplus(s))
  r: Normal(u[0] - v[0, 1], 1)
""",
    "a chain that nothing reads": """latent:
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(matmul(A, z[t-1]), 0.5)
observed:
  x[t]: Normal(s, 1)
""",
    "mixture of factor analysers": """latent:
  c: Categorical(logits=pi)
  z: Normal(0, 1)[D]
observed:
  x: Normal(matmul(W[c], z) + e[c], softplus(s))
""",
    "mixture of factor analysers, site by site": """latent:
  c[i]: Bernoulli(logits=a)
  z[i]: Normal(2 * c[i] - 1, 1)
  h[i, k]: Normal((1 + c[i]) * z[i], 2)
observed:
  x[i, k]: Normal(h[i, k], softplus(a))
""",
    "hidden Markov model of factor analysers": """latent:
  c[0]: Categorical(logits=pi)
  c[t]: Categorical(logits=P[c[t-1]])
  z[t]: Normal(0, 1)[D]
observed:
  x[t]: Normal(matmul(W[c[t]], z[t]), softplus(s))
""",
    "a regime for all sites": """latent:
  c: Categorical(logits=pi)
  d: Categorical(logits=pi)
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(matmul(R[c], z[t-1]), 1)
observed:
  x[t]: Normal(matmul(C, z[t]) + e[d], softplus(s))
""",
    "beside a drawn latent": """networks:
  net: MLP(D, 4, N)
latent:
  mu: Normal(0, 1)
  effect[j]: Normal(mu, 1)
  w: Normal(0, 1)[D]
observed:
  y[j]: Normal(effect[j], 1)
  x: Normal(net(w), 1)
""",
}


def compiled(body):
    """At small sizes, without what the model does not name."""
    plan = plan_spec(HEAD + body)
    return recompile(plan.spec, shrink(plan.spec), pins(plan))


@pytest.mark.parametrize("name", MODELS)
def test_block_equals_the_dense_gaussian(name):
    c = compiled(MODELS[name])
    continuous = [p for p in c.plan.latents if p.name not in ("c", "d", "w")]
    assert {(p.strategy, p.treatment) for p in continuous} == {("joint_gaussian", "integrated")}
    report = verify(c.spec, c.plan, c.Model, seed=1, draws=2_000)
    assert report.passed, render(report)
    judged = {check.name.split(" of ")[0] for check in report.checks if check.figure is not None}
    if not c.plan.sampled:
        assert {"mean", "spread"} <= judged, judged
        assert ("entropy" in judged) or "c" in {p.name for p in c.plan.latents}


def agrees(seed: int) -> None:
    """A random model whose Gaussian latents are all integrated, against the oracle."""
    text = random_model(seed)
    plan = plan_spec(text)
    assert all(p.treatment == "integrated" for p in plan.latents if p.name != "c"), text
    c = recompile(plan.spec, shrink(plan.spec), pins(plan))
    report = verify(c.spec, c.plan, c.Model, seed=seed, draws=0)
    assert report.passed, f"{text}\n{render(report)}"


@pytest.mark.parametrize("seed", range(12))
def test_random_blocks_equal_the_dense_gaussian(seed):
    agrees(seed)


@pytest.mark.slow
def test_many_random_blocks_equal_the_dense_gaussian():
    for seed in range(12, 500):
        agrees(seed)


def test_what_nothing_reads_is_integrated_and_chosen_all_the_same():
    """Its log-factor is 0 for each value of c, and its posterior the prior's mixture."""
    agrees(13)


PLANTED = {
    "a matrix transposed": ("three levels", '"w": self.C', '"w": self.C.mT'),
    "an effect that forgets its mean": ("mean and effects", '{"mu": torch.eye', '{"nu": torch.eye'),
    "another variance": ("level and slope", "torch.full_like(self.zero, 3)", "torch.full_like(self.zero, 2)"),
    "a level too few": ("three levels", "above=1", "above=0"),
    "what is missing, read": ("mean and effects", 'batch["y.mask"]', 'torch.ones_like(batch["y.mask"])'),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_error_in_a_block_is_caught(name):
    model, right, wrong = PLANTED[name]
    c = compiled(MODELS[model])
    assert right in c.source, c.source
    broken = load_module(c.source.replace(right, wrong), c.spec).Model
    assert not verify(c.spec, c.plan, broken, seed=1, draws=0).passed


# ---------------------------------------------------------------- against covariances written down by hand
SCHOOLS = """lvspec: 1
name: schools
sizes: {J: 8}
plates: {j: J}
params: {tau: []}
given:
  s[j]: positive
latent:
  mu: Normal(0, 5)
  effect[j]: Normal(mu, exp(tau))
observed:
  y[j]: Normal(effect[j], s[j])
"""
Y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
S = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def normal_log_prob(x, covariance):
    return -0.5 * (x @ np.linalg.solve(covariance, x) + np.linalg.slogdet(2 * math.pi * covariance)[1])


def test_eight_schools():
    """y ~ N(0, 25 + diag(tau^2 + s^2)); mu and the effects given y by conditioning."""
    model = lvspec.compile_spec(SCHOOLS).Model().double()
    model.load_state_dict({"tau": torch.tensor(math.log(6.0), dtype=torch.float64)})
    batch = {"y": torch.from_numpy(Y)[None], "s": torch.from_numpy(S)[None]}
    prior = np.full((9, 9), 25.0) + np.diag([0.0] + [36.0] * 8)
    seen = prior[1:, 1:] + np.diag(S**2)
    gain = np.linalg.solve(seen, prior[1:]).T
    assert float(model.log_prob(batch).detach()) == pytest.approx(normal_log_prob(Y, seen), abs=1e-9)
    model.requires_grad_(False)
    answer = model.posterior(batch)
    mean, covariance = gain @ Y, prior - gain @ prior[1:]
    assert float(answer["mu"].mean) == pytest.approx(mean[0], abs=1e-9)
    assert answer["effect"].mean[0].numpy() == pytest.approx(mean[1:], abs=1e-9)
    assert answer["effect"].variance[0].numpy() == pytest.approx(np.diag(covariance)[1:], abs=1e-9)
    entropy = 0.5 * np.linalg.slogdet(2 * math.pi * math.e * covariance)[1]
    assert float(answer["mu"].entropy) == float(answer["effect"].entropy) == pytest.approx(entropy, abs=1e-9)
    drawn = answer["mu"].joint.sample(5)
    assert drawn["mu"].shape == (5, 1) and drawn["effect"].shape == (5, 1, 8)
    assert answer["effect"].sample(5).shape == (5, 1, 8)


def test_local_linear_trend_with_gaps_in_float32():
    """A year of days, some missing, little noise on a large level: within float32 of the dense Gaussian."""
    model = lvspec.compile_spec(
        HEAD.split("sizes:")[0]
        + "plates: {t: sequence}\n"
        + """latent:
  level[0]: Normal(1000, 30)
  level[t]: Normal(level[t-1] + slope[t-1], 0.01)
  slope[0]: Normal(0, 1)
  slope[t]: Normal(slope[t-1], 0.001)
observed:
  y[t]: Normal(level[t], 0.05)
"""
    ).Model()
    T, rng = 365, np.random.default_rng(0)
    y = 1010 + 0.3 * np.arange(T) + 0.05 * rng.normal(size=T)
    seen = rng.random(T) < 0.8
    move = np.array([[1.0, 1.0], [0.0, 1.0]])
    means, covariances = [np.array([1000.0, 0.0])], {(0, 0): np.diag([900.0, 1.0])}
    for t in range(1, T):
        means.append(move @ means[-1])
        covariances[t, t] = move @ covariances[t - 1, t - 1] @ move.T + np.diag([1e-4, 1e-6])
    cov = np.zeros((T, T))
    for t in range(T):
        at = covariances[t, t]
        for u in range(t, T):
            cov[t, u] = cov[u, t] = at[0, 0]
            at = move @ at
    keep = np.flatnonzero(seen)
    gap = (y - np.array([m[0] for m in means]))[keep]
    expected = normal_log_prob(gap, cov[np.ix_(keep, keep)] + 0.0025 * np.eye(len(keep)))
    batch = {"y": torch.tensor(y, dtype=torch.float32)[None], "y_observed": torch.from_numpy(seen)[None]}
    found = model.log_prob(batch)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(expected, rel=2e-3)


def test_answers_of_mixtures_are_moments_and_draws():
    spec = HEAD + MODELS["mixture of factor analysers"]
    model = lvspec.compile_spec(spec).Model()
    answer = model.posterior({"x": torch.zeros(4, 2)})["z"]
    assert answer.mean.shape == answer.variance.shape == (4, 2) and answer.sample(3).shape == (3, 4, 2)
    assert answer.joint.weights.shape == (4, 3)
    for question in ("mode", "entropy"):
        with pytest.raises(Exception, match="a mixture of Gaussians"):
            getattr(answer, question)


def test_a_chain_that_is_asked_as_by_a_kalman_filter_says_which_batch_has_the_answer():
    text = (
        HEAD.split("sizes:")[0]
        + """plates: {t: sequence, j: 3}
latent:
  z[0]: Normal(0, 1)
  z[t]: Normal(0.9 * z[t-1], 0.5)
observed:
  y[t, j]: Normal(z[t], 0.7)
"""
    )
    model = lvspec.compile_spec(text).Model().double()
    y, lengths = torch.randn(2, 3, 3).double(), torch.tensor([3, 2])
    batch = {"y": y, "t": lengths}
    answer = model.posterior(batch)["z"]
    questions = (lambda: answer.filtered, lambda: answer.forecast(2), lambda: answer.kl(answer))
    for ask in (*questions, lambda: answer.cross_entropy(answer)):
        with pytest.raises(lvspec.runtime.Undefined, match="z is integrated out of a block"):
            ask()
    further = {"y": torch.cat([y, torch.zeros(2, 2, 3).double()], 1), "t": lengths + 2}
    seen = torch.arange(5) < lengths[:, None]
    known = model.posterior(further | {"y_observed": seen[..., None].expand(2, 5, 3)})["z"]
    for row, n in enumerate(lengths.tolist()):
        last, spread = answer.mean[row, n - 1], answer.variance[row, n - 1]
        assert torch.allclose(known.mean[row, n : n + 2], torch.stack([0.9 * last, 0.81 * last]))
        one = 0.81 * spread + 0.25
        assert torch.allclose(known.variance[row, n : n + 2], torch.stack([one, 0.81 * one + 0.25]))
    filtered = model.posterior(batch | {"y_observed": (torch.arange(3) < 1)[None, :, None].expand(2, 3, 3)})["z"]
    assert torch.allclose(filtered.mean[:, 0], y[:, 0].sum(1) / (3 + 0.49))


BESIDE = """
lvspec: 1
name: beside
sizes: {K: 3}
params: {a: [K], m: [K]}
latent:
  u: Normal(0, 1)
  c: Categorical(logits=a * u)
  g: Normal(m[c], 0.5)
observed:
  x: Normal(g, 0.7)
  y: Poisson(exp(u))
guide:
  u: %s
"""


@pytest.mark.parametrize("guide", ["Normal(0.3 * x, 0.8)", "Delta(0.3 * x)"])
def test_mixtures_beside_draws_and_points_have_moments_and_draws(guide):
    """p(c | x) ∝ Σ_s p(u_s) p(y given u_s) / q(u_s) p(c given u_s) N(x; m_c, 0.74); given c, g is N(m_c + k (x - m_c), 0.25 (1 - k)), k = 0.25 / 0.74."""
    one = lvspec.compile_spec(BESIDE % guide)
    model, drawn, S = one.Model().double().requires_grad_(False), "Normal" in guide, 40
    x, y = np.array([0.4, -1.0]), np.array([1.0, 2.0])
    batch = {"x": torch.from_numpy(x), "y": torch.from_numpy(y)}
    torch.manual_seed(3)
    answer = model.posterior(batch, **({"samples": S} if drawn else {}))["g"]
    torch.manual_seed(3)
    u = model.log_weights(model.prepare(batch), S)[1]["u"].numpy() if drawn else 0.3 * x[None]
    a, m = model.a.detach().numpy(), model.m.detach().numpy()
    share = -0.5 * u**2 + y * u - np.exp(u) + (0.5 * ((u - 0.3 * x) / 0.8) ** 2 if drawn else 0.0)
    scores = u[..., None] * a
    share = share[..., None] + scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    share = np.exp(share - (x[:, None] - m) ** 2 / (2 * 0.74)).sum(0)
    share /= share.sum(-1, keepdims=True)
    k = 0.25 / 0.74
    means = m + k * (x[:, None] - m)
    mean = (share * means).sum(-1)
    variance = (share * (means**2 + 0.25 * (1 - k))).sum(-1) - mean**2
    assert answer.mean.numpy() == pytest.approx(mean, abs=1e-9)
    assert answer.variance.numpy() == pytest.approx(variance, abs=1e-9)
    z = answer.sample(4000).numpy()
    assert z.mean(0) == pytest.approx(mean, abs=6 * math.sqrt(variance.max() / 4000))


@pytest.mark.parametrize("family", ["g: Normal(m[c], 0.5)", "g: Gamma(exp(m[c]), 2)"])
def test_verify_compares_mixtures_beside_draws(family):
    text = (BESIDE % "Normal(0.3, 0.8)").replace("g: Normal(m[c], 0.5)", family)
    one = lvspec.compile_spec(text.replace("Normal(g, 0.7)", "Poisson(g)") if "Gamma" in family else text)
    subject = Subject.of(one.plan, one.Model, 0)
    drawn = drawn_integral_check(subject, one.plan.integrations[0], 2000, 1)
    checks = [*summed_checks(subject, ImportanceDraws.of(subject, 0)), *drawn]
    assert all(c.passed and c.figure is not None for c in checks), checks
    assert {"mean of g", "spread of g", "z of the moments of posterior draws of g"} <= {c.name for c in checks}


def test_lengths_of_0_and_1():
    model = lvspec.compile_spec(HEAD + MODELS["level and slope"]).Model().double()
    y = torch.randn(3, 4, dtype=torch.float64)
    found = model.log_prob({"y": y, "t": torch.tensor([0, 1, 4])})
    alone = model.log_prob({"y": y[1:2, :1], "t": torch.tensor([1])})
    assert float(found[0].detach()) == 0.0 and torch.allclose(found[1], alone[0])
    spread = torch.tensor(10.0).double()
    assert float(alone.detach()) == pytest.approx(float(torch.distributions.Normal(1, spread.sqrt()).log_prob(y[1, 0])))
    assert float(model.log_prob({"y": y[:1, :0], "t": torch.tensor([0])}).detach()) == 0.0
    assert model.posterior({"y": y[:1, :0], "t": torch.tensor([0])})["slope"].mean.shape == (1, 0)


CROSSED = """lvspec: 1
name: crossed
sizes: {I: 2, J: 3}
plates: {i: I, j: J}
latent:
  WRITTEN: Normal(0, 1)VECTOR
  b[j]: Normal(0, 2)
observed:
  y[i, j]: Normal(a[i] + b[j], 0.5)
"""


def test_effects_that_cross_are_integrated_where_one_of_them_is_a_vector():
    """y = a[i] + b[j] + e: cov(y[i, j], y[k, l]) = [i = k] + 4 [j = l] + [both] / 4."""
    on_plates = plan_spec(CROSSED.replace("WRITTEN", "a[i]").replace("VECTOR", ""))
    assert "as a vector, `a: Normal(...)[I]`" in dict(on_plates.latent("a").declined)["joint_gaussian"]
    one = lvspec.compile_spec(CROSSED.replace("WRITTEN", "a").replace("VECTOR", "[I]"))
    assert one.plan.objective == "log_marginal"
    i, j = np.eye(2), np.eye(3)
    covariance = np.kron(i, np.ones((3, 3))) + 4 * np.kron(np.ones((2, 2)), j) + 0.25 * np.eye(6)
    y = torch.randn(4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.distributions.MultivariateNormal(torch.zeros(6).double(), torch.from_numpy(covariance))
    found = one.Model().double().log_prob({"y": y}).detach()
    torch.testing.assert_close(found, expected.log_prob(y.reshape(4, 6)))
    report = verify(one.spec, one.plan, one.Model, draws=0)
    assert report.passed, render(report)
