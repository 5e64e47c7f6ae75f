"""Networks that begin anew in each segment, in the forms that a spec may give them."""

import pytest

from lvspec.driver import compile_spec
from lvspec.verify import render, verify

HEAD = """
lvspec: 1
name: within
sizes: {K: 2, L: 2, C: 2, V: 3, E: 2, S: 3, H: 2, D: 2}
plates: {d: sequence, t: sequence(within=d), s: sequence}
params:
  a: [K]
  b: [K, K]
  c: [C]
  e: [C, K]
  g: [K, L]
  one: [1]
  once: [1, 1]
  short: [1, L]
  state: [K, S]
  kind: [C, S]
networks:
  words: Embedding(V, E)
  writer: GRU(E, H)
  told: LSTM(E + S, H)
  plain: RNN(D, H)
  each[K]: GRU(E, H)
  twice: LSTM(E, H, layers=2)
  output: Linear(H, V)
  extra: Linear(E, V)
  place: Linear(H, D)
  states: Linear(S, V)
"""
SEGMENTS = "  z over s: SemiMarkov(start=a, transition=b, length=g)\n"
WORDS = "observed:\n  x[s]: Categorical(logits=output(h[s]))"

FORMS = {
    "told its state": f"latent:\n{SEGMENTS}let:\n  h[s]: told(concat(words(x[<s in z]), state[z[s]]))\n{WORDS}",
    "one for each state": f"latent:\n{SEGMENTS}let:\n  h[s]: each[z[s]](words(x[<s in z]))\n{WORDS}",
    "two layers": f"latent:\n{SEGMENTS}let:\n  h[s]: twice(words(x[<s in z]))\n{WORDS}",
    "states that add to the logits": f"latent:\n{SEGMENTS}let:\n  h[s]: writer(words(x[<s in z]))\n"
    "observed:\n  x[s]: Categorical(logits=output(h[s]) + states(state[z[s]]))",
    "borders alone": "latent:\n  z over s: SemiMarkov(start=one, transition=once, length=short)\n"
    f"let:\n  h[s]: writer(words(x[<s in z]))\n{WORDS}",
    "without a name": f"latent:\n{SEGMENTS}observed:\n  x[s]: Categorical(logits=output(writer(words(x[<s in z]))))",
    "real numbers": f"latent:\n{SEGMENTS}let:\n  h[s]: plain(y[<s in z])\nobserved:\n  y[s]: Normal(place(h[s]) * (1 + z[s]), 1)",
    "beside what is not": f"latent:\n{SEGMENTS}let:\n  h[s]: writer(words(x[<s in z]))\n  whole[s]: twice(words(x[<s]))\n"
    "observed:\n  x[s]: Categorical(logits=output(h[s] + whole[s]))\n  w[s]: Categorical(logits=states(state[z[s]]))",
    "of what is given": f"given:\n  v[s]: token(V)\nlatent:\n{SEGMENTS}let:\n  h[s]: writer(words(v[<=s in z]))\n"
    "observed:\n  x[s]: Categorical(logits=output(h[s]) + extra(words(v[s])))",
    "under a mixture": f"latent:\n  k: Categorical(logits=c)\n{SEGMENTS}let:\n"
    "  h[s]: told(concat(words(x[<s in z]), state[z[s]] + kind[k]))\n" + WORDS,
    "under a mixture of lengths": "latent:\n  k: Categorical(logits=c)\n"
    "  z over s: SemiMarkov(start=a + e[k], transition=b, length=g)\n"
    f"let:\n  h[s]: writer(words(x[<s in z]))\n{WORDS}",
    "two that read within": f"latent:\n{SEGMENTS}let:\n  h[s]: writer(words(x[<s in z]))\n{WORDS}\n"
    "  w[s]: Categorical(logits=output(twice(words(w[<s in z]))))",
    "one that reads the other": f"latent:\n{SEGMENTS}let:\n  h[s]: writer(words(x[<s in z]))\n{WORDS}\n"
    "  w[s]: Categorical(logits=output(twice(words(x[<=s in z]))))",
    "bound by where": f"latent:\n{SEGMENTS}observed:\n"
    "  x[s]: Categorical(logits=output(h) + states(state[z[s]])) where h = writer(words(x[<s in z]))",
    "documents of sentences": "latent:\n  z[d] over t: SemiMarkov(start=a, transition=b, length=g)\n"
    "let:\n  h[d, t]: writer(words(x[d, <t in z]))\nobserved:\n  x[d, t]: Categorical(logits=output(h[d, t]))",
    "a drawn vector beside": f"latent:\n  v: Normal(0, 1)[S]\n{SEGMENTS}let:\n"
    f"  h[s]: told(concat(words(x[<s in z]), v + state[z[s]]))\n{WORDS}",
    "a guided vector beside": f"latent:\n  v: Normal(0, 1)[S]\n{SEGMENTS}let:\n"
    f"  h[s]: told(concat(words(x[<s in z]), v))\n{WORDS}",
}


@pytest.mark.parametrize("name", FORMS)
def test_networks_that_begin_anew_agree_with_brute_force(name):
    compiled = compile_spec(HEAD + FORMS[name] + "\n")
    report = verify(compiled.spec, compiled.plan, compiled.Model, seed=0, draws=4000)
    assert report.passed, render(report)
