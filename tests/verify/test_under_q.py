"""What is asked of a latent that is summed under its own q while others are drawn: the answers are q's, of real sites and whole labellings."""

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
def test_the_answers_are_those_of_q(name):
    compiled = compile_spec(SPECS[name])
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0, few=1)
    assert report.passed, render(report)
    assert "entropy of z under q" in report.covered


def test_of_a_labelling_by_hand():
    """q(z) ∝ exp(Σ unary[z_t] + Σ pairwise[z_{t-1}, z_t]) over the two sites of the second example, the third one is padding."""
    torch.manual_seed(0)
    model = compile_spec(SPEC).Model().to(torch.float64)
    x, lengths = torch.tensor([[0, 1, 2], [2, 1, 0]]), torch.tensor([3, 2])
    answer = model.posterior({"x": x, "y": torch.zeros(2, 2, dtype=torch.float64), "t": lengths})["z"]
    unary = model.read(x[1])
    every = list(product(range(2), repeat=2))
    q = torch.stack([unary[0, i] + unary[1, j] + model.b[i, j] for i, j in every]).softmax(0)
    assert torch.allclose(answer.entropy[1], -(q * q.log()).sum())
    assert torch.allclose(answer.marginals[1, 0, 0], q[0] + q[1]) and not answer.marginals[1, 2].any()
    assert tuple(answer.mode[1, :2].tolist()) == every[int(q.argmax())]
    torch.manual_seed(1)
    drawn = answer.sample(4000)[:, 1]
    assert not drawn[:, 2].any()
    found = torch.stack([(drawn[:, :2] == torch.tensor(z)).all(-1).double().mean() for z in every])
    assert ((found - q).abs() < 5 * (q * (1 - q) / 4000).sqrt()).all()  # five standard errors


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
