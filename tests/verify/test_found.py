"""Small specs for which an earlier emitter was wrong, each found among random ones: what was wrong, and the case; found/ has more."""

from pathlib import Path

import pytest

from lvspec.driver import compile_spec
from lvspec.verify import render, verify

# z is summed inside the chain y, which is averaged under its guide; q before the first site is uniform
AVERAGED_CHAIN_WITH_A_SUM_INSIDE = """
lvspec: 1
name: averaged_chain
sizes: {V: 3, K: 3, H: 2}
plates: {t: sequence}
params:
  switch: [2]
  start: [K]
  move: [K, K]
  push: [2, K]
  emission: [K, 2, V]
networks:
  read: Embedding(V, H)
  score: Linear(H, K)
latent:
  z[t]: Bernoulli(logits=sum(switch))
  y[0]: Categorical(logits=start)
  y[t]: Categorical(logits=move[y[t-1]] + push[z[t]])
observed:
  x[t]: Categorical(logits=emission[y[t], z[t]])
guide:
  y[t]: Categorical(logits=score(tanh(read(x[t]))))
"""

# rows of length 0 have no site of z to be uncertain about
SITE_LATENT_INSIDE_A_CHAIN = """
lvspec: 1
name: site_inside_chain
sizes: {V: 3, K: 2}
plates: {t: sequence}
params:
  choice: [K]
  start: [K]
  move: [K, K]
  push: [K, K]
  emission: [K, K, V]
latent:
  z[t]: Categorical(logits=choice)
  y[0]: Categorical(logits=start)
  y[t]: Categorical(logits=move[y[t-1]] + push[z[t]])
observed:
  x[t]: Categorical(logits=emission[y[t], z[t]])
"""

# one latent for an example, summed, reaches across the sites of z, whose average cannot stand inside that sum
SUM_ACROSS_AVERAGED_SITES = """
lvspec: 1
name: sum_across_sites
sizes: {P: 2, K: 2}
plates: {d: sequence, t: bag(within=d)}
params:
  prior: [K]
  below: [K, K]
  switch: [P]
  rate: [K, P]
  shift: [2, P]
networks:
  read: Linear(P, K)
latent:
  z[d]: Categorical(logits=prior)
  y[d]: Categorical(logits=below[z[d]])
  s: Bernoulli(logits=mean(switch))
observed:
  x[d, t]: Poisson(softplus(tanh(rate[y[d]] + shift[s])))
guide:
  z[d]: Categorical(logits=sum(tanh(read(x[d, t])) over t))
"""

# z is drawn once for each value of its parent; the global table is read at the drawn value
DRAWN_FOR_EACH_VALUE_OF_A_PARENT = """
lvspec: 1
name: drawn_for_each_value
sizes: {V: 3, K: 2, D: 2, H: 3}
plates: {t: bag, k: K}
params:
  switch: [2]
  below: [2, K]
  loc: [K, D]
  scale: [K, D]
  shift: [2, V]
  above: [2, K]
networks:
  words: Linear(D, V)
  read: Embedding(V, H)
  top: Linear(H, 1)
  low: Linear(H, K)
latent:
  s: Bernoulli(logits=max(switch))
  z: Categorical(logits=below[s])
  global g[k]: Normal(0, 1)[D]
observed:
  x[t]: Categorical(logits=shift[s] + words(g[z]))
guide:
  g[k]: Normal(loc[k], softplus(scale[k]))
  s: Bernoulli(logits=sum(top(mean(read(x)))))
  z: Categorical(logits=low(mean(read(x))) + above[s])
infer:
  z: reinforce
  samples: 2
"""

# the ratio of q and p at padded positions, inside the average over the parent
POSITION_UNDER_A_GUIDE_BELOW_A_PARENT = """
lvspec: 1
name: position_under_guide
sizes: {V: 3, K: 2, S: 2}
plates: {n: sequence}
given:
  w[n]: real[S]
params:
  prior: [K]
  score: [K, S]
networks:
  words: Linear(S, V)
  read: Embedding(V, K)
latent:
  z: Categorical(logits=prior)
  a: Categorical(logits=dot(score[z], w[n]) over n)
observed:
  x: Categorical(logits=words(w[a]))
guide:
  a: Categorical(logits=0 over n)
  z: Categorical(logits=tanh(read(x)))
"""

# a structure is normalised over all sites: what its scores read at each of them cannot be summed inside
SCORES_OF_A_STRUCTURE_READ_A_SITE_LATENT = """
lvspec: 1
name: scores_read_site
sizes: {V: 3, K: 2}
plates: {t: sequence}
params:
  choice: [K]
  unary: [K, K]
  pairwise: [K, K]
  emission: [K, V]
latent:
  z[t]: Categorical(logits=choice)
  y over t: LinearChain(unary=unary[z[t]], pairwise=pairwise)
observed:
  x[t]: Categorical(logits=emission[y[t]])
"""

# first sites of a structure whose guide is one were looked for on no plate
STRUCTURE_UNDER_A_GUIDE_OF_ITS_KIND = """
lvspec: 1
sizes: {K: 3, V: 4}
plates: {t: sequence}
params: {transition: [K, K], emission: [K, V], vectors: [K]}
latent:
  z over t: LinearChain(unary=vectors, pairwise=transition)
observed:
  x[t]: Categorical(logits=emission[z[t]])
guide:
  z over t: LinearChain(unary=vectors, pairwise=transition)
"""

# variables of a fixed plate that do not vary over it, read as wholes, by a number and by a latent
THE_SAME_AT_ALL_SITES = """
lvspec: 1
sizes: {K: 2, V: 3}
plates: {k: K, t: sequence}
params: {s: [K], a: [K], v: [V]}
let:
  table[k]: a
  out[k]: v
  same[k]: 0.5
latent:
  z[0]: Categorical(logits=s)
  z[t]: Categorical(logits=table[z[t-1]])
observed:
  w: Normal(sum(table[0]) + matmul(table, s)[1] + sum(same), 1)
  x[t]: Categorical(logits=matmul(table, s)[0] * out[z[t]])
"""

FOUND = {
    "structure under a guide of its kind": STRUCTURE_UNDER_A_GUIDE_OF_ITS_KIND,
    "the same at all sites": THE_SAME_AT_ALL_SITES,
    "position under a guide below a parent": POSITION_UNDER_A_GUIDE_BELOW_A_PARENT,
    "scores of a structure read a site latent": SCORES_OF_A_STRUCTURE_READ_A_SITE_LATENT,
    "averaged chain with a sum inside": AVERAGED_CHAIN_WITH_A_SUM_INSIDE,
    "site latent inside a chain": SITE_LATENT_INSIDE_A_CHAIN,
    "sum across averaged sites": SUM_ACROSS_AVERAGED_SITES,
    "drawn for each value of a parent": DRAWN_FOR_EACH_VALUE_OF_A_PARENT,
}


@pytest.mark.parametrize("name", FOUND)
def test_once_wrong_now_agrees_with_brute_force(name):
    compiled = compile_spec(FOUND[name])
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=0, draws=0)
    assert report.passed, render(report)


FILES = sorted((Path(__file__).parent / "found").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_shrunken_spec_that_was_once_wrong_agrees(path):
    compiled = compile_spec(path)
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=0, draws=0)
    assert report.passed, render(report)
