"""RELAX in emitted modules: the mean of many draws is the exact gradient, and a dropped term is noticed."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.verify.checks.chance import z_check
from lvspec.verify.checks.compare import averages, verify
from lvspec.verify.checks.gradients import scored
from tests import SPECS
from tests.emit.guide.test_drawn_together import BIT_CHAIN
from tests.emit.guide.test_estimators import (
    CHAIN,
    FEWER,
    HIERARCHY,
    PLATED,
    ROWS,
    subject_of,
    without_last_cost,
    without_score,
)
from tests.emit.guide.test_relaxed import BITS, COLLAPSED_PARENT

# the network sees all sites of z at once, each of which has costs of its own
SITES_WITH_COSTS = """
lvspec: 1
name: sites_with_costs
sizes: {P: 2}
plates: {t: sequence, m: 2}
params: {w: [2, P], c: []}
networks: {r: "Linear(P, 1)"}
latent:
  z[m]: Bernoulli(logits=sum(w[m]))
  g[m, t]: Normal(c * z[m], 1)
observed:
  x[t]: Normal(sum(g[m, t] over m), 1)[P]
guide:
  z[m]: Bernoulli(logits=sum(w[m]))
  g[m, t]: Normal(r(x[t])[0], 1)
infer:
  z: reinforce
  samples: 2
"""
MODELS = {"plated": PLATED, "bits": BITS, "chain": CHAIN, "bit_chain": BIT_CHAIN, "below": COLLAPSED_PARENT}
MODELS |= {"sites_with_costs": SITES_WITH_COSTS}


def relaxing(text, strategy="relax"):
    return text.replace("  samples: 2\n", "").replace(": reinforce", f": {strategy}")


@pytest.mark.parametrize("name", MODELS)
def test_mean_gradient_of_many_draws_is_the_exact_gradient(name):
    subject = subject_of(relaxing(MODELS[name]))
    assert subject.plan.samples == 1 and not subject.plan.biased
    check = z_check(subject, scored(subject), 0, ROWS // 5, seed=1)
    assert check.passed and check.figure is not None, check
    assert all(c.figure is None for c in averages(subject))


@pytest.mark.parametrize("name", MODELS)
def test_values_and_weights_are_the_oracles(name):
    compiled = compile_spec(relaxing(MODELS[name], "relax(samples=2)"))
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=3, draws=0)
    assert report.passed and "log importance weights" in {c.name for c in report.checks}, report


@pytest.mark.parametrize(("name", "mend"), [("below", without_score), ("chain", without_last_cost)])
def test_a_dropped_term_fails(name, mend):
    """Many draws: without its training the control variate adds noise."""
    subject = subject_of(relaxing(MODELS[name], "relax(samples=8)"), mend)
    assert not z_check(subject, scored(subject), 0, FEWER, seed=1).passed


def test_the_network_learns_in_training_and_the_model_does_not_read_it():
    subject = subject_of(relaxing(PLATED))
    own = {n: w for n, w in subject.model.named_parameters() if n.startswith("control_z_")}
    assert own and not set(own) & set(subject.weights)
    loss = subject.model.train()(dict(subject.batch)).loss
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(loss, [w for n, w in own.items() if "bias" not in n]))


def test_what_is_given_moves_nothing():
    subject = subject_of(relaxing(BITS))
    batch = {**subject.batch, "z": subject.draws["z"][0]}
    grads = torch.autograd.grad(subject.model(batch).loss, list(subject.model.encoder.parameters()), allow_unused=True)
    assert all(g is None or not g.any() for g in grads)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (relaxing(HIERARCHY), "q(z) reads c"),
        (relaxing(PLATED).replace("infer:\n", "infer:\n  bound: iwae\n"), "the bound is iwae"),
        ((SPECS / "latent_attention_elbo.yaml").read_text() + "infer:\n  a: relax\n", "no network is as wide"),
    ],
)
def test_declined_with_the_reason(text, message):
    with pytest.raises(SpecError) as caught:
        compile_spec(text)
    assert message in str(caught.value.diagnostics)
