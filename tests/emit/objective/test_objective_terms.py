"""Terms of `objective:` in the loss: values, gradients, and what score terms count of them."""

import re

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.load import load_module
from lvspec.train.scoring.score import parts
from lvspec.verify.checks.chance import z_check
from lvspec.verify.checks.compare import verify
from lvspec.verify.checks.gradients import GRADIENT, scored
from tests.emit.guide.test_estimators import exact_error, subject_of

LABELS = """
lvspec: 1
name: labels
sizes: {P: 3, D: 1, K: 3, H: 4}
plates: {k: K}
networks:
  judge: Linear(P, K)
  encoder: MLP(P + K, H, 2*D)
  decoder: MLP(D + K, H, P)
latent:
  y: Categorical(logits=0 over k)
  z: Normal(0, 1)[D]
observed:
  x: Bernoulli(logits=decoder(concat(z, onehot(y))))
guide:
  scores: judge(x)
  y: Categorical(logits=scores)
  z: Normal(loc, softplus(scale)) where loc, scale = split(encoder(concat(x, onehot(y))))
objective:
  label: 5 * known(y) * log_prob(y, Categorical(logits=scores))
  spread: 0.3 * (expected(square(sum(loc))) - square(expected(sum(loc)))) where loc = decoder(concat(z, onehot(y)))
  vectors: sum(square(expected(decoder(concat(z, onehot(y))))))
"""

SITES = """
lvspec: 1
name: sites
sizes: {V: 4, D: 1, H: 3, K: 2}
plates: {t: sequence}
params: {m: [K], emission: [K, V]}
networks:
  words: Embedding(V, H)
  head: Linear(H, 2*D)
  choose: Linear(H, K)
  writer: GRU(H + D, H)
  output: Linear(H, V)
  bag: Linear(D, V)
latent:
  c[t]: Categorical(logits=m)
  z: Normal(0, 1)[D]
let:
  h[t]: writer(concat(words(x[<t]), z))
observed:
  x[t]: Categorical(logits=output(h[t]) + emission[c[t]])
guide:
  c[t]: Categorical(logits=choose(words(x[t])))
  z: Normal(loc, softplus(scale)) where loc, scale = split(head(mean(words(x))))
infer:
  c: reinforce
  samples: 2
objective:
  bag[t]: 0.5 * log_prob(x[t], Categorical(logits=bag(z)))
  choice[t]: 3 * log_prob(c[t], Categorical(logits=detach(m)))
  small: -0.1 * sum(square(z))
""".replace("  bag: Linear(D, V)", "  bagger: Linear(D, V)").replace("logits=bag(z)", "logits=bagger(z)")

SUMMED = """
lvspec: 1
name: summed
sizes: {V: 4, K: 2, E: 2, G: 2}
plates: {t: sequence, m: 3}
given:
  u: real[G]
params: {start: [K], transition: [K, K], table: [K, E], r: []}
networks:
  output: Linear(E, V)
  reader: Linear(G, E)
latent:
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=transition[z[t-1]])
let:
  h: tanh(reader(u))
observed:
  x[t]: Categorical(logits=output(table[z[t]] + h))
  y[m]: Normal(r, 1)
objective:
  small: -0.01 * sum(square(table))
  bag[t]: 0.3 * log_prob(x[t], Categorical(logits=output(h)))
  drift[m]: 0.1 * y[m] * r
""".replace("sum(square(table))", "sum(square(flatten(table)))")

POINT = """
lvspec: 1
name: point
sizes: {D: 2, V: 3, K: 2}
plates: {t: sequence}
params: {w: [K, V]}
networks:
  output: Linear(D, V)
  encoder: Linear(V, D)
latent:
  z: Normal(0, 1)[D]
  c[t]: Bernoulli(probs=0.3)
observed:
  x[t]: Categorical(logits=output(z) + c[t] * w[0])
guide:
  z: Delta(encoder(mean(onehot(x))))
objective:
  sparse: -0.5 * sum(abs(z))
  again[t]: 0.2 * log_prob(x[t], Categorical(logits=w[1] + output(z)))
"""

OPEN = """
lvspec: 1
name: open
sizes: {V: 4, E: 2, H: 3}
plates: {t: sequence(end=EOS)}
networks:
  words: Embedding(V, E)
  writer: LSTM(E, H)
  output: Linear(H, V)
let:
  h[t]: writer(words(x[<t]))
observed:
  x[t]: Categorical(logits=output(h[t]))
objective:
  calm[t]: -0.1 * sum(square(h[t]))
"""

EXACT = {"summed": SUMMED, "point": POINT, "open": OPEN}
SPECS = {"labels": LABELS, "sites": SITES}


@pytest.mark.parametrize("name", [*SPECS, *EXACT])
def test_terms_are_what_the_spec_says(name):
    compiled = compile_spec({**SPECS, **EXACT}[name])
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=4, draws=0)
    assert report.passed, report
    assert {f"term {t.name}" for t in compiled.spec.terms} <= {c.name for c in report.checks}


@pytest.mark.parametrize("name", SPECS)
def test_mean_gradient_of_many_draws(name):
    subject = subject_of(SPECS[name])
    check = z_check(subject, scored(subject), 0, 100_000, seed=1)
    assert check.passed and check.figure is not None, check


@pytest.mark.parametrize("name", EXACT)
def test_terms_beside_log_p_are_in_the_loss_alone(name):
    compiled = compile_spec(EXACT[name])
    without = compile_spec(EXACT[name].partition("objective:")[0])
    torch.manual_seed(0)
    subject = subject_of(EXACT[name])
    model, batch = subject.model, subject.batch
    plain = without.Model().double()
    plain.load_state_dict(model.state_dict())
    found, expected = model(batch), plain(batch)
    kind = "log_joint" if name == "point" else "log_prob"
    torch.testing.assert_close(getattr(found, kind), getattr(expected, kind))
    added = sum(value for value in found.extras.values())
    torch.testing.assert_close(found.loss, expected.loss - added.mean())
    assert set(found.extras) == {t.name for t in compiled.spec.terms} and (added != 0).any()


@pytest.mark.parametrize("name", EXACT)
def test_a_loss_that_forgets_a_term_disagrees(name):
    compiled = compile_spec(EXACT[name])
    source, n = re.subn(r"(objective = [^\n]+?) \+ (added|term)_\w+(?=  #)", r"\1", compiled.source)
    assert n == 1, compiled.source
    report = verify(compiled.spec, compiled.plan, load_module(source, compiled.spec, ()).Model, seed=4, draws=0)
    assert {c.name for c in report.checks if not c.passed} >= {"loss", "gradient of the loss"}


def without_terms_in_the_signal(source):
    found, n = re.subn(r"signal_c = ([^=]+?) \+ term_choice", r"signal_c = \1", source)
    assert n == 1, source
    return found


def test_a_score_term_that_forgets_a_term_fails():
    assert exact_error(subject_of(SITES)) <= GRADIENT
    assert exact_error(subject_of(SITES, without_terms_in_the_signal)) > 1000 * GRADIENT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LABELS.replace("objective:", "infer:\n  bound: iwae\nobjective:"), "the bound here is iwae"),
        (
            SITES.replace("  c: reinforce\n", "").replace("  c[t]: Categorical(logits=choose(words(x[t])))\n", ""),
            "summed out",
        ),
        (LABELS + "infer: {y: reinforce}\n", "draws of z and y"),
    ],
)
def test_refused_with_the_reason(text, message):
    with pytest.raises(SpecError) as caught:
        compile_spec(text)
    assert message in str(caught.value.diagnostics)


SEVERAL = """
lvspec: 1
name: several
sizes: {P: 3, D: 2, K: 2}
params: {classes: [K], table: [K, K]}
networks:
  encoder: Linear(P, 2*D)
  decoder: Linear(D, P)
  label: Linear(D, K)
latent:
  z: Normal(0, 1)[D]
  c: Categorical(logits=classes)
observed:
  x: Bernoulli(logits=decoder(z))
  y: Categorical(logits=label(z))
  w: Categorical(logits=table[c])
guide:
  z: Normal(loc, softplus(scale)) where loc, scale = split(encoder(x))
"""


def test_reconstruction_by_node_where_several_are_observed():
    compiled = compile_spec(SEVERAL)
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=3, draws=0)
    assert report.passed, report
    batch = {"x": torch.ones(2, 3), "y": torch.tensor([0, 1]), "w": torch.tensor([1, 0])}
    objective = compiled.Model()(batch, draws={"z": torch.zeros(1, 2, 2)})
    assert set(objective.log_p) == {"x", "y", "c"}  # what w says stands in the sum over c
    torch.testing.assert_close(sum(objective.log_p.values()), objective.reconstruction)
    assert set(parts(objective)) == {
        "reconstruction",
        "reconstruction.x",
        "reconstruction.y",
        "reconstruction.c",
        "kl.z",
    }
