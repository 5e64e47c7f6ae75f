"""Cauchy, HalfCauchy and TruncatedNormal with arguments that are computed: as latents, as q, as observations."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.errors import SpecError
from lvspec.verify import render, verify

MODEL = """lvspec: 1
sizes: {D: 2}
plates: {i: bag}
params: {w: [], v: [D], u: [D]}
latent:
  s: HalfCauchy(2)[D]
  m: Cauchy(w, softplus(w))[D]
  k[i]: TruncatedNormal(w, 1.5, low=0, high=3)
observed:
  a[i]: Cauchy(m, s)
  b[i]: HalfCauchy(s)
  c[i]: TruncatedNormal(m, softplus(v), -4, high=5 + softplus(u))
guide:
  s: HalfCauchy(softplus(v + sum(tanh(b[i]) over i)))
  m: Cauchy(v + sum(tanh(a[i]) over i), softplus(u))
  k[i]: TruncatedNormal(dot(u, a[i]), softplus(w), 0, 2 + sigmoid(w))
"""


def test_they_agree_with_brute_force():
    compiled = compile_spec(MODEL)
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)
    assert {compiled.plan.latent(name).strategy for name in "smk"} == {"reparameterization"}
    assert compiled.plan.latent("m").kl == "analytic"


def test_a_value_beyond_a_bound_has_no_chance():
    model = compile_spec("lvspec: 1\nobserved:\n  x: TruncatedNormal(0, 1, -1, 2)\n").Model()
    assert model.log_prob({"x": torch.tensor([-1.1, -1.0, 2.0, 2.1])}).isfinite().tolist() == [False, True, True, False]


def test_bounds_with_nothing_between_are_refused():
    with pytest.raises(SpecError, match="nothing lies between"):
        compile_spec("lvspec: 1\nobserved:\n  x: TruncatedNormal(0, 1, 2, 1)\n")
