"""Weighted divergences of latents whose parents are summed: KL is log q(z) - log p(z), p(z) summed over them."""

import pytest
import torch

from lvspec.driver import compile_spec, plan_spec
from lvspec.verify import render, verify

F = torch.float64
HEAD = """lvspec: 1
name: m
sizes: {K: 3, D: 2}
plates: {t: sequence, i: 3}
params: {w: [K], mu: [K], nu: [K], A: [K, K], C: [D]}
"""
MIXTURE = "latent:\n  c: Categorical(logits=w)\n  z: Normal(mu[c], 1)\nobserved:\n  x: Normal(z * C%s, 1)\nguide:\n  z: Normal(x[0], 0.7)\n"
WEIGHT = "train:\n  kl_weight: 0.3\n"


@pytest.mark.parametrize("read", ["", " + nu[c]"])
def test_weight_weighs_log_q_and_log_p_of_the_latent_alone(read):
    """loss = -mean(log p(x, z) - log p(z) - 0.3 (log q(z) - log p(z))) at one draw, p summed over c by hand."""
    torch.manual_seed(0)
    model = compile_spec(HEAD + MIXTURE % read + WEIGHT).Model().to(F)
    x, noise = torch.randn(4, 2, dtype=F), torch.randn(1, 4, dtype=F)
    step = model({"x": x}, draws={"z": noise})
    z = (x[:, 0] + 0.7 * noise[0])[:, None]
    p_c = model.w.log_softmax(-1)
    p_z = p_c + torch.distributions.Normal(model.mu, 1).log_prob(z)
    loc = z[..., None] * model.C + (model.nu[:, None] if read else 0)
    p_x = torch.distributions.Normal(loc, 1).log_prob(x[:, None]).sum(-1)
    log_q = torch.distributions.Normal(x[:, 0], 0.7).log_prob(z[:, 0])
    alone, joint = p_z.logsumexp(-1), (p_z + p_x).logsumexp(-1)
    torch.testing.assert_close(step.kl["z"], log_q - alone)
    torch.testing.assert_close(step.elbo, joint - log_q)
    torch.testing.assert_close(step.loss, -(joint - alone - 0.3 * (log_q - alone)).mean())


MODELS = {
    "mixture": MIXTURE % "" + WEIGHT,
    "emission reads it too": MIXTURE % " + nu[c]" + WEIGHT,
    "two latents of one parent": "latent:\n  c: Categorical(logits=w)\n  d: Categorical(logits=w)\n  z: Normal(mu[c], 1)\n  v: Normal(nu[c], 1)\nobserved:\n  x: Normal(z * C + nu[d] + v, 1)\nguide:\n  z: Normal(x[0], 0.7)\n  v: Normal(x[1], 1)\ntrain:\n  kl_weight: {z: 0.3, v: 2}\n",
    "chain": "latent:\n  c[0]: Categorical(logits=w)\n  c[t]: Categorical(logits=A[c[t-1]])\n  z[t]: Normal(mu[c[t]], 1)\nobserved:\n  x[t]: Normal(z[t] * C, 1)\nguide:\n  z[t]: Normal(x[t, 0], 0.7)\n" + WEIGHT,
    "plate": "latent:\n  c[i]: Categorical(logits=w)\n  z[i]: Normal(mu[c[i]], 1)\nobserved:\n  x[i]: Normal(z[i] * C + nu[c[i]], 1)\nguide:\n  z[i]: Normal(x[i, 0], 0.7)\n" + WEIGHT,
    "score function": "latent:\n  c: Categorical(logits=w)\n  z: Bernoulli(logits=mu[c])\nobserved:\n  x: Normal(z * C + nu[c], 1)\nguide:\n  z: Bernoulli(logits=x[0])\ninfer: {z: reinforce}\n" + WEIGHT,
    "averaged under q": "latent:\n  c: Categorical(logits=w)\n  z: Bernoulli(logits=mu[c])\nobserved:\n  x: Normal(z * C + nu[c], 1)\nguide:\n  z: Bernoulli(logits=x[0])\n" + WEIGHT,
    "sites averaged under q": "latent:\n  c[t]: Categorical(logits=w)\n  v[t]: Normal(nu[c[t]], 1)\n  z[t]: Bernoulli(logits=mu[c[t]] + v[t])\nobserved:\n  x[t]: Normal(z[t] * C + nu[c[t]], 1)\nguide:\n  z[t]: Bernoulli(probs=0.4)\n  v[t]: Normal(0, 1)\ntrain:\n  kl_weight: {z: 0.3, v: 2}\n",
    "no summed parent, given or not": "latent:\n  z: Bernoulli(logits=w[0])\nobserved:\n  x: Normal(z * C, 1)\nguide:\n  z: Bernoulli(logits=x[0])\n" + WEIGHT,
}  # fmt: skip


@pytest.mark.parametrize("body", MODELS.values(), ids=MODELS)
def test_weighted_divergences_agree_with_brute_force(body):
    compiled = compile_spec(HEAD + body)
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)


def test_formula_has_no_free_names():
    found = plan_spec(HEAD + MIXTURE % "").formula
    assert found == "E_q(z | x)[log Σ_{c} p(x, c | z)] - E_q(z | x)[log q(z | x) - log Σ_{c} p(z, c)]"
