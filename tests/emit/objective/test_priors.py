"""Priors of parameters: log p(w), once a data set, in the loss of every objective."""

import re

import pytest
import torch
from torch import distributions as D

from lvspec.driver import compile_spec
from lvspec.load import load_module
from lvspec.verify.checks.chance import z_check
from lvspec.verify.checks.compare import verify
from lvspec.verify.checks.gradients import scored
from tests.emit.guide.test_estimators import exact_error, subject_of

HEAD = """
lvspec: 1
name: tables
sizes: {V: 4, K: 2, D: 2}
plates: {t: sequence}
params:
  start: {shape: [K], prior: "Dirichlet(1.5)"}
  transition: {shape: [K, K], prior: "Dirichlet(2)"}
  emission: {shape: [K, V], prior: "Normal(0.5, 2)"}
  b: {shape: [D], prior: "Beta(2, 3)"}
  r: {shape: [], prior: "StudentT(3, scale=2)"}
  unused: [K]
"""
CHAIN = """
latent:
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=transition[z[t-1]])
observed:
  x[t]: Categorical(logits=emission[z[t]])
  y: Bernoulli(logits=b)
  w: Normal(r, 1)
"""
CODE = """
networks:
  encoder: Linear(V, 2*D)
  decoder: Linear(D, V)
latent:
  c: Categorical(logits=start)
  z: Normal(b, 1)
observed:
  x[t]: Categorical(logits=decoder(z) + emission[c] + transition[c, 0] + r)
guide:
  c: Categorical(logits=start)
  z: Normal(loc, softplus(scale)) where loc, scale = split(encoder(mean(onehot(x))))
"""
POINT = CODE.partition("guide:")[0] + "guide:\n  z: Delta(r * b)\n"
CHAINS = """
lvspec: 1
name: chains
sizes: {L: 2, K: 2, D: 2}
plates: {t: sequence, l: L}
params:
  start: [L, K]
  transition: {shape: [L, K, K], prior: "Dirichlet(2)"}
  mean: {shape: [L, K, D], prior: "Laplace(0, scale=3)"}
latent:
  z[0, l]: Categorical(logits=start[l])
  z[t, l]: Categorical(logits=transition[l, z[t-1, l]])
observed:
  x[t]: Normal(sum(mean[l, z[t, l]] over l), 1)
infer: {z: structured_mean_field}
"""
TOPICS = """
lvspec: 1
name: topics
sizes: {K: 2, V: 3}
plates: {t: bag, k: K}
params:
  mixing: {shape: [K], prior: "Normal(0, 1)"}
  breadth: {shape: [V], prior: "Normal(1, 2)"}
latent:
  global topics[k]: Dirichlet(softplus(breadth))
  theta: Dirichlet(softplus(mixing))
  z[t]: Categorical(probs=theta)
observed:
  x[t]: Categorical(probs=topics[z[t]])
infer: {theta: "mean_field(steps=2000, tolerance=1e-12)"}
"""
SPECS = {
    "summed": HEAD + CHAIN,
    "terms": HEAD + CHAIN + "objective:\n  extra: 0.3 * r\n",
    "elbo": HEAD + CODE,
    "weighted": HEAD + CODE + "train: {kl_weight: 0.5}\n",
    "scored": HEAD + CODE + "infer: {c: reinforce, samples: 2}\n",
    "iwae": HEAD + CODE + "infer: {c: reinforce, bound: iwae(samples=2)}\n",
    "renyi": HEAD
    + CODE.replace("  c: Categorical(logits=start)\n  z: Normal(l", "  z: Normal(l")
    + 'infer: {bound: "renyi(samples=2, alpha=0.5)"}\n',
    "point": HEAD + POINT,
    "chains": CHAINS,
    "mean field": TOPICS,
}


@pytest.mark.parametrize("name", SPECS)
def test_losses_have_an_examples_part(name):
    compiled = compile_spec(SPECS[name])
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=4, draws=0)
    assert report.passed, report


@pytest.mark.parametrize("name", ["scored", "iwae"])
def test_mean_gradient_of_many_draws(name):
    subject = subject_of(SPECS[name])
    check = z_check(subject, scored(subject), 0, 50_000, seed=1)
    assert check.passed and check.figure is not None, check


@pytest.mark.parametrize("name", SPECS)
def test_a_loss_without_its_prior_disagrees(name):
    def without(source):
        found, n = re.subn(r" - self\.log_prior\(\) / self\.dataset_size", "", source)
        assert n == 1, source
        return found

    if name == "scored":
        assert exact_error(subject_of(SPECS[name], without)) > 1e-4
        return
    compiled = compile_spec(SPECS[name])
    wrong = load_module(without(compiled.source), compiled.spec, ()).Model
    report = verify(compiled.spec, compiled.plan, wrong, seed=4, draws=0)
    assert not report.passed


def test_log_prior_is_that_of_the_libraries_distributions():
    model = compile_spec(SPECS["summed"]).Model(dataset_size=5).double()
    one, two, three = torch.tensor([1.5, 2.0, 3.0]).double()
    expected = D.Normal(one / 3, two).log_prob(model.emission).sum()
    expected += D.Dirichlet(one.repeat(2)).log_prob(model.start.softmax(-1))
    expected += D.Dirichlet(two.repeat(2)).log_prob(model.transition.softmax(-1)).sum()
    expected += D.Beta(two, three).log_prob(model.b.sigmoid()).sum() + D.StudentT(three, 0 * one, two).log_prob(model.r)
    torch.testing.assert_close(model.log_prior(), expected, rtol=1e-9, atol=1e-9)


def test_losses_of_batches_add_up_to_that_of_the_data_set():
    model = compile_spec(SPECS["summed"]).Model(dataset_size=5).double()
    batch = {
        "x": torch.randint(4, (5, 3)),
        "t": torch.tensor([3, 2, 1, 0, 3]),
        "y": torch.ones(5, 2),
        "w": torch.randn(5).double(),
    }
    parts = [{k: v[rows] for k, v in batch.items()} for rows in (slice(0, 2), slice(2, 5))]
    whole = sum(len(p["w"]) * model(p).loss for p in parts)
    torch.testing.assert_close(whole, -(model.log_prob(batch).sum() + model.log_prior()))


def test_far_logits_have_a_density_and_a_gradient():
    model = compile_spec(SPECS["summed"]).Model(dataset_size=5)
    with torch.no_grad():
        model.transition.copy_(torch.tensor([[1e4, -1e4], [0.0, 300.0]]))
        model.b.copy_(torch.tensor([1e4, -300.0]))
    value = model.log_prior()
    value.backward()
    assert value.isfinite() and model.transition.grad.isfinite().all() and model.b.grad.isfinite().all()
