"""Sites of a fixed plate that are reduced or normalised together, where summed latents live there."""

import pytest

from lvspec.driver import compile_spec
from lvspec.verify import render, verify

HEAD = """lvspec: 1
name: m
sizes: {K: 3, D: 2}
plates: {t: sequence, i: 2, j: 2}
params: {w: [K], mu: [K], e: [K, D], C: [D], v: [2]}
latent:
  z[i]: Categorical(logits=w)
observed:
"""
CLAUSES = (
    *(f"x: Normal({f}(mu[z[i]] over i) * C, 1)" for f in ("sum", "mean", "max", "min", "prod", "logsumexp")),
    "x: Normal(sum(softmax(mu[z[i]] over i) * v[i] over i) * C, 1)",
    "x: Normal(dot(log_softmax(mu[z[i]] over i), v) * C, 1)",
    "x: Normal(sum(softmax(mu[z[i]] over i) * e[z[i], 0] over i) + max(v[i] over i) * C, 1)",
    "x[i]: Normal(softmax(mu[z[i]] over i) * C, 1)",
    "x[j]: Normal(max(mu[z[i]] over i) * v[j] * C, 1)",
)


@pytest.mark.parametrize("clause", CLAUSES)
def test_what_joins_the_sites_of_summed_latents_agrees_with_brute_force(clause):
    compiled = compile_spec(f"{HEAD}  {clause}\n")
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=1, draws=0)
    assert report.passed, render(report)
