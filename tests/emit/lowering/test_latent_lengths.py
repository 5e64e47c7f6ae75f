"""Plates whose length is a variable: values, gradients and what counts of a site, against brute force."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.graph import draw
from lvspec.verify.checks.compare import verify
from lvspec.verify.checks.deterministic import bound_checks
from lvspec.verify.report import render
from tests.emit.guide.test_estimators import subject_of

HEAD = """
lvspec: 1
name: runs
sizes: {P: 2, D: 1, H: 3, M: 3}
plates:
  i: {length: l + 1, max: M}
params:
  begin: [D]
networks:
  count: Linear(P, M)
  encoder: MLP(P + M + D, H, 2*D)
  score: Linear(D, 1)
  decoder: Linear(D, P)
latent:
  l: Categorical(logits=log(0.7) * i over i)
  z[i]: Normal(0, 1)[D]
"""
READ = "sum(softmax(score(z[i])[0] over i) * z[i] over i)"
X = """
observed:
  x: Bernoulli(logits=decoder({read}))
"""
EACH = """
guide:
  l: Categorical(logits=count(x))
  z[i]: Normal(loc, softplus(scale)) where loc, scale = split(encoder(concat(x, onehot(i), begin)))
"""
ONWARDS = """
guide:
  l: Categorical(logits=count(x))
  z[0]: Normal(loc, softplus(scale)) where loc, scale = split(encoder(concat(x, onehot(l), begin)))
  z[i]: Normal(loc, softplus(scale)) where loc, scale = split(encoder(concat(x, onehot(l), z[i-1])))
"""
DRAWN = "infer:\n  l: reinforce\n  samples: 2\n"
ALONE = EACH.replace("  l: Categorical(logits=count(x))\n", "")
REDUCED = "max(z[i] over i) + min(z[i] over i) + mean(z[i] over i) + prod(z[i] over i) + logsumexp(z[i] over i)"
TERM = "objective:\n  size[i]: 0.5 * sum(square(z[i]))\n"
MODELS = {
    "averaged": X.format(read=READ) + EACH,
    "averaged, onwards": X.format(read=READ) + ONWARDS,
    "drawn": X.format(read=READ) + EACH + DRAWN,
    "drawn, onwards": X.format(read=READ) + ONWARDS + DRAWN,
    "summed out": X.format(read=READ) + ALONE,
    "every reduction": X.format(read=REDUCED) + EACH,
    "a term at each site": X.format(read=READ) + EACH + TERM,
    "importance weights": X.format(read=READ) + EACH + "infer:\n  l: reinforce\n  bound: iwae(samples=2)\n",
}
TREATMENTS = {
    "drawn": "sampled",
    "drawn, onwards": "sampled",
    "summed out": "collapsed",
    "importance weights": "sampled",
}


@pytest.mark.parametrize("name", MODELS)
def test_values_and_gradients_are_those_of_brute_force(name):
    c = compile_spec(HEAD + MODELS[name])
    assert c.plan.latent("l").treatment == TREATMENTS.get(name, "enumerated")
    report = verify(c.spec, c.plan, c.Model, seed=2, draws=0)
    assert report.passed, report.failures


SPOILT = {
    "a divergence at every site": (
        "expectation(log_q_l[:, None], kl_z[:, :, None] * drawn.counts_i, -1)",
        "kl_z",
    ),
    "a softmax over every site": ("1000000000.0 * (1 - counts_i)", "0.0 * counts_i"),
    "one site too many": (
        "self.zero.device) + 1\n        ).to",
        "self.zero.device) + 2\n        ).to",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_does_not_count_is_missed(name):
    text = HEAD + MODELS["averaged"]
    assert all(c.passed for c in bound_checks(subject_of(text)))
    assert SPOILT[name][0] in compile_spec(text).source
    spoilt = subject_of(text, lambda source: source.replace(*SPOILT[name]))
    assert not all(c.passed for c in bound_checks(spoilt))


def test_a_known_length_takes_the_divergence_of_as_many_sites():
    subject = subject_of(HEAD + MODELS["averaged"])
    rows = subject.rows
    found = []
    for length in range(3):
        batch = {**subject.batch, "l": subject.batch["x"].new_full((rows,), length).long()}
        found.append(subject.objective(batch).kl["z"])
    each = [found[0], found[1] - found[0], found[2] - found[1]]
    assert all((kl > 0).all() for kl in each)  # one more site, one more divergence


def test_q_of_the_length_is_drawn_first():
    text = HEAD + X.format(read=READ) + EACH.replace("count(x)", "count(x) + sum(sum(z[i]) over i)")
    with pytest.raises(SpecError, match="draw l first|not drawn before"):
        compile_spec(text)


def test_the_picture_says_how_many_sites_count():
    assert "i: l + 1 of M = 3" in draw(compile_spec(HEAD + MODELS["averaged"]).plan, "dot")


COUNTED = """lvspec: 1
name: counted
sizes: {M: 2, D: 1}
plates:
  i: {length: n + 1, max: M}
params: {begin: [D], w: [M]}
networks: {combine: "Linear(D + M, 2*D)"}
latent:
  n: Categorical(logits=w)
  z[i]: Normal(0, 1)[D]
observed:
  x: Normal(sum(z[i] over i), 1)
guide:
  past[0]: concat(begin, onehot(n))
  past[i]: concat(z[i-1], onehot(n))
  z[i]: Normal(loc, softplus(scale)) where loc, scale = split(combine(past[i]))
infer:
"""


@pytest.mark.parametrize(
    "infer",
    [
        "bound: reweighted_wake_sleep(samples=2)",
        "bound: iwae(samples=2)\n  z: reinforce",
        "bound: elbo\n  z: reinforce",
    ],
)
def test_log_q_of_sites_beyond_a_drawn_length_moves_nothing(infer):
    """Their draws are read by nothing: at fixed draws neither model nor guide follows them."""
    compiled = compile_spec(f"{COUNTED}  {infer}\n")
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=0, draws=0)
    assert report.passed, render(report)


OF_THOSE_THAT_COUNT = """
lvspec: 1
sizes: {{M: 3, K: 2}}
plates:
  i: {{length: l, max: M - 1}}
params: {{a: [K], c: [M], e: [K], w: [M - 1]}}
latent:
  l: Categorical(logits=c)
  z[i]: Categorical(logits=a)
observed:
  y: Normal({read}, 1)
guide:
  l: Categorical(logits=c)
  z[i]: Categorical(logits=a)
"""
NONE = torch.zeros(())
REDUCTIONS = {
    "sum({} over i)": torch.sum,
    "mean({} over i)": lambda v: v.mean() if len(v) else NONE,
    "max({} over i)": lambda v: v.max() if len(v) else NONE,
    "min({} over i)": lambda v: v.min() if len(v) else NONE,
    "prod({} over i)": torch.prod,
}


@pytest.mark.parametrize("what", ["e[z[i]]", "w[i]"])
def test_what_is_reduced_is_what_counts(what):
    """Of the sites below the length, parameters' too; 0 (a product: 1) of none."""
    read = " + ".join(f"{i} * {text.format(what)}" for i, text in enumerate(REDUCTIONS, start=1))
    found, expected = both(read, lambda e, w: e if what == "e[z[i]]" else w, REDUCTIONS.values())
    assert torch.allclose(found, expected)


def test_weights_of_the_sites_that_count_add_up_to_one():
    read = "sum(softmax(w[i] over i) * e[z[i]] over i)"
    found, expected = both(read, lambda e, w: w.softmax(0) * e, [torch.sum])
    assert torch.allclose(found, expected)


def both(read, values, reductions):
    """log p(y given l, z) of three examples, of 0, 1 and 2 sites: the module's, and by hand."""
    torch.manual_seed(0)
    model = compile_spec(OF_THOSE_THAT_COUNT.format(read=read)).Model().double()
    z, y = torch.tensor([[0, 1], [1, 0], [1, 0]]), torch.randn(3).double()
    found = model({"l": torch.arange(3), "z": z, "y": y}).reconstruction.detach()
    loc = []
    for length in range(3):
        v = values(model.e[z[length, :length]], model.w[:length])
        loc.append(sum(i * reduce(v) for i, reduce in enumerate(reductions, start=1)))
    return found, torch.distributions.Normal(torch.stack(loc), 1.0).log_prob(y).detach()
