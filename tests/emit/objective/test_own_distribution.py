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


RISK = """lvspec: 1
name: risk
sizes: {K: 2, C: 2, D: 2}
given: {w: "real[D]"}
params: {classes: [C], shift: [C, K]}
networks: {score: "Linear(D, K)"}
latent:
  c: Categorical(logits=classes)
  y: Categorical(logits=score(w) + shift[c])
objective:
  reward: 1.5 * equal(c, 0) + equal(y, 1)
"""


def test_what_is_given_below_leaves_q_as_it_is_and_the_elbo_a_bound():
    """c → y, y given: E_p(c) log p(y | c), and a reward under p(c); log p and the posterior are those given y. With c given it is log p."""
    one = compile_spec(RISK)
    assert one.plan.formula == "E_p(c, y | w)[what `objective:` adds]"
    model, w = one.Model().double(), torch.randn(1, 2).double()
    p_c, p_y = model.classes.softmax(0), (model.score(w) + model.shift).softmax(-1)[:, 1]
    batch = {"w": w, "y": torch.tensor([1])}
    step, known = model(batch), model({**batch, "c": torch.tensor([1])})
    torch.testing.assert_close(step.elbo, (p_c @ p_y.log())[None])
    torch.testing.assert_close(step.extras["reward"], 1.5 * p_c[:1] + 1)
    torch.testing.assert_close(model.log_prob(batch), (p_c @ p_y).log()[None])
    torch.testing.assert_close(model.posterior(batch)["c"].marginals[0], p_c * p_y / (p_c @ p_y))
    assert step.elbo < model.log_prob(batch)
    torch.testing.assert_close(known.elbo, (p_c[1] * p_y[1]).log()[None])


def test_a_written_guide_of_what_nothing_observed_depends_on_has_a_formula():
    guide = "guide:\n  y: Categorical(logits=score(w))\n  c: Categorical(logits=matmul(shift, onehot(y)))\n"
    found = compile_spec(RISK + guide).plan.formula
    assert found.startswith("E_q(c, y | w)[what `objective:` adds] - ") and "p( " not in found
