"""Latents that are integrated out in closed form: every spelling against the oracle's dense Gaussian."""

import pytest
import torch

from lvspec.driver import plan_spec, recompile
from lvspec.load import load_module
from lvspec.verify import pins, render, shrink, verify

HEAD = """lvspec: 1
name: model
sizes:
  D: 3
  N: 2
  U: 2
  K: 4
plates:
  t: sequence
"""
WALK = "latent:\n  z[0]: Normal(0, 1)[D]\n  z[t]: Normal(matmul(A, z[t-1]), 1)\n"

CHAINS = {
    "a number": """params:
  rho: []
  q: []
  r: []
latent:
  z[0]: Normal(0, 1)
  z[t]: Normal(rho * z[t-1], softplus(q))
observed:
  x[t]: Normal(z[t], softplus(r))
""",
    "a number, and numbers": """latent:
  z[0]: Normal(1, 2)
  z[t]: Normal(0.5 * z[t-1] - 1, 0.3)
observed:
  x[t]: Normal(3 - z[t] / 2, 0.5)
""",
    "a number seen by a vector": """params:
  c: [N]
  s: [N]
latent:
  z[0]: Normal(0, 1)
  z[t]: Normal(z[t-1], 0.1)
observed:
  x[t]: Normal(c * z[t] + s, 1)
  y[t]: Normal(z[t], softplus(s))
""",
    "copies": """latent:
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(0.9 * z[t-1], 0.2)
observed:
  x[t]: Normal(z[t], 1)
""",
    "linear networks, lets and where": """params:
  q: [D]
  A: [D, D]
networks:
  move: Linear(D, D)
  read: Linear(D, N)
  more: Linear(N, N, bias=false)
latent:
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(z[t-1] + move(matmul(A, z[t-1])), softplus(q))
let:
  h[t]: read(z[t])
observed:
  x[t]: Normal(m, 1) where m = more(h[t]) - h[t]
""",
    "entries, sums, and vectors joined": """params:
  A: [D, D]
  E: [N, D + U]
  w: [D]
given:
  u[t]: real[U]
latent:
  z[0]: Normal(0, 1)[D]
  z[t]: Normal(matmul(A, z[t-1]), 1)
observed:
  x[t]: Normal(z[t, 1], 1)
  y[t]: Normal(sum(w * z[t] + 1) - mean(2 - z[t]), 1)
  v[t]: Normal(matmul(E, concat(3 * z[t], u[t])), 1)
  s[t]: Normal(sum(concat(z[t] - 1, z[t] * u[t, 0])), 1)
""",
    "a number beside a vector": """params:
  C: [N, D]
  b: [D]
latent:
  z[0]: Normal(0, 1)
  z[t]: Normal(0.9 * z[t-1], 0.2)
observed:
  x[t]: Normal(matmul(C, b + z[t]), 1)
""",
    "full covariances": """params:
  m: [D]
  A: [D, D]
  S: [D, D]
  Q: [D, D]
  C: [N, D]
  R: [N, N]
latent:
  z[0]: MultivariateNormal(m, scale_tril=S)
  z[t]: MultivariateNormal(matmul(A, z[t-1]), scale_tril=Q)
observed:
  x[t]: MultivariateNormal(matmul(C, z[t]), scale_tril=R)
""",
    "inputs at every site": """params:
  A: [D, D]
  G: [D, U]
  C: [N, D]
  w: [U]
  s: [N]
networks:
  noise: MLP(U, 4, D)
given:
  u[t]: real[U]
  g: positive[D]
latent:
  z[0]: Normal(matmul(G, u[0]), g)
  z[t]: Normal(matmul(A, z[t-1]) + matmul(G, u[t]), softplus(noise(u[t])))
observed:
  x[t]: Normal(dot(w, u[t]) * matmul(C, z[t]), softplus(s) * g[0])
""",
    "earlier observations": f"""params:
  A: [D, D]
  C: [N, D]
  E: [N, N]
  b: [N]
{WALK}observed:
  x[0]: Normal(matmul(C, z[0]), 2)
  x[t]: Normal(matmul(C, z[t]) + matmul(E, x[t-1]) + b, 1)
""",
    "two observations": f"""params:
  A: [D, D]
  C: [N, D]
{WALK}observed:
  x[t]: Normal(dot(C[0], z[t]), 1)
  y[t]: Normal(-matmul(C, z[t]), 1)
""",
    "beside a summed latent": f"""params:
  A: [D, D]
  a: [K]
  e: [K, N]
{WALK}  c: Categorical(logits=a)
observed:
  x[t]: Normal(z[t], 1)
  y: Normal(e[c], 1)
""",
    "beside a drawn latent": f"""params:
  A: [D, D]
networks:
  net: MLP(D, 4, N)
{WALK}  w: Normal(0, 1)[D]
observed:
  x[t]: Normal(z[t], 1)
  y: Normal(net(w), 1)
""",
}


def compiled(body):
    plan = plan_spec(HEAD + body)
    return recompile(plan.spec, shrink(plan.spec), pins(plan))


@pytest.mark.parametrize("name", CHAINS)
def test_linear_gaussian_chain_equals_the_dense_gaussian(name):
    c = compiled(CHAINS[name])
    assert c.plan.latent("z").strategy == "linear_gaussian" and c.plan.latent("z").treatment == "integrated"
    report = verify(c.spec, c.plan, c.Model, seed=1, draws=4_000)
    assert report.passed, render(report)
    judged = {check.name for check in report.checks if check.figure is not None}
    if not c.plan.sampled:
        assert {"mean of z", "spread of z", "entropy of z", "z of the moments of posterior draws of z"} <= judged


PLANTED = {
    "the transition transposed": ("self.A, self.zero", "self.A.mT, self.zero"),
    "a sign": ("-self.C", "self.C"),
    "another variance": (
        "covariance_z = diagonal_covariance(torch.full_like(self.zero, 1)",
        "covariance_z = diagonal_covariance(torch.full_like(self.zero, 2)",
    ),
    "what is missing, read": ('batch["y.mask"]', 'batch["t.mask"]'),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_error_in_a_chain_is_caught(name):
    c = compiled(CHAINS["two observations"])
    right, wrong = PLANTED[name]
    assert right in c.source
    broken = load_module(c.source.replace(right, wrong), c.spec).Model
    assert not verify(c.spec, c.plan, broken, seed=1, draws=0).passed


def test_samples_of_another_scale_are_caught():
    c = compiled(CHAINS["copies"])
    right = "Normal(0.9 * z_sites[-1], 0.2)"
    assert right in c.source, c.source
    broken = load_module(c.source.replace(right, right.replace("0.2", "0.25")), c.spec).Model
    report = verify(c.spec, c.plan, broken, seed=1, draws=4_000, thorough=False)
    assert [check.name for check in report.failures] == ["z of the moments of samples of z"]


def test_a_chain_that_is_not_linear_is_noticed_by_the_oracle(monkeypatch):
    """Were the planner to claim tanh as affine, the oracle would say so."""
    from lvspec.ir import affine

    monkeypatch.setitem(affine._RULES, "tanh", lambda self, expr: self.of(expr.args[0]))
    body = CHAINS["copies"].replace("0.9 * z[t-1]", "tanh(z[t-1])")
    c = compiled(body)
    assert c.plan.latent("z").strategy == "linear_gaussian"
    report = verify(c.spec, c.plan, c.Model, seed=1, draws=0)
    assert any("not linear-Gaussian" in check.note for check in report.failures)


def test_answers_are_shaped_as_the_latent_is():
    c = compiled(CHAINS["a number"])
    model = c.Model()
    answer = model.posterior({"x": torch.zeros(2, 5), "t": torch.tensor([5, 3])})["z"]
    assert answer.mean.shape == answer.variance.shape == answer.mode.shape == (2, 5)
    assert answer.covariance.shape == (2, 5, 1, 1) and answer.sample(3).shape == (3, 2, 5)
    assert answer.entropy.shape == (2,) and answer.forecast(4)[0].shape == (2, 4)
