"""What is asked of a latent that is summed under its own q while others are drawn: the answers are the posterior's, and those of q
are what `encode` says."""

from itertools import product

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.runtime.model import encoded
from lvspec.verify import render, verify

SPEC = """
lvspec: 1
sizes: {K: 2, V: 3, D: 2}
plates: {t: sequence, j: copy(t)}
params: {b: [K, K], a: [K], e: [V]}
networks:
  read: Embedding(V, K)
  head: Linear(K, 2*D)
  write: Linear(D, D)
latent:
  z[0]: Categorical(logits=a)
  z[t]: Categorical(logits=b[z[t-1]])
  g: Normal(0, 1)[D]
observed:
  x[t]: Categorical(logits=e * equal(z[t], 1))
  y: Normal(tanh(write(g)), 1)
guide:
  z over t: LinearChain(unary=read(x[t]), pairwise=b)
  g: Normal(loc, softplus(scale)) where loc, scale = split(head(mean(read(x))))
"""
CHAIN, TREE = (
    "z over t: LinearChain(unary=read(x[t]), pairwise=b)",
    "z over t: NonProjectiveCRF(arcs=dot(read(x[t]), read(x[j])) over j)",
)
FIRST = "  z[0]: Categorical(logits=a)\n"
LATER = "z[t]: Categorical(logits=b[z[t-1]])"
SPECS = {
    "a labelling": SPEC,
    "sites": SPEC.replace(CHAIN, "z[t]: Categorical(logits=read(x[t]))"),
    "the same at all sites": SPEC.replace(CHAIN, "z[t]: Categorical(logits=a)"),
    "trees": SPEC.replace(FIRST, "")
    .replace(LATER, "z over t: NonProjectiveCRF(arcs=e[0] * equal(t, j) over j)")
    .replace(CHAIN, TREE),
}


@pytest.mark.parametrize("name", SPECS)
def test_the_answers_are_those_of_the_posterior(name):
    compiled = compile_spec(SPECS[name])
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0, few=1)
    assert report.passed, render(report)
    assert "marginals of z" in report.covered


def test_of_a_labelling_by_hand():
    """p(z | x) ∝ p(z_0) p(z_1 | z_0) p(x | z) over the two sites of the second example, the third one is padding; q is another one."""
    torch.manual_seed(0)
    model = compile_spec(SPEC).Model().to(torch.float64)
    x, lengths = torch.tensor([[0, 1, 2], [2, 1, 0]]), torch.tensor([3, 2])
    answer = model.posterior({"x": x, "y": torch.zeros(2, 2, dtype=torch.float64), "t": lengths}, samples=3)["z"]
    first, later = model.a.log_softmax(-1), model.b.log_softmax(-1)
    words = (model.e * torch.eye(2, dtype=torch.float64)[1][:, None]).log_softmax(-1)  # (K, V)
    every = list(product(range(2), repeat=2))
    p = torch.stack([first[i] + later[i, j] + words[i, x[1, 0]] + words[j, x[1, 1]] for i, j in every]).softmax(0)
    expected = torch.stack([p[0] + p[1], p[2] + p[3]])
    assert torch.allclose(answer.marginals[1, 0], expected) and answer.mode[1, 0] == expected.argmax()
    assert torch.allclose(answer.marginals[1, 1], torch.stack([p[0] + p[2], p[1] + p[3]]))
    assert not answer.marginals[1, 2].any()


BESIDE_A_DRAW = """
lvspec: 1
sizes: {K: 3}
params: {w: [K], mu: [K], r: [K], v: []}
latent:
  c: Categorical(logits=w)
  z: Normal(mu[c], 1)
observed:
  x: Normal(z, 0.5)
guide:
  c: Categorical(logits=r * x)
  z: Normal(v * x, 1)
"""


def test_a_cluster_beside_a_drawn_vector_is_answered_by_the_posterior():
    """p(c | x) ∝ p(c) Normal(x; mu_c, 1 + 1/4), with z integrated out; q(c | x) is far from it."""
    torch.manual_seed(0)
    model = compile_spec(BESIDE_A_DRAW).Model().double()
    x = torch.tensor([0.4, -1.0], dtype=torch.float64)
    torch.manual_seed(1)
    found = model.posterior({"x": x}, samples=100_000)["c"].marginals
    prior, there = model.w.log_softmax(-1), torch.distributions.Normal(model.mu, 1.25**0.5)
    expected = (prior + there.log_prob(x[:, None])).softmax(-1)
    assert (found - expected).abs().max() < 0.01
    q = model.encode({"x": x})["c"].arguments["logits"].softmax(-1)
    assert torch.allclose(q, (model.r * x[:, None]).softmax(-1)) and (q - expected).abs().max() > 0.1


ENCODED = """
lvspec: 1
name: encoded
plates: {k: 2}
latent:
  z[k]: Gamma(2, 1)
observed:
  x[k]: Normal(z[k], 1)
guide:
  z[k]: LogNormal(x[k], 0.5)
"""


@pytest.mark.parametrize(
    ("function", "wrong", "check"),
    [
        (None, None, None),
        ("mean", property(lambda self: self.arguments["loc"]), "mean of q of z"),
        ("log_prob_of_each", lambda self, value: torch.zeros(len(value), 3), "log q of z at values"),
        ("sample", lambda self, n: self.arguments["loc"], "draws of q of z of another shape"),
    ],
)
def test_verify_compares_what_encode_says(monkeypatch, function, wrong, check):
    one = compile_spec(ENCODED)
    if function:
        monkeypatch.setattr(encoded.Encoded, function, wrong)
    report = verify(one.spec, one.plan, one.Model, draws=0, few=1)
    failed = {c.name for c in report.checks if not c.passed and c.figure is not None}
    assert failed >= {check} if check else report.passed, render(report)
    assert all(" q of z" in name or "encode" in name for name in failed), render(report)
