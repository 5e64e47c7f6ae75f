"""Attention over stretches against brute force: every way to reach a stretch, and whatever axes stand before it."""

import pytest
import torch

from lvspec.driver import compile_spec
from lvspec.verify.checks.compare import verify
from lvspec.verify.shrink import shrink
from tests import ROOT

HEAD = """
lvspec: 1
sizes: {V: 4, E: 2, H: 4, D: 1, K: 2}
"""
MODELS = {
    "prefixes, whole sequences and what follows": """
name: directions
plates: {t: sequence(end=EOS)}
networks:
  words: Embedding(V, E)
  reader: BiTransformer(E, H, heads=2, layers=2)
  later: Transformer(E, H, positions=8)
  encoder: Linear(2*H, 2*D)
  writer: Transformer(E + D, H, heads=2, layers=2)
  output: Linear(H, V)
latent:
  z: Normal(0, 1)[D]
let:
  h[t]: writer(concat(words(x[<t]), z))
observed:
  x[t]: Categorical(logits=output(h[t]))
guide:
  ahead[t]: later(words(x[>=t]))
  z: >-
    Normal(loc, softplus(scale)) where loc, scale =
    split(encoder(concat(last(reader(words(x))), mean(ahead[t] over t))))
""",
    "a bank of them, one for each value": """
name: bank
plates: {t: sequence}
params: {mu: [K]}
networks:
  words: Embedding(V, E)
  writer[K]: Transformer(E, E)
  output: Linear(E, V)
latent:
  c: Categorical(logits=mu)
let:
  h[t]: writer[c](words(x[<t]))
observed:
  x[t]: Categorical(logits=output(h[t]))
""",
    "a latent that is summed goes in": """
name: kinds
plates: {t: sequence}
params: {mu: [K]}
networks:
  words: Embedding(V, E)
  kinds: Embedding(K, E)
  writer: Transformer(2*E, H, heads=2, positions=6)
  output: Linear(H, V)
latent:
  c: Categorical(logits=mu)
let:
  h[t]: writer(concat(words(x[<t]), kinds(c)))
observed:
  x[t]: Categorical(logits=2 * output(h[t]))
""",
    "nested sequences": """
name: nested
plates: {d: sequence, w: sequence(within=d)}
networks:
  words: Embedding(V, E)
  inner: Transformer(E, H, heads=2)
  outer: Transformer(H, H)
  output: Linear(2*H, V)
given:
  g[d, w]: token(V)
let:
  v[d, w]: inner(words(g[d, <=w]))
  sentence[d]: mean(v[d, w] over w)
  before[d]: outer(sentence[<d])
  u[d, w]: inner(words(x[d, <w]))
observed:
  x[d, w]: Categorical(logits=output(concat(u[d, w], before[d])))
""",
    "segments": """
name: segmented
plates: {t: sequence}
params: {a: [K], b: [K, K], g: [K, 2], state: [K, V]}
networks: {words: "Embedding(V, E)", writer: "Transformer(E, H, heads=2)", out: "Linear(H, V)"}
latent:
  z over t: SemiMarkov(start=a, transition=b, length=g)
observed:
  x[t]: Categorical(logits=2 * out(writer(words(x[<t in z]))) + state[z[t]])
""",
    "several draws, and a q that takes steps": """
name: steps_up
plates: {t: sequence}
networks:
  words: Embedding(V, E)
  reader: BiTransformer(E, H)
  encoder: Linear(H, 2*D)
  writer: Transformer(E + D, H, heads=2)
  output: Linear(H, V)
latent:
  z: Normal(0, 1)[D]
observed:
  x[t]: Categorical(logits=output(writer(concat(words(x[<t]), z))))
guide:
  z: Normal(loc, softplus(scale)) where loc, scale = split(encoder(mean(reader(words(x)))))
infer: {z: "reparameterization(refine=2, rate=0.1)", samples: 2}
""",
}


@pytest.mark.parametrize("name", MODELS)
def test_models_agree_with_brute_force(name):
    c = compile_spec(HEAD + MODELS[name])
    report = verify(c.spec, c.plan, c.Model, seed=4, draws=500)
    assert report.passed, report.failures


def test_a_recurrent_language_model_may_attend_instead():
    text = (ROOT / "specs" / "rnn_lm.yaml").read_text(encoding="utf-8")
    attends = text.replace("LSTM(E, H)", "Transformer(E, H, heads=8, layers=2)")
    assert attends != text
    c = compile_spec(attends, sizes={"V": 4, "E": 2, "H": 16})
    report = verify(c.spec, c.plan, c.Model, draws=500)
    assert report.passed, report.failures


def test_a_mask_that_is_left_out_is_told(monkeypatch):
    attention = torch.nn.functional.scaled_dot_product_attention

    def unmasked(q, k, v, attn_mask=None, is_causal=False):
        return attention(q, k, v)

    c = compile_spec(HEAD + MODELS["a latent that is summed goes in"])
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", unmasked)
    assert not verify(c.spec, c.plan, c.Model, draws=0).passed


def test_sizes_shrink_to_what_heads_share():
    """8 heads of a vector that shrinks: at least 16 numbers, however small others become."""
    compiled = compile_spec(HEAD.replace("H: 4", "H: 64") + MODELS["segments"].replace("heads=2", "heads=8"))
    assert shrink(compiled.spec)["H"] == 16
