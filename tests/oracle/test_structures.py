"""Structures in a spec, in forms that the shipped specs and random ones do not have: observed labels, outer plates."""

import pytest

from lvspec.driver import compile_spec
from lvspec.verify import render, verify

HEAD = """
lvspec: 1
name: structured
sizes: {K: 2, L: 2, C: 2, V: 3, N: 2, P: 2}
plates: {d: sequence, t: sequence(within=d), s: sequence}
params:
  a: [K]
  b: [K, K]
  c: [C]
  e: [C, K]
  f: [C, K, K]
  g: [K, L]
  root: [C, N]
  rules: [N, N + P, N + P]
  terminals: [P, V]
  start: [C, V]
  stop: [V, 2, 2, 2]
  attach: [V, 2, V]
"""

FORMS = {
    "observed labels": "latent:\n  z: Categorical(logits=c)\nobserved:\n  y over s: LinearChain(unary=a + e[z], pairwise=b)",
    "observed labels, one table for all": "observed:\n  y over s: LinearChain(unary=a, pairwise=b)",
    "scores of pairs by a latent": "latent:\n  z: Categorical(logits=c)\n"
    "observed:\n  y over s: LinearChain(unary=a, pairwise=f[z])",
    "observed states of segments": "latent:\n  z: Categorical(logits=c)\n"
    "observed:\n  y over s: SemiMarkov(start=a + e[z], transition=b, length=g)",
    "trees within documents": "latent:\n  z[d]: Categorical(logits=c)\n"
    "observed:\n  x[d] over t: DMV(root=start[z[d]], stop=stop, attach=attach) with tree",
    "a drawn root": "latent:\n  z: Categorical(logits=c)\n"
    "observed:\n  x over s: DMV(root=start[z], stop=stop, attach=attach) with tree\ninfer:\n  z: reinforce",
}


@pytest.mark.parametrize("name", FORMS)
def test_structure_agrees_with_brute_force(name):
    compiled = compile_spec(HEAD + FORMS[name] + "\n")
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=0, draws=0)
    assert report.passed, render(report)
