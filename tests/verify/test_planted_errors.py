"""An error planted in an emitted module's text, one or more for each strategy, is noticed by the verifier.

tests/emit/guide/test_estimators.py plants those of score functions.
"""

import re
from functools import cache

import pytest

from lvspec.driver import compile_spec, read_spec
from lvspec.load import load_module
from lvspec.verify import render, shrink, verify
from tests import SPECS


@cache
def compiled(name):
    path = SPECS / f"{name}.yaml"
    return compile_spec(path, sizes=shrink(read_spec(path)))


def report_of(name, source):
    one = compiled(name)
    return verify(one.spec, one.plan, load_module(source, one.spec, ()).Model, seed=3, draws=0)


def swap(pattern, replacement, count=0):
    """A mutation: at least one place of the source changes."""

    def mutate(source):
        body = source.index("class ")
        text, places = re.subn(pattern, replacement, source[body:], count=count)
        assert places, f"nothing in the source looks like {pattern}"
        return source[:body] + text

    return mutate


PLANTED = {
    # enumeration, collapsed
    "naive_bayes: the prior is forgotten": (
        "naive_bayes",
        swap(r"self\.prior\.log_softmax\(-1\)", "torch.zeros_like(self.prior)"),
    ),
    "naive_bayes: the prior is not normalised": ("naive_bayes", swap(r"self\.prior\.log_softmax\(-1\)", "self.prior")),
    "naive_bayes: a bag's length is ignored": (
        "naive_bayes",
        swap(r'batch\["[tx]\.mask"\]', 'torch.ones_like(batch["t.mask"])'),
    ),
    # enumeration under a written guide
    "naive_bayes_amortized: no KL": ("naive_bayes_amortized", swap(r'elbo = (\w+) - kl\["z"\]', r"elbo = \1")),
    "naive_bayes_amortized: the KL's ratio upside down": (
        "naive_bayes_amortized",
        swap(r"(log_q_z) - (log_\w+)", r"\2 - \1"),
    ),
    # dynamic programming
    "hmm: the transition is transposed": ("hmm", swap(r"self\.transition\b(?! =)\.log", "self.transition.mT.log")),
    "hmm: normalised over the state before": (
        "hmm",
        swap(r"self\.transition\.log_softmax\(-1\)", "self.transition.log_softmax(0)"),
    ),
    "hmm: starts from the first row": ("hmm", swap(r"self\.start\.log_softmax", "self.transition[0].log_softmax")),
    "hmm: sites beyond the length count": ("hmm", swap(r"real_sites\((\w+), [^)]*\)", r"\1")),
    "factorial_hmm: one noise for all": (
        "factorial_hmm",
        swap(r"softplus\(self\.noise\)", "softplus(self.noise.mean(-1, keepdim=True))"),
    ),
    # an observed sequence read one site off
    "rnn_lm: the writer sees its own word": ("rnn_lm", swap(r"previous\(x, [^()]*\)", "x")),
    "rnn_lm: begins with the first word": ("rnn_lm", swap(r"previous\(x, [^()]*\)", "previous(x, dim=1, begin=0)")),
    # reparameterization
    "sentence_vae: no KL": ("sentence_vae", swap(r'elbo = (\w+) - kl\["z"\]', r"elbo = \1")),
    "sentence_vae: the scale is squared": (
        "sentence_vae",
        swap(r"= q_z\.draw\(", r"= Normal(q_z.loc, q_z.scale.square()).draw("),
    ),
    "sentence_vae: the draw is detached": ("sentence_vae", swap(r"(q_z\.draw\([^)]*\))", r"\1.detach()")),
    "sentence_vae: the last state is the padding's": (
        "sentence_vae",
        swap(r'batch\["t"\], dim=1\)', 'torch.full_like(batch["t"], x.shape[1]), dim=1)'),
    ),
}


@pytest.mark.parametrize("name", sorted({spec for spec, _ in PLANTED.values()}))
def test_the_module_as_emitted_agrees(name):
    report = report_of(name, compiled(name).source)
    assert report.passed, render(report)


@pytest.mark.parametrize("error", PLANTED)
def test_a_planted_error_is_noticed(error):
    name, mutate = PLANTED[error]
    report = report_of(name, mutate(compiled(name).source))
    assert not report.passed, render(report)
    assert all(c.figure != float("inf") for c in report.checks), "the mutated module must run, and be wrong"
