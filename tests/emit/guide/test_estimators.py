"""Estimators of gradients: unbiased exactly, unbiased by measurement, and the tests can tell when they are not.

The exact test sums the surrogate's gradient over every joint draw of all its samples; the z-test averages at least
1e5 rows of the module's own draws and fails a true estimator once in a million comparisons.
"""

import ast
import re

import pytest

from lvspec.driver import compile_spec
from lvspec.load import load_module
from lvspec.verify.checks.averages import averaged_gradient, exact_gradient
from lvspec.verify.checks.chance import z_check
from lvspec.verify.checks.compare import averages
from lvspec.verify.checks.gradients import GRADIENT, scored
from lvspec.verify.checks.subject import Subject
from lvspec.verify.report import gradient_error

ROWS = 100_000
FEWER = ROWS // 2  # where a wrong estimator has to be told, or variances are compared

PLATED = """
lvspec: 1
name: plated
sizes: {P: 3, M: 2, K: 3, H: 4}
plates: {m: M}
params:
  prior: [M, K]
networks:
  encoder: MLP(P, H, M*K)
  decoder: Linear(M*K, P)
latent:
  z[m]: Categorical(logits=prior[m])
observed:
  x: Bernoulli(logits=decoder(flatten(onehot(z[m]) over m)))
guide:
  z[m]: Categorical(logits=reshape(encoder(x), M, K)[m])
infer:
  z: reinforce
  samples: 2
"""

HIERARCHY = """
lvspec: 1
name: hierarchy
sizes: {K: 3, C: 2, V: 4, H: 3}
plates: {t: bag}
params:
  prior: [C]
  middle: [C, K]
  emission: [K, V]
networks:
  reader: Embedding(V, H)
  top: Linear(H, C)
  low: Linear(H + C, K)
latent:
  c: Categorical(logits=prior)
  z: Categorical(logits=middle[c])
observed:
  x[t]: Categorical(logits=emission[z])
guide:
  c: Categorical(logits=top(mean(reader(x))))
  z: Categorical(logits=low(concat(mean(reader(x)), onehot(c))))
infer:
  c: reinforce
  z: reinforce
  samples: 2
"""

CHAIN = """
lvspec: 1
name: chain
sizes: {K: 2, V: 4, H: 3}
plates: {t: sequence}
params:
  start: [K]
  transition: [K, K]
  emission: [K, V]
networks:
  reader: Embedding(V, H)
  score: Linear(H, K)
latent:
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=transition[z[t-1]])
observed:
  x[t]: Categorical(logits=emission[z[t]])
guide:
  z[t]: Categorical(logits=score(reader(x[t])))
infer:
  z: reinforce
  samples: 2
"""

CLASS_OF_A_CHAIN = """
lvspec: 1
name: class_of_a_chain
sizes: {K: 2, C: 2, V: 4, H: 3}
plates: {t: sequence}
params:
  classes: [C]
  start: [K]
  transition: [C, K, K]
  emission: [K, V]
  near: [C, K]
networks:
  reader: Embedding(V, H)
  top: Linear(H, C)
  score: Linear(H, K)
latent:
  c: Categorical(logits=classes)
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=transition[c, z[t-1]])
observed:
  x[t]: Categorical(logits=emission[z[t]])
guide:
  c: Categorical(logits=top(mean(reader(x))))
  z[t]: Categorical(logits=score(reader(x[t])) + near[c])
infer:
  z: reinforce
  samples: 2
"""

LABELLING = CHAIN.replace("name: chain", "name: labelling").replace(
    "  z[t]: Categorical(logits=score(reader(x[t])))",
    "  z over t: LinearChain(unary=score(reader(x[t])), pairwise=links)",
)
LABELLING = LABELLING.replace("  emission: [K, V]", "  emission: [K, V]\n  links: [K, K]")

# words that read all states before: nothing can be summed
READ_FROM_ALL = LABELLING.replace("name: labelling", "name: read_from_all").replace(
    "  score: Linear(H, K)",
    "  score: Linear(H, K)\n  states: Embedding(K, H)\n  writer: GRU(H, H)\n  output: Linear(H, V)",
)
READ_FROM_ALL = READ_FROM_ALL.replace(
    "observed:\n  x[t]: Categorical(logits=emission[z[t]])",
    "let:\n  h[t]: writer(states(z[<=t]))\nobserved:\n  x[t]: Categorical(logits=emission[z[t]] + output(h[t]))",
).replace("infer:\n  z: reinforce\n", "infer:\n")

TREES = """
lvspec: 1
name: trees
sizes: {V: 4, H: 3}
plates: {t: sequence, j: copy(t)}
given:
  w[t]: token(V)
params:
  spans: [V, V]
  last: [V, V]
networks:
  reader: Embedding(V, H)
latent:
  tree over t: TreeCRF(spans=spans[w[t], w[j]] over j)
observed:
  x[t]: Categorical(logits=last[w[tree[t]]])
guide:
  tree over t: TreeCRF(spans=dot(reader(x[t]), reader(w[j])) over j)
infer:
  samples: 2
"""

BESIDE_GAUSSIAN = """
lvspec: 1
name: beside_gaussian
sizes: {K: 3, D: 1, V: 4, H: 3}
plates: {t: bag}
params:
  prior: [K]
  mu: [K, D]
  shift: [K, V]
networks:
  reader: Embedding(V, H)
  cluster: Linear(H, K)
  place: Linear(H + K, 2*D)
  words: Linear(D, V)
latent:
  c: Categorical(logits=prior)
  g: Normal(mu[c], 0.8)
observed:
  x[t]: Categorical(logits=words(g) + shift[c])
guide:
  c: Categorical(logits=cluster(mean(reader(x))))
  g: Normal(loc, softplus(scale)) where loc, scale = split(place(concat(mean(reader(x)), onehot(c))))
infer:
  c: reinforce
  samples: 2
"""

BESIDE_CHAIN = """
lvspec: 1
name: beside_chain
sizes: {C: 3, K: 2, V: 4, H: 3}
plates: {t: sequence}
params:
  prior: [C]
  start: [K]
  transition: [C, K, K]
  emission: [K, V]
networks:
  reader: Embedding(V, H)
  topic: Linear(H, C)
latent:
  c: Categorical(logits=prior)
  z[0]: Categorical(logits=start)
  z[t]: Categorical(logits=transition[c, z[t-1]])
observed:
  x[t]: Categorical(logits=emission[z[t]])
guide:
  c: Categorical(logits=topic(mean(reader(x))))
infer:
  c: reinforce
  samples: 2
"""

GAUSSIAN = """
lvspec: 1
name: gaussian
sizes: {D: 1, V: 4, H: 3}
plates: {t: bag}
networks:
  reader: Embedding(V, H)
  place: Linear(H, 2*D)
  words: Linear(D, V)
latent:
  g: Normal(0, 1)[D]
observed:
  x[t]: Categorical(logits=words(g))
guide:
  g: Normal(loc, softplus(scale)) where loc, scale = split(place(mean(reader(x))))
"""

# rectifiers have kinks, where an integrand's gradient jumps
RECTIFIED = """
lvspec: 1
name: rectified
sizes: {P: 3, D: 2, H: 4}
networks:
  encoder: MLP(P, H, 2*D, activation=relu)
  decoder: MLP(D, H, P, activation=relu)
latent:
  g: Normal(0, 1)[D]
observed:
  x: Bernoulli(logits=decoder(g))
guide:
  g: Normal(loc, softplus(scale)) where loc, scale = split(encoder(x))
"""

SCORED = {
    "plated": PLATED,
    "hierarchy": HIERARCHY,
    "chain": CHAIN,
    "beside_gaussian": BESIDE_GAUSSIAN,
    "beside_chain": BESIDE_CHAIN,
    "labelling": LABELLING,
    "read_from_all": READ_FROM_ALL,
    "trees": TREES,
}
# of a class's chain more draws than can be gone through: the z-test alone
ALL = {**SCORED, "class_of_a_chain": CLASS_OF_A_CHAIN, "gaussian": GAUSSIAN, "rectified": RECTIFIED}


def subject_of(text, mend=lambda source: source):
    """The emitted module, its source passed through `mend` first, beside the oracle."""
    compiled = compile_spec(text)
    source = mend(compiled.source)
    model = compiled.Model if source == compiled.source else load_module(source, compiled.spec, ()).Model
    return Subject.of(compiled.plan, model, seed=5)


@pytest.mark.parametrize("name", SCORED)
def test_average_over_all_draws_is_the_exact_gradient(name):
    checks = averages(subject_of(SCORED[name]))
    assert all(c.passed for c in checks), checks
    assert any(c.figure is not None for c in checks)


@pytest.mark.parametrize("name", ALL)
def test_mean_gradient_of_many_draws_is_the_exact_gradient(name):
    subject = subject_of(ALL[name])
    check = z_check(subject, scored(subject), 0, ROWS, seed=1)
    assert check.passed, check


@pytest.mark.parametrize("name", SCORED)
def test_the_loss_has_the_digits_of_the_bound(name):
    """Score terms are worth nothing, however far from 0 log q is."""
    subject = subject_of(SCORED[name])
    model = subject.model.float()
    batch, draws = (
        {n: v.float() if v.is_floating_point() else v for n, v in d.items()} for d in (subject.batch, subject.draws)
    )
    found = model(batch, draws=draws)
    if found.elbo.isfinite().all() and not found.extras:
        assert found.loss.item() == -found.elbo.mean().item()


# ---------------------------------------------------------------- what must be noticed, and what must not
def without_last_cost(source):
    """The signal of a score term without the last of its costs."""
    signals = (
        n.value
        for n in ast.walk(ast.parse(source))
        if isinstance(n, ast.Assign) and "signal_" in ast.unparse(n.targets[0])
    )
    costs = next(v for v in signals if isinstance(v, ast.BinOp))
    return source.replace(ast.get_source_segment(source, costs), ast.get_source_segment(source, costs.left), 1)


def without_score(source):
    found = source.replace(" + (score - score.detach())", "")
    assert found != source
    return found


def without_control_variate(source):
    found = re.sub(r"leave_one_out\(([\w.]+\.detach\(\))\)", r"\1", source)
    assert found != source
    return found


def without_entropy(source):
    found, n = re.subn(r"-entropy_\w+ \+ ", "", source, count=1)
    assert n == 1, source
    return found


def exact_error(subject, row=0):
    names = scored(subject)
    return gradient_error(averaged_gradient(subject, names, row), exact_gradient(subject, names, row))


@pytest.mark.parametrize(
    ("name", "mend"),
    [(name, without_score) for name in SCORED]
    + [(name, without_last_cost) for name in ("hierarchy", "chain", "beside_gaussian", "labelling")]
    + [(name, without_entropy) for name in ("labelling", "read_from_all", "trees")],
)
def test_a_dropped_term_of_non_zero_mean_fails_both_tests(name, mend):
    subject = subject_of(SCORED[name], mend)
    assert exact_error(subject) > 1000 * GRADIENT
    assert not z_check(subject, scored(subject), 0, FEWER, seed=1).passed


def with_wide_noise(source):
    """What no comparison at fixed draws can see: the noise itself is off by a tenth."""
    found, n = re.subn(r"else (q_\w+\.noise\([^\n]*?\))(  #|\n)", r"else 1.1 * \1\2", source, count=1)
    assert n == 1, source
    return found


@pytest.mark.parametrize("name", ["gaussian", "rectified"])
def test_noise_of_another_scale_fails(name):
    subject = subject_of(ALL[name], with_wide_noise)
    assert not z_check(subject, scored(subject), 0, FEWER, seed=1).passed


@pytest.mark.parametrize("name", SCORED)
def test_a_dropped_control_variate_passes_both_tests(name):
    plain = subject_of(SCORED[name], without_control_variate)
    assert exact_error(plain) <= GRADIENT
    assert z_check(plain, scored(plain), 0, ROWS, seed=2).passed
