"""NegativeBinomial, ZeroInflatedPoisson, HalfNormal and Weibull with arguments that are computed: as latents, as q, as observations."""

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


def test_they_agree_with_brute_force():
    compiled = compile_spec(MODEL)
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)
    assert {compiled.plan.latent(name).strategy for name in "sk"} == {"reparameterization"}
