"""Structures in a spec, in forms that the shipped specs and random ones do not have: observed labels, outer plates."""

import pytest

from lvspec.driver import compile_spec
from lvspec.verify import render, verify

HEAD = """
lvspec: 1
name: structured
sizes: {K: 2, L: 2, C: 2, V: 3, N: 2, P: 2}
plates: {d: sequence, t: sequence(within=d), s: sequence, i: copy(t), j: copy(s)}
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
  arc: [V, V]
  child: [V, V]
  lr_head: [N, K]
  lr_left: [K, N + P]
  lr_right: [K, N + P]
"""
GIVEN = "given:\n  w[s]: token(V)\n"
NESTED = "given:\n  u[d, t]: token(V)\n"
ARCS = "arc[w[s], w[j]] over j"

FORMS = {
    "observed labels": "latent:\n  z: Categorical(logits=c)\nobserved:\n  y over s: LinearChain(unary=a + e[z], pairwise=b)",
    "observed labels, one table for all": "observed:\n  y over s: LinearChain(unary=a, pairwise=b)",
    "scores of pairs by a latent": "latent:\n  z: Categorical(logits=c)\n"
    "observed:\n  y over s: LinearChain(unary=a, pairwise=f[z])",
    "observed states of segments": "latent:\n  z: Categorical(logits=c)\n"
    "observed:\n  y over s: SemiMarkov(start=a + e[z], transition=b, length=g)",
    "trees within documents": "latent:\n  z[d]: Categorical(logits=c)\n"
    "observed:\n  x[d] over t: DMV(root=start[z[d]], stop=stop, attach=attach) with tree",
    "heads of words": f"{GIVEN}latent:\n  h over s: DependencyCRF(arcs={ARCS})",
    "heads of words, arcs that cross": f"{GIVEN}latent:\n  h over s: NonProjectiveCRF(arcs={ARCS})",
    "constituents": f"{GIVEN}latent:\n  h over s: TreeCRF(spans={ARCS})",
    "constituents, scores by a latent": "latent:\n  z: Categorical(logits=c)\n"
    f"observed:\n  h over s: TreeCRF(spans=e[z, 0] * arc[w[s], w[j]] over j)\n{GIVEN}",
    "words from their heads": f"{GIVEN}latent:\n  h over s: DependencyCRF(arcs={ARCS})\n"
    "observed:\n  x[s]: Categorical(logits=child[w[h[s]]])",
    "words from their heads, arcs that cross": f"{GIVEN}latent:\n  h over s: NonProjectiveCRF(arcs={ARCS})\n"
    "observed:\n  x[s]: Categorical(logits=child[w[h[s]]])",
    "words from their heads and a latent of their own": f"{GIVEN}latent:\n  h over s: NonProjectiveCRF(arcs={ARCS})\n"
    "  z[s]: Categorical(logits=c)\nobserved:\n  x[s]: Categorical(logits=child[w[h[s]]] + start[z[s]])",
    "observed heads": f"{GIVEN}observed:\n  h over s: NonProjectiveCRF(arcs={ARCS})",
    "the same arcs from every word": f"{GIVEN}observed:\n  h over s: DependencyCRF(arcs=arc[0, w[j]] over j)",
    "trees of the sentences of a document": f"{NESTED}latent:\n  z[d]: Categorical(logits=c)\n"
    "  h[d] over t: DependencyCRF(arcs=arc[u[d, t], u[d, i]] * e[z[d], 0] over i)",
    "a grammar of low rank": "observed:\n  x over s: "
    "LowRankPCFG(root=root[0], head=lr_head, left=lr_left, right=lr_right, terminals=terminals) with tree",
    "a sum over the same words again": f"{GIVEN}latent:\n  z[s]: Categorical(logits=c)\n"
    "observed:\n  x[s]: Categorical(logits=start[z[s]] + sum(child[w[j]] * arc[w[s], w[j]] over j))",
    "a drawn root": "latent:\n  z: Categorical(logits=c)\n"
    "observed:\n  x over s: DMV(root=start[z], stop=stop, attach=attach) with tree\ninfer:\n  z: reinforce",
}


@pytest.mark.parametrize("name", FORMS)
def test_structure_agrees_with_brute_force(name):
    compiled = compile_spec(HEAD + FORMS[name] + "\n")
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=0, draws=0)
    assert report.passed, render(report)
