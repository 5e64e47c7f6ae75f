"""Terms averaged under the model's own distribution: latents of which nothing observed depends have q = p."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.verify.checks.compare import verify
from lvspec.verify.checks.gradients import GRADIENT
from tests.emit.guide.test_estimators import exact_error, subject_of

HEAD = """
lvspec: 1
name: own
sizes: {D: 2, K: 3, M: 2, V: 4}
"""
SITES = """
plates: {m: M}
given:
  x: real[D]
  gold[m]: category(K)
networks:
  score: Linear(D, M*K)
latent:
  y[m]: Categorical(logits=reshape(score(x), M, K)[m])
objective:
  reward: prod(equal(y[m], gold[m]) over m)
"""
RAGGED = """
plates: {t: sequence}
given:
  x[t]: token(V)
  gold[t]: category(K)
params:
  start: [K]
  links: [K, K]
networks:
  words: Embedding(V, K)
"""
F1 = "(1 + 2 * sum(equal(y[t], 0) * equal(gold[t], 0) over t)) / (1 + sum(equal(y[t], 0) + equal(gold[t], 0) over t))"
CHAIN = """
latent:
  y[0]: Categorical(logits=start + words(x[0]))
  y[t]: Categorical(logits=links[y[t-1]] + words(x[t]))
"""
WHOLE = """
latent:
  y over t: LinearChain(unary=words(x[t]), pairwise=links)
"""
BEFORE = """
given:
  x: real[D]
  gold: category(M)
params:
  table: [K, M]
networks:
  score: Linear(D, K)
latent:
  c: Categorical(logits=score(x))
  y: Categorical(logits=table[c])
infer:
  c: {strategy}
objective:
  reward: 2 * equal(y, gold)
"""
MODELS = {
    "sites that a product joins": (SITES, {"y": "enumeration"}),
    "drawn sites": (SITES + "infer:\n  y: reinforce(samples=2)\n", {"y": "reinforce"}),
    "a chain, drawn": (RAGGED + CHAIN + f"infer:\n  samples: 2\nobjective:\n  reward: {F1}\n", {"y": "reinforce"}),
    "a labelling, site by site": (
        RAGGED + WHOLE + "objective:\n  reward[t]: equal(y[t], gold[t])\n",
        {"y": "marginals"},
    ),
    "a labelling, drawn": (RAGGED + WHOLE + f"infer:\n  samples: 2\nobjective:\n  reward: {F1}\n", {"y": "reinforce"}),
    "before a summed one": (
        BEFORE.replace("{strategy}", "reinforce(samples=2)"),
        {"c": "reinforce", "y": "enumeration"},
    ),
    "a subset of sites": (SITES + "infer:\n  y: subset(samples=4)\n", {"y": "subset"}),
    "a subset of a chain's": (
        RAGGED + CHAIN + f"infer:\n  y: subset(samples=3, sharpness=0.5)\nobjective:\n  reward: {F1}\n",
        {"y": "subset"},
    ),
    "a subset of labellings": (RAGGED + WHOLE + f"infer:\n  y: subset\nobjective:\n  reward: {F1}\n", {"y": "subset"}),
    "a set": (BEFORE.replace("{strategy}", "without_replacement(samples=2)"), {"c": "without_replacement"}),
}


def compiled(name: str):
    return compile_spec(HEAD + MODELS[name][0])


@pytest.mark.parametrize("name", MODELS)
def test_the_average_is_under_the_model_and_as_cheap_as_can_be(name):
    c = compiled(name)
    for latent, strategy in MODELS[name][1].items():
        plan = c.plan.latent(latent)
        assert (plan.strategy, plan.guide) == (strategy, "own")
    assert not [w for w in c.spec.warnings if w.code == "unused-latent"]


@pytest.mark.parametrize("name", MODELS)
def test_values_and_gradients_are_those_of_brute_force(name):
    c = compiled(name)
    report = verify(c.spec, c.plan, c.Model, seed=3, draws=0)
    assert report.passed, report.failures


def test_the_expectation_of_all_right_is_the_probability_of_gold():
    """E_p [Π_m 1(y_m = gold_m)] = p(gold), which the module knows as the log-probability of given values."""
    subject = subject_of(HEAD + SITES)
    found = subject.objective()
    truth = subject.model.log_prob({**subject.batch, "y": subject.batch["gold"]})
    assert torch.allclose(found.objective, truth.exp(), rtol=1e-12)
    assert torch.equal(found.elbo, torch.zeros_like(found.elbo))


def test_without_what_the_draws_are_worth_the_gradient_is_another_one():
    text = HEAD + MODELS["drawn sites"][0]
    assert exact_error(subject_of(text)) < GRADIENT
    dropped = subject_of(text, lambda source: source.replace("objective + (score - score.detach())", "objective"))
    assert exact_error(dropped) > 1e-3


def test_a_subset_weighs_each_value_once():
    from lvspec.runtime import subset_shares

    z = torch.tensor([[[1, 0]], [[1, 0]], [[0, 0]], [[1, 1]]])
    log_q = torch.tensor([0.2, 0.2, 0.3, 0.1]).log()[:, None].requires_grad_()
    share = subset_shares(log_q, z)
    assert torch.allclose(share[:, 0], torch.tensor([0.2, 0.0, 0.3, 0.1]) / 0.6)
    assert torch.allclose(subset_shares(log_q, z, 2.0)[:, 0], torch.tensor([0.04, 0.0, 0.09, 0.01]) / 0.14)
    share[0].sum().backward()
    assert torch.allclose(log_q.grad[:, 0], torch.tensor([2 / 9, 0.0, -1 / 6, -1 / 18]))


def test_a_subset_is_biased_and_says_so():
    c = compile_spec(HEAD + MODELS["a subset of sites"][0])
    assert c.plan.biased and c.plan.latent("y").why.startswith("biased")
    ahead = HEAD + MODELS["before a summed one"][0].replace("reinforce(samples=2)", "subset")
    assert compile_spec(ahead).plan.latent("c").strategy == "subset"
