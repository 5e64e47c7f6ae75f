"""NegativeBinomial, ZeroInflatedPoisson, HurdlePoisson, ZeroInflatedNegativeBinomial, HalfNormal and Weibull with arguments that are computed: as latents, as q, as observations."""

import pytest

from lvspec.driver import compile_spec
from lvspec.verify import render, verify

MODEL = """lvspec: 1
sizes: {D: 2}
plates: {i: bag}
params: {w: [], v: [D], u: [D]}
latent:
  s: HalfNormal(2)[D]
  k[i]: Weibull(softplus(w), 1.5)
  n: NegativeBinomial(softplus(w), logits=w)
  m: ZeroInflatedPoisson(sigmoid(w), softplus(w))
observed:
  a[i]: NegativeBinomial(k[i], probs=sigmoid(w))
  b[i]: ZeroInflatedPoisson(sigmoid(w), k[i])[D]
  c[i]: HalfNormal(s)
  d[i]: Weibull(s, softplus(v))
  e: Normal(n - m, 1)
guide:
  s: HalfNormal(softplus(v + sum(c[i] over i)))
  k[i]: Weibull(softplus(dot(u, d[i])), 1 + softplus(w))
  n: NegativeBinomial(1, logits=tanh(e))
  m: ZeroInflatedPoisson(sigmoid(e), 1 + softplus(w))
"""


GATED = """lvspec: 1
sizes: {D: 2, K: 2}
plates: {i: bag}
params: {w: [], v: [D], u: [K]}
latent:
  z[i]: Categorical(logits=u)
  n: HurdlePoisson(sigmoid(w), softplus(w))
  m: ZeroInflatedNegativeBinomial(0.2, softplus(w), probs=sigmoid(w))
observed:
  a[i]: HurdlePoisson(sigmoid(u[z[i]]), softplus(v))
  b[i]: ZeroInflatedNegativeBinomial(sigmoid(v), 0.5 + z[i], logits=w)
  e: Normal(n - m, 1)
guide:
  n: HurdlePoisson(sigmoid(e), 1)
  m: ZeroInflatedNegativeBinomial(sigmoid(e), 1, logits=tanh(e))
"""


@pytest.mark.parametrize("text", [MODEL, GATED])
def test_they_agree_with_brute_force(text):
    compiled = compile_spec(text)
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)
    if text == MODEL:
        assert {compiled.plan.latent(name).strategy for name in "sk"} == {"reparameterization"}
