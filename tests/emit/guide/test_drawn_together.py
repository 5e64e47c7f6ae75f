"""Estimators whose draws are made together: exact over every joint draw, by measurement, and tests that can tell."""

import re

import pytest

from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.verify.checks.chance import gradient_estimates, z_check
from lvspec.verify.checks.compare import averages, verify
from lvspec.verify.checks.gradients import GRADIENT, scored
from tests.emit.guide.test_estimators import CHAIN, FEWER, HIERARCHY, PLATED, ROWS, exact_error, subject_of
from tests.emit.guide.test_relaxed import BITS, COLLAPSED_PARENT

# z decides everything, also through q of a reparameterized latent that reads it
SET = """
lvspec: 1
name: sets
sizes: {K: 4, D: 1, P: 3, H: 4}
params: {top: [K], mu: [K, D]}
networks:
  encoder: MLP(P, H, K)
  place: MLP(P + K, H, 2*D)
  decoder: MLP(D + K, H, P)
latent:
  z: Categorical(logits=top)
  g: Normal(mu[z], 0.8)
observed:
  x: Bernoulli(logits=decoder(concat(g, onehot(z))))
guide:
  z: Categorical(logits=encoder(x))
  g: Normal(loc, softplus(scale)) where loc, scale = split(place(concat(x, onehot(z))))
infer:
  z: reinforce
"""
BIT_CHAIN = """
lvspec: 1
name: bit_chain
sizes: {V: 4, H: 3}
plates: {t: sequence}
params: {start: [], follow: [2], emission: [2, V]}
networks:
  reader: Embedding(V, H)
  score: Linear(H, 1)
latent:
  z[0]: Bernoulli(logits=start)
  z[t]: Bernoulli(logits=follow[z[t-1]])
observed:
  x[t]: Categorical(logits=emission[z[t]])
guide:
  z[t]: Bernoulli(logits=score(reader(x[t]))[0])
infer:
  z: reinforce
"""
SETS = ("sum_and_sample(samples=2)", "sum_and_sample(top=2, samples=4)", "without_replacement(samples=2)")
CASES = [("sets", SET, s) for s in (*SETS, "sum_and_sample(samples=3)", "without_replacement(samples=4)")]
CASES += [("below", COLLAPSED_PARENT, s) for s in (*SETS[:1], *SETS[2:])]
CASES += [("hierarchy", HIERARCHY, s) for s in (*SETS[:1], *SETS[2:])]
CASES += [
    ("bits", BITS, "disarm(samples=2)"),
    ("bits", BITS, "disarm(samples=4)"),
    ("bit_chain", BIT_CHAIN, "disarm(samples=2)"),
]


def together(text, strategy):
    """The first scored latent drawn by the strategy; others stay."""
    text = text.replace("  samples: 2\n", "")
    return re.sub(r"  (\w): reinforce", rf"  \1: {strategy}", text, count=1)


@pytest.mark.parametrize(("name", "text", "strategy"), CASES)
def test_average_over_all_draws_is_the_exact_gradient(name, text, strategy):
    checks = averages(subject_of(together(text, strategy)))
    assert all(c.passed for c in checks), checks
    assert any(c.figure is not None for c in checks)


@pytest.mark.parametrize(("name", "text", "strategy"), CASES)
def test_values_at_fixed_draws_and_weights_are_the_oracles(name, text, strategy):
    compiled = compile_spec(together(text, strategy))
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=3, draws=0)
    assert report.passed and "log importance weights" in {c.name for c in report.checks}, report


@pytest.mark.parametrize(("name", "text", "strategy"), [CASES[0], CASES[2], CASES[-2]])
def test_mean_gradient_of_many_draws_is_the_exact_gradient(name, text, strategy):
    subject = subject_of(together(text, strategy))
    check = z_check(subject, scored(subject), 0, ROWS, seed=1)
    assert check.passed and check.figure is not None, check


def with_equal_shares(source):
    found, n = re.subn(r"\baverage\(share_\w+, (.+), -2\)", r"(\1).mean(-2)", source)
    assert n
    return found


def without_score(source):
    found = source.replace(" + (score - score.detach())", "")
    assert found != source
    return found


def with_independent_draws(source):
    """Draws that are not made together, weighed as if they were."""
    found = re.sub(
        r"categorical_(?:distinct|top)_draw\((\w+), samples(?:, \d)?\)", r"Categorical(\1).sample((samples,))", source
    )
    found = re.sub(r"bernoulli_antithetic_draw\((\w+), \(samples,\)\)", r"Bernoulli(\1).sample((samples,))", found)
    assert found != source
    return found


@pytest.mark.parametrize("strategy", SETS)
@pytest.mark.parametrize("mend", [with_equal_shares, without_score])
def test_wrong_shares_and_a_dropped_term_fail(strategy, mend):
    assert exact_error(subject_of(together(SET, strategy), mend)) > 1000 * GRADIENT


@pytest.mark.parametrize(("text", "strategy"), [(SET, SETS[0]), (SET, SETS[2]), (BITS, "disarm(samples=2)")])
def test_draws_that_are_made_otherwise_fail(text, strategy):
    subject = subject_of(together(text, strategy), with_independent_draws)
    assert not z_check(subject, scored(subject), 0, FEWER, seed=1).passed


def without_control_variate(source):
    found = re.sub(r"against_(?:top|others)\((\w+\.detach\(\)), [^)]*\)", r"\1", source)
    assert found != source
    return found


@pytest.mark.parametrize("strategy", SETS)
def test_a_dropped_control_variate_passes_with_more_variance(strategy):
    text = together(SET, strategy)
    assert exact_error(subject_of(text, without_control_variate)) <= GRADIENT
    plain, held = (gradient_estimates(subject_of(text, m), 0, FEWER, 2) for m in (without_control_variate, lambda s: s))
    assert held.variance < plain.variance


def test_all_values_without_replacement_are_the_exact_sum():
    """With as many draws as values nothing is left to chance."""
    subject = subject_of(together(COLLAPSED_PARENT, "without_replacement(samples=3)"))
    estimates = gradient_estimates(subject, 0, 2000, 1)
    assert estimates.variance < 1e-20


POSITION = """
lvspec: 1
sizes: {S: 3, V: 4}
plates: {n: sequence}
given:
  w[n]: category(S)
params: {p: [S], q: [S], e: [S, V]}
latent:
  a: Categorical(logits=p[w[n]] over n)
observed:
  x: Categorical(logits=e[w[a]])
guide:
  a: Categorical(logits=q[w[n]] over n)
infer:
  a: reinforce
"""


@pytest.mark.parametrize(
    ("text", "strategy", "message"),
    [
        (BITS, "disarm(samples=3)", "2 at a time"),
        (BITS, "sum_and_sample", "not Categorical"),
        (SET, "disarm", "not Bernoulli"),
        (PLATED, "without_replacement", "several sites"),
        (CHAIN, "sum_and_sample", "several sites"),
        (POSITION, "without_replacement", "fewer than are drawn"),
        (POSITION, "sum_and_sample", "fewer than are drawn"),
        (SET, "without_replacement(samples=5)", "z has 4"),
        (SET, "without_replacement(samples=1)", "at least 2"),
        (SET, "sum_and_sample(top=4)", "nothing to draw"),
        (SET, "sum_and_sample(top=2, samples=2)", "no draw beside"),
        (SET.replace("infer:\n", "infer:\n  bound: iwae\n"), "sum_and_sample", "the bound is iwae"),
        (HIERARCHY.replace("c: reinforce", "c: sum_and_sample").replace("z: reinforce", "z: without_replacement"), "", "q(z) reads c"),
    ],
)  # fmt: skip
def test_declined_with_the_reason(text, strategy, message):
    with pytest.raises(SpecError) as caught:
        compile_spec(together(text, strategy) if strategy else text)
    assert message in str(caught.value)


TWO = SET.replace("  g: Normal(mu[z], 0.8)", "  y: Categorical(logits=top)\n  g: Normal(mu[z], 0.8)")
TWO = TWO.replace("guide:\n", "guide:\n  y: Categorical(logits=encoder(x))\n").replace(
    "onehot(z))))", "onehot(z) + onehot(y))))", 1
)


def test_two_sets_of_shares_are_refused():
    with pytest.raises(SpecError) as caught:
        compile_spec(TWO.replace("  z: reinforce", "  z: sum_and_sample\n  y: without_replacement"))
    assert "both weigh the draws" in str(caught.value.diagnostics)


def test_an_odd_number_of_draws_for_pairs_is_refused():
    text = SET.replace("  g: Normal(mu[z], 0.8)", "  y: Bernoulli(logits=0.3)\n  g: Normal(mu[z], 0.8)")
    text = text.replace("guide:\n", "guide:\n  y: Bernoulli(logits=encoder(x)[0])\n").replace(
        "onehot(z))))", "onehot(z) * y)))", 1
    )
    with pytest.raises(SpecError) as caught:
        compile_spec(text.replace("  z: reinforce", "  z: without_replacement(samples=3)\n  y: disarm"))
    assert "2 at a time" in str(caught.value.diagnostics) or "pairs" in str(caught.value.diagnostics)


def test_pairs_do_not_stand_beside_shares():
    """A pair of opposite draws is a difference of two costs, which are not alike where each has its own weight."""
    text = SET.replace("  g: Normal(mu[z], 0.8)", "  y: Bernoulli(logits=0.3)\n  g: Normal(mu[z], 0.8)")
    text = text.replace("guide:\n", "guide:\n  y: Bernoulli(logits=encoder(x)[0])\n")
    text = text.replace("onehot(z))))", "onehot(z) * y)))", 1).replace("  z: reinforce", "  z: {0}\n  y: disarm")
    for strategy in ("sum_and_sample(samples=2)", "without_replacement(samples=2)"):
        with pytest.raises(SpecError) as caught:
            compile_spec(text.replace("{0}", strategy))
        assert "have shares of their own" in str(caught.value.diagnostics)
